"""Reads dates and times of day, and names weekdays and months in English."""

import datetime
import re

from asterism.nodes.values import quote_argument

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
FIRST_YEAR, LAST_YEAR = 2000, 2100
"""The years that are taken; a typing error such as 0206 is outside."""


def read_date(text: str) -> datetime.date:
    """Read a date written as `YYYY-MM-DD`.

    Raises:
        ValueError: It is written in another way, there is no such day, or the year is not
            from `FIRST_YEAR` to `LAST_YEAR`.
    """
    form = f"Write it as YYYY-MM-DD, such as 2026-12-15, in the years {FIRST_YEAR} to {LAST_YEAR}."
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError(f"the date {quote_argument(text)} cannot be read. {form}")
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"the date {quote_argument(text)} does not exist. {form}") from error
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(f"the date {quote_argument(text)} is too far away. {form}")
    return day


def read_time(text: str) -> datetime.time:
    """Read a time of day written as `HH:MM`, 00:00 to 23:59.

    Raises:
        ValueError: It is written in another way.
    """
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError(
            f"the start_time {quote_argument(text)} cannot be read. "
            "Write it as HH:MM from 00:00 to 23:59, such as 18:00."
        )
    return datetime.time.fromisoformat(text)


def weekday_name(day: datetime.date) -> str:
    """Return the English name, whatever the language of the machine is."""
    return WEEKDAYS[day.weekday()]


def with_weekday(day: datetime.date) -> str:
    """Write a date with its weekday: `2026-12-15 (Tuesday)`."""
    return f"{day.isoformat()} ({weekday_name(day)})"
