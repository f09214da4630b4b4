import datetime
import re
import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import ToolCall

from asterism.nodes.examples.event_planning.calendar_file import slug
from asterism.nodes.examples.event_planning.logistics import make_calendar
from tests.nodes.examples.event_planning.helpers import function_of

NASTY = [
    pytest.param("Corporate Holiday Party", id="plain"),
    pytest.param("Tea, cake; and \\ more\\n", id="commas semicolons backslashes"),
    pytest.param("One\r\nTwo\nThree\rFour\u2028Five\x85Six", id="newlines"),
    pytest.param("🎉" * 40 + " 👩‍👩‍👧‍👦 fête d'été", id="emoji"),
    pytest.param("x" * 300, id="300 characters"),
    pytest.param("é," * 150, id="300 characters to escape"),
    pytest.param("END:VCALENDAR\r\nBEGIN:VEVENT", id="lines of the format"),
    pytest.param("Bell \x07 and nul \x00 and \ud800 half", id="forbidden characters"),
]
TEXTS = ("SUMMARY", "LOCATION", "DESCRIPTION")
LINE = re.compile(r"([A-Z-]+)((?:;[A-Z-]+=[^:;]+)*):(.*)", re.DOTALL)


def artifact(title: str, **more: Any) -> dict[str, str]:
    made: dict[str, str]
    content, made = function_of(make_calendar)(title, "Seattle", "2026-12-15", **more)
    assert content == f"Calendar file: {made['name']}"
    return made


def parse(text: str) -> list[dict[str, str]]:
    """Read a calendar strictly, and return its events as they are after unescaping."""
    assert text.endswith("\r\n")
    assert not re.search(r"(?<!\r)\n|\r(?!\n)", text), "only CRLF ends a line"
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    raw = text.encode()
    for octets in raw.split(b"\r\n"):
        assert len(octets) <= 75
        octets.decode()  # a character that is cut in two fails here
    lines = re.sub(r"\r\n[ \t]", "", text).split("\r\n")[:-1]
    open_parts: list[str] = []
    events: list[dict[str, str]] = []
    calendar: dict[str, str] = {}
    for line in lines:
        found = LINE.fullmatch(line)
        assert found, line
        name, value = found[1], found[3]
        if name == "BEGIN":
            assert [*open_parts, value] in (["VCALENDAR"], ["VCALENDAR", "VEVENT"])
            open_parts.append(value)
            if value == "VEVENT":
                events.append({})
        elif name == "END":
            assert open_parts.pop() == value
        else:
            part = events[-1] if open_parts == ["VCALENDAR", "VEVENT"] else calendar
            assert open_parts and name not in part
            part[name] = unescape(value) if name in TEXTS else value
    assert not open_parts
    assert calendar["VERSION"] == "2.0" and calendar["PRODID"]
    return [checked(event) for event in events]


def unescape(value: str) -> str:
    assert re.fullmatch(r"(?:[^\\;,]|\\[\\;,nN])*", value), value
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] in "nN" else m[1], value)


def checked(event: dict[str, str]) -> dict[str, str]:
    assert {"UID", "DTSTAMP", "DTSTART", "DTEND", "SUMMARY"} <= set(event)
    assert re.fullmatch(r"\d{8}T\d{6}Z", event["DTSTAMP"])
    assert moment(event["DTSTART"]) < moment(event["DTEND"])
    return event


def moment(value: str) -> datetime.datetime:
    return datetime.datetime.strptime(value, "%Y%m%dT%H%M%S")


def allowed(title: str) -> str:
    """Return what is left of a title: its lines, without control characters."""
    lines = "\n".join(title.splitlines())
    return "".join(
        c for c in lines if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs")
    ).strip()


@pytest.mark.parametrize("title", NASTY)
def test_a_calendar_is_strictly_valid_and_keeps_the_title(title: str) -> None:
    event, *blocks = parse(artifact(title)["text"])
    assert event["SUMMARY"] == allowed(title)
    assert (event["DTSTART"], event["DTEND"]) == ("20261215T180000", "20261215T210000")
    assert (event["LOCATION"], event["DESCRIPTION"]) == ("Seattle", "50 people")
    assert [block["SUMMARY"].split(":")[0] for block in blocks] == [
        *("Set-up", "Doors", "Welcome", "Dinner", "Programme", "Farewell", "Tear-down")
    ]


@given(title=st.text(max_size=400))
def test_any_title_gives_a_valid_file_or_a_clear_answer(title: str) -> None:
    if not allowed(title):
        content, made = function_of(make_calendar)(title, "Seattle", "2026-12-15")
        assert content.startswith("Cannot make the calendar: the event_title ") and made == {}
        return
    made = artifact(title)
    assert parse(made["text"])[0]["SUMMARY"] == allowed(title)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.ics", made["name"])


@given(start=st.times(), heads=st.integers(1, 2000))
def test_any_start_and_size_gives_a_valid_file(start: datetime.time, heads: int) -> None:
    made = artifact("Party", start_time=f"{start:%H:%M}", head_count=heads)
    event, *blocks = parse(made["text"])
    assert moment(event["DTSTART"]).time() == start.replace(second=0, microsecond=0)
    assert all(a["DTEND"] <= b["DTSTART"] for a, b in pairwise(blocks))


def test_the_same_event_gives_the_same_file_and_each_entry_its_own_id() -> None:
    text = artifact("Party")["text"]
    assert text == artifact("Party")["text"]
    ids = [event["UID"] for event in parse(text)]
    assert len(set(ids)) == len(ids) == 8
    assert not set(ids) & {event["UID"] for event in parse(artifact("Ball")["text"])}


def test_the_stamp_is_the_day_of_the_event() -> None:
    assert parse(artifact("Party")["text"])[0]["DTSTAMP"] == "20261215T000000Z"


def test_as_a_tool_call_the_file_is_the_artifact() -> None:
    arguments = {"event_title": "Corporate Holiday Party", "city": "NYC", "date": "2026-12-15"}
    call: ToolCall = {"type": "tool_call", "id": "1", "name": "make_calendar", "args": arguments}
    message = make_calendar.invoke(call)
    assert message.content == "Calendar file: corporate-holiday-party.ics"
    assert message.artifact["name"] == "corporate-holiday-party.ics"
    assert message.artifact["media_type"] == "text/calendar"
    assert parse(message.artifact["text"])[0]["LOCATION"] == "New York"
    assert make_calendar.invoke(arguments) == message.content


@pytest.mark.parametrize("title", ["", " \n ", "\x00", "x" * 501], ids=repr)
def test_an_empty_or_endless_title_is_refused(title: str) -> None:
    content, made = function_of(make_calendar)(title, "Seattle", "2026-12-15")
    assert content.startswith("Cannot make the calendar: the event_title ")
    assert "1 to 500 characters" in content and made == {}


@pytest.mark.parametrize(
    ("title", "name"),
    [
        pytest.param("Corporate Holiday Party", "corporate-holiday-party", id="words"),
        pytest.param("../../etc/passwd", "etc-passwd", id="path"),
        pytest.param("Été à Paris!", "ete-a-paris", id="accents"),
        pytest.param("🎉🎉", "event", id="nothing left"),
        pytest.param("CON", "event-con", id="device name on Windows"),
        pytest.param("a" * 59 + " bcd", "a" * 59, id="cut at 60 without a hyphen at the end"),
    ],
)
def test_the_file_name_is_safe(title: str, name: str) -> None:
    assert slug(title) == name
