import datetime
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism.nodes.examples.event_planning.catalogue import cities, venues_of
from asterism.nodes.examples.event_planning.venue import rank_venues, search_venues
from tests.nodes.examples.event_planning.helpers import function_of

TUESDAY = "2026-12-15"
DAYS = st.dates(datetime.date(2025, 1, 1), datetime.date(2028, 12, 31))


def test_the_best_pick_is_given_as_labelled_lines() -> None:
    answer = search_venues.invoke({"city": "Seattle, WA", "head_count": 50, "date": TUESDAY})
    assert answer.splitlines() == [
        "Venue: The Copper Loft",
        "Venue address: Capitol Hill, Seattle",
        "Venue capacity: 80 people",
        "Venue cost: $2,400.00",
        "Venue date: 2026-12-15 (Tuesday)",
        "Venue features: loft, step-free access, projector, kitchen, sound system, parking",
        "Other options:",
        "- Cedar Lantern Pavilion (Fremont): 180 people, $3,950.00",
        "- Tidewright Ballroom (Queen Anne): 300 people, $7,500.00",
        "- Halyard Museum Hall (South Lake Union): 580 people, $10,920.00",
        "",
        "Source: sample catalogue",
    ]


def test_a_single_fit_has_no_other_options() -> None:
    answer = search_venues.invoke({"city": "Seattle", "head_count": 500, "date": TUESDAY})
    assert answer.startswith("Venue: Halyard Museum Hall\n")
    assert answer.endswith("\nOther options: none\nSource: sample catalogue")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            {"head_count": 900, "date": TUESDAY},
            ["holds 900 people", "Halyard Museum Hall with 580"],
            id="too many people",
        ),
        pytest.param(
            {"head_count": 50, "date": TUESDAY, "max_price": 2399.99},
            ["at most $2,399.99", "The Copper Loft at $2,400.00"],
            id="too dear",
        ),
        pytest.param(
            {"head_count": 500, "date": "2026-12-14"},
            ["is open on 2026-12-14 (Monday)", "Halyard Museum Hall", "2026-12-15 (Tuesday)"],
            id="closed that weekday",
        ),
    ],
)
def test_when_nothing_fits_the_reason_and_the_way_out_are_said(
    arguments: dict[str, Any], words: list[str]
) -> None:
    answer = search_venues.invoke({"city": "Seattle", **arguments})
    assert answer.startswith("No venue in Seattle")
    assert "Venue cost" not in answer
    assert all(word in answer for word in words)


@pytest.mark.parametrize("price", [2400, 2400.0, 2400.009])
def test_a_venue_at_the_limit_fits(price: float) -> None:
    answer = function_of(search_venues)("Seattle", 50, TUESDAY, price)
    assert answer.startswith("Venue: The Copper Loft\n")


@pytest.mark.parametrize("city", cities())
def test_a_venue_that_is_just_large_enough_fits(city: str) -> None:
    day = datetime.date(2026, 12, 17)
    for venue in venues_of(city):
        if venue.open_on(day):
            assert rank_venues(city, venue.capacity, day)[0] == venue


@given(
    city=st.sampled_from(cities()),
    heads=st.integers(1, 700),
    day=DAYS,
    limit=st.none() | st.decimals(0, 15_000, places=2),
)
def test_only_venues_that_fit_are_ranked_and_all_of_them(
    city: str, heads: int, day: datetime.date, limit: Decimal | None
) -> None:
    picks = rank_venues(city, heads, day, limit)
    for venue in venues_of(city):
        fits = (
            venue.capacity >= heads
            and f"{day:%A}" not in venue.closed_weekdays
            and (limit is None or venue.price_on(day) <= limit)
        )
        assert (venue in picks) == fits
    assert [venue.capacity for venue in picks] == sorted(venue.capacity for venue in picks)


@given(city=st.sampled_from(cities()), heads=st.integers(1, 700), day=DAYS)
def test_every_search_is_answered_with_a_fitting_pick_or_a_reason(
    city: str, heads: int, day: datetime.date
) -> None:
    limit = 4000.0
    answer = function_of(search_venues)(city, heads, day.isoformat(), limit)
    cost = re.search(r"^Venue cost: \$([\d,]+\.\d\d)$", answer, re.MULTILINE)
    if not cost:
        assert answer.startswith("No venue in ")
        return
    capacity = re.search(r"^Venue capacity: (\d+) people$", answer, re.MULTILINE)
    assert capacity and int(capacity[1]) >= heads
    assert Decimal(cost[1].replace(",", "")) <= Decimal(limit)
