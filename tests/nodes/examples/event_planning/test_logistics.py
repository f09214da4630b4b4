import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism.nodes.examples.event_planning.catalogue import cities
from asterism.nodes.examples.event_planning.logistics import (
    make_schedule,
    schedule,
    weather_outlook,
)
from tests.nodes.examples.event_planning.helpers import function_of

NAMES = ["Set-up", "Doors", "Welcome", "Dinner", "Programme", "Farewell", "Tear-down"]
STARTS = st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2100, 12, 31, 23, 59)).map(
    lambda moment: moment.replace(second=0, microsecond=0)
)


@pytest.mark.parametrize(
    ("city", "date", "outlook", "advice"),
    [
        pytest.param(
            "Seattle",
            "2026-12-15",
            "high 8 °C (46 °F), low 3 °C (37 °F), rain or snow on 19 of 31 days",
            "plan indoors, or have a roof ready",
            id="wet",
        ),
        pytest.param(
            "Denver",
            "2028-02-29",
            "high 8 °C (46 °F), low -7 °C (19 °F), rain or snow on 5 of 29 days",
            "plan indoors, it is cold",
            id="cold in a leap year",
        ),
        pytest.param(
            "phoenix, az",
            "2026-07-01",
            "high 41 °C (106 °F), low 29 °C (84 °F), rain or snow on 4 of 31 days",
            "plan shade or cooling, it is hot",
            id="hot",
        ),
        pytest.param(
            "San Diego",
            "2026-09-01",
            "high 25 °C (77 °F), low 19 °C (66 °F), rain or snow on 1 of 30 days",
            "outdoors is possible",
            id="mild",
        ),
    ],
)
def test_the_usual_weather_is_told(city: str, date: str, outlook: str, advice: str) -> None:
    lines = weather_outlook.invoke({"city": city, "date": date}).splitlines()
    assert lines[:2] == [f"Weather outlook: {outlook}", f"Weather advice: {advice}"]
    assert lines[2].startswith("Source: long-term normals of ")
    assert lines[2].endswith(", not a forecast")


@pytest.mark.parametrize("city", cities())
def test_every_city_has_an_outlook_for_every_month(city: str) -> None:
    answers = [function_of(weather_outlook)(city, f"2026-{month:02}-01") for month in range(1, 13)]
    assert all(answer.startswith("Weather outlook: high ") for answer in answers)


def test_the_run_of_the_day_is_a_table_with_start_and_end() -> None:
    answer = make_schedule.invoke({"date": "2026-12-15", "head_count": 50})
    assert answer.splitlines() == [
        "Event date: 2026-12-15 (Tuesday)",
        "Event starts: 2026-12-15 18:00",
        "Event ends: 2026-12-15 21:00",
        "",
        "| Block | From | To |",
        "| --- | --- | --- |",
        "| Set-up | 2026-12-15 16:30 | 2026-12-15 18:00 |",
        "| Doors | 2026-12-15 18:00 | 2026-12-15 18:15 |",
        "| Welcome | 2026-12-15 18:15 | 2026-12-15 18:30 |",
        "| Dinner | 2026-12-15 18:30 | 2026-12-15 19:45 |",
        "| Programme | 2026-12-15 19:45 | 2026-12-15 20:45 |",
        "| Farewell | 2026-12-15 20:45 | 2026-12-15 21:00 |",
        "| Tear-down | 2026-12-15 21:00 | 2026-12-15 22:00 |",
        "",
        "Lengths: for 50 people, in local time; longer with each further 50 people, up to a limit.",
    ]


def test_an_event_may_run_past_midnight() -> None:
    answer = function_of(make_schedule)("2026-12-31", 50, "23:00")
    assert "Event starts: 2026-12-31 23:00\nEvent ends: 2027-01-01 02:00\n" in answer


@pytest.mark.parametrize(
    ("heads", "minutes"),
    [
        pytest.param(1, [90, 15, 15, 75, 60, 15, 60], id="1 person"),
        pytest.param(50, [90, 15, 15, 75, 60, 15, 60], id="50 people"),
        pytest.param(51, [105, 20, 15, 80, 60, 20, 70], id="51 people"),
        pytest.param(10_000, [480, 60, 15, 150, 60, 60, 360], id="10000 people"),
    ],
)
def test_lengths_grow_as_stated(heads: int, minutes: list[int]) -> None:
    blocks = schedule(datetime.datetime(2026, 12, 15, 18), heads)
    assert [(block.end - block.start).seconds // 60 for block in blocks] == minutes


@given(starts=STARTS, heads=st.integers(1, 2000))
def test_blocks_are_ordered_and_never_overlap(starts: datetime.datetime, heads: int) -> None:
    blocks = schedule(starts, heads)
    assert [block.name for block in blocks] == NAMES
    assert blocks[1].start == starts
    assert all(block.start < block.end for block in blocks)
    assert all(a.end <= b.start for a, b in pairwise(blocks))


@given(heads=st.integers(1, 1999))
def test_more_people_never_make_a_block_shorter(heads: int) -> None:
    starts = datetime.datetime(2026, 12, 15, 18)
    fewer, more = schedule(starts, heads), schedule(starts, heads + 1)
    assert all(b.end - b.start >= a.end - a.start for a, b in zip(fewer, more, strict=True))
