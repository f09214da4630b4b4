"""Weather, the run of the day and a calendar file."""

import datetime
from calendar import monthrange
from dataclasses import dataclass
from typing import Any

from langchain_core.tools import tool

from asterism.nodes.examples.event_planning.calendar_file import (
    CalendarEvent,
    calendar_text,
    read_title,
    slug,
)
from asterism.nodes.examples.event_planning.catalogue import (
    MONTHS,
    climate_of,
    find_city,
    read_date,
    read_time,
    with_weekday,
)
from asterism.nodes.examples.tool_arguments import read_heads

GUESTS_PER_STEP = 50
"""Blocks get longer with each further 50 guests that have begun."""


@dataclass(frozen=True)
class ScheduleBlock:
    """A part of the day, in the local time of the city."""

    name: str
    start: datetime.datetime
    end: datetime.datetime


@dataclass(frozen=True)
class _Length:
    name: str
    minutes: int
    more: int
    """Minutes for each further step of guests."""
    most: int

    def for_heads(self, heads: int) -> datetime.timedelta:
        steps = (heads - 1) // GUESTS_PER_STEP
        return datetime.timedelta(minutes=min(self.minutes + self.more * steps, self.most))


_LENGTHS = (
    _Length("Set-up", 90, 15, 480),
    _Length("Doors", 15, 5, 60),
    _Length("Welcome", 15, 0, 15),
    _Length("Dinner", 75, 5, 150),
    _Length("Programme", 60, 0, 60),
    _Length("Farewell", 15, 5, 60),
    _Length("Tear-down", 60, 10, 360),
)


@tool(parse_docstring=True)
def weather_outlook(city: str, date: str) -> str:
    """Tell the usual weather of a city at that time of the year; it is not a forecast.

    Args:
        city: Name of the city, such as Seattle or New York.
        date: Day of the event, written YYYY-MM-DD.
    """
    try:
        place, day = find_city(city), read_date(date)
    except ValueError as error:
        return f"Cannot tell the weather: {error}"
    normals, month = climate_of(place), day.month - 1
    high, low, wet = normals.high_c[month], normals.low_c[month], normals.wet_days[month]
    days = monthrange(day.year, day.month)[1]
    return (
        f"Weather outlook: high {_degrees(high)}, low {_degrees(low)}, "
        f"rain or snow on {wet} of {days} days\n"
        f"Weather advice: {_advice(high, wet / days)}\n"
        f"Source: long-term normals of {place} in {MONTHS[month]}, not a forecast"
    )


def _degrees(celsius: int) -> str:
    return f"{celsius} °C ({round(celsius * 9 / 5 + 32)} °F)"


def _advice(high: int, wet_share: float) -> str:
    """Say where to hold the event: rain first, then cold, then heat."""
    if wet_share >= 1 / 3:
        return "plan indoors, or have a roof ready"
    if high < 15:
        return "plan indoors, it is cold"
    return "plan shade or cooling, it is hot" if high > 32 else "outdoors is possible"


@tool(parse_docstring=True)
def make_schedule(date: str, head_count: int, start_time: str = "18:00") -> str:
    """Plan the run of the day from set-up to tear-down; lengths grow with the head count.

    Args:
        date: Day of the event, written YYYY-MM-DD.
        head_count: Number of people who come, 1 to 10000.
        start_time: Local time at which the doors open, written HH:MM with 24 hours.
    """
    try:
        starts, heads = _starts(date, start_time), read_heads(head_count)
    except ValueError as error:
        return f"Cannot make the schedule: {error}"
    blocks = schedule(starts, heads)
    rows = [f"| {block.name} | {_moment(block.start)} | {_moment(block.end)} |" for block in blocks]
    lines = [
        f"Event date: {with_weekday(starts.date())}",
        f"Event starts: {_moment(blocks[1].start)}",
        f"Event ends: {_moment(blocks[-2].end)}",
        *("", "| Block | From | To |", "| --- | --- | --- |", *rows, ""),
        f"Lengths: for {heads} people, in local time; longer with each further "
        f"{GUESTS_PER_STEP} people, up to a limit.",
    ]
    return "\n".join(lines)


def schedule(starts: datetime.datetime, head_count: int) -> list[ScheduleBlock]:
    """Return the blocks of the day in order, each beginning where the one before it ends.

    `starts` is when the doors open, after the set-up.
    """
    blocks: list[ScheduleBlock] = []
    clock = starts - _LENGTHS[0].for_heads(head_count)
    for length in _LENGTHS:
        end = clock + length.for_heads(head_count)
        blocks.append(ScheduleBlock(length.name, clock, end))
        clock = end
    return blocks


@tool(parse_docstring=True, response_format="content_and_artifact")
def make_calendar(
    event_title: str, city: str, date: str, start_time: str = "18:00", head_count: int = 50
) -> tuple[str, dict[str, Any]]:
    """Make a calendar file (.ics) with the event and each block of its schedule.

    Args:
        event_title: Name of the event, 1 to 500 characters.
        city: Name of the city, such as Seattle or New York.
        date: Day of the event, written YYYY-MM-DD.
        start_time: Local time at which the doors open, written HH:MM with 24 hours.
        head_count: Number of people who come, 1 to 10000.
    """
    try:
        title, place = read_title(event_title), find_city(city)
        blocks = schedule(_starts(date, start_time), read_heads(head_count))
    except ValueError as error:
        return f"Cannot make the calendar: {error}", {}
    name = f"{slug(title)}.ics"
    people = f"{head_count} people"
    entries = [
        CalendarEvent(title, blocks[1].start, blocks[-2].end, place, people),
        *(
            CalendarEvent(f"{block.name}: {title}", block.start, block.end, place)
            for block in blocks
        ),
    ]
    text = calendar_text(entries)
    return f"Calendar file: {name}", {"name": name, "media_type": "text/calendar", "text": text}


def _starts(date: str, start_time: str) -> datetime.datetime:
    return datetime.datetime.combine(read_date(date), read_time(start_time))


def _moment(when: datetime.datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"
