"""Writes calendar files as RFC 5545 asks."""

import datetime
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asterism.nodes.examples.tool_arguments import quote_argument

MAX_TITLE = 500
"""The most characters in a title."""
_LINE_OCTETS = 75
_SLUG_CHARACTERS = 60
_WINDOWS_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])")


@dataclass(frozen=True)
class CalendarEvent:
    """One event in a calendar, in local time without a time zone."""

    title: str
    start: datetime.datetime
    end: datetime.datetime
    place: str
    description: str = ""


def read_title(text: str) -> str:
    r"""Return a title without characters that a calendar may not hold; lines end in `\n`.

    Raises:
        ValueError: Nothing is left of it, or it is longer than `MAX_TITLE`.
    """
    lines = "\n".join(text.splitlines())
    kept = (c for c in lines if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
    title = "".join(kept).strip()
    if 1 <= len(title) <= MAX_TITLE:
        return title
    fault = "is empty" if not title else f"has {len(title):,} characters"
    raise ValueError(
        f"the event_title {quote_argument(text)} {fault}. Give a title of 1 to {MAX_TITLE} "
        "characters."
    )


def slug(title: str) -> str:
    """Make a title into a name that is safe for a file: `a-z`, `0-9` and single hyphens."""
    ascii_only = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower())[:_SLUG_CHARACTERS].strip("-")
    if not words or _WINDOWS_DEVICES.fullmatch(words):
        return f"event-{words}".strip("-")
    return words


def calendar_text(entries: Sequence[CalendarEvent]) -> str:
    """Write the entries as the text of an .ics file; the same entries give the same text."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Asterism//Event planning//EN",
        "CALSCALE:GREGORIAN",
        *(line for entry in entries for line in _event(entry)),
        "END:VCALENDAR",
    ]
    return "".join(f"{part}\r\n" for line in lines for part in _fold_line(line))


def _event(entry: CalendarEvent) -> Iterator[str]:
    yield "BEGIN:VEVENT"
    yield f"UID:{_uid(entry)}"
    # The stamp is the day of the event, not now: the same event gives the same file.
    yield f"DTSTAMP:{entry.start:%Y%m%d}T000000Z"
    # Times without a zone are valid and mean the local time of whoever looks, so no
    # VTIMEZONE is needed; at the event that is the time of the city.
    yield f"DTSTART:{entry.start:%Y%m%dT%H%M%S}"
    yield f"DTEND:{entry.end:%Y%m%dT%H%M%S}"
    yield f"SUMMARY:{_escape(entry.title)}"
    yield f"LOCATION:{_escape(entry.place)}"
    if entry.description:
        yield f"DESCRIPTION:{_escape(entry.description)}"
    yield "END:VEVENT"


def _uid(entry: CalendarEvent) -> str:
    content = "\x1f".join(map(str, (entry.title, entry.start, entry.end, entry.place)))
    digest = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
    return f"{digest}@asterism"


def _escape(text: str) -> str:
    for character in "\\;,":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", "\\n")


def _fold_line(line: str) -> Iterator[str]:
    """Cut a line at 75 octets, never inside a character; further parts begin with a space."""
    part, size = "", 0
    for character in line:
        octets = len(character.encode())
        if size + octets > _LINE_OCTETS:
            yield part
            part, size = " ", 1
        part, size = part + character, size + octets
    yield part
