"""Times that people name in passing: "yesterday", "last week", "three days ago"."""

import re
from datetime import datetime, timedelta

_NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
_AGO = re.compile(rf"\b(\d{{1,3}}|an?|{'|'.join(_NUMBERS)}) (day|week|month|year)s? ago\b")
_DAYS = {"day": 1, "week": 7, "month": 31, "year": 366}


def period_of(text: str, now: datetime) -> tuple[datetime, datetime] | None:
    """Return the beginning and the end of the time that a text names, or None.

    A week begins on Monday. "Last week" and the like reach up to now, for people also mean
    the last seven days by it.
    """
    words = text.casefold()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    week, month = today - timedelta(days=today.weekday()), today.replace(day=1)
    year = today.replace(month=1, day=1)
    named = {
        r"\btoday\b|\bthis (morning|afternoon|evening)\b": (today, now),
        r"\byesterday\b|\blast night\b": (today - timedelta(days=1), today),
        r"\bthis week\b": (week, now),
        r"\b(last|past|previous) week\b": (week - timedelta(days=7), now),
        r"\bthis month\b": (month, now),
        r"\b(last|past|previous) month\b": ((month - timedelta(days=1)).replace(day=1), now),
        r"\bthis year\b": (year, now),
        r"\b(last|past|previous) year\b": ((year - timedelta(days=1)).replace(month=1, day=1), now),
    }
    for pattern, period in named.items():
        if re.search(pattern, words):
            return period
    if found := _AGO.search(words):
        count, unit = found.groups()
        if not count.isdigit():
            count = _NUMBERS.index(count) + 1 if count in _NUMBERS else 1
        start = today - timedelta(days=int(count) * _DAYS[unit])
        return start, start + timedelta(days=_DAYS[unit])
    return None
