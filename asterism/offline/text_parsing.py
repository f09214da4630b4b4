"""What a text says, read by fixed rules: labels, numbers, money, dates, times, places."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

MONTHS = {
    month: place
    for place, names in enumerate(
        [
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ],
        1,
    )
    for month in names.split()
}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
_DATES = (
    re.compile(r"\b(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})\b"),
    re.compile(
        rf"\b(?P<mon>{_MONTH})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(?P<y>\d{{4}}))?",
        re.I,
    ),
    re.compile(
        rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\.?\s+(?:of\s+)?(?P<mon>{_MONTH})\b\.?"
        r"(?:,?\s+(?P<y>\d{4}))?",
        re.I,
    ),
    re.compile(r"\b(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})\b"),
)
_RELATIVE = re.compile(
    rf"\b(?P<word>today|tomorrow|(?:next|this|on)\s+(?P<weekday>{'|'.join(WEEKDAYS)}))\b", re.I
)
_TIMES = (
    re.compile(r"\b(?P<h>[01]?\d|2[0-3]):(?P<m>[0-5]\d)\b\s*(?P<half>[ap]\.?m\b)?", re.I),
    re.compile(r"\b(?P<h>1[0-2]|0?[1-9])(?P<m>)\s*(?P<half>[ap]\.?m\b)", re.I),
)
_MONEY = re.compile(
    r"(?:[$€£]\s?(?P<a>\d[\d,]*(?:\.\d+)?)\s?(?P<ka>k\b)?)"
    r"|(?:\b(?P<b>\d[\d,]*(?:\.\d+)?)\s?(?P<kb>k)?\s?(?:dollars|euros?|pounds|usd|eur|gbp)\b)",
    re.I,
)
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        "two three four five six seven eight nine ten eleven twelve".split(), 2
    )
} | {"a dozen": "12", "twenty": "20"}
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_NUMBER_WORDS)})\b", re.I)
_NUMBER = re.compile(r"(?<![\w.,/:-])(?P<n>-?\d[\d,]*(?:\.\d+)?)(?![\w/:]|[.,]\d)")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_FILE = re.compile(
    r"(?<![\w@])(?:[A-Za-z]:)?[\w~./\\-]*[\w-]\.[A-Za-z][A-Za-z0-9]{0,4}\b(?![@\w])|"
    r"(?<!\w)(?:~|\.{0,2})/[\w./-]+"
)
_URL = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)]")
_CAPITALISED = re.compile(r"(?<![\w@.])[A-Z][\w'-]*(?: [A-Z][\w'-]*)*")
_QUOTED = re.compile(r"[\"“”]([^\"“”\n]{1,200})[\"“”]|(?<!\w)'([^'\n]{1,200})'(?!\w)")
_TERM = r"\(*-?\d[\d.]*\)*"
_EXPRESSION = re.compile(rf"(?<![\w.])(?:{_TERM})(?: *(?:[-+/%]|\*\*?) *{_TERM})+(?!\w)")
_LABEL = re.compile(
    r"^\s*[-*]?\s*\**(?P<label>[A-Za-z][\w /()-]{0,40}?)\**\s*:\s*(?P<value>\S.*)$", re.M
)
_PLACE = re.compile(
    r"\b(?P<how>in|at|to|from|near|around) +(?:the +)?(?P<place>[A-Z][\w'.-]*"
    r"(?:(?: +(?:de|la|of|the|upon)\b)? +[A-Z][\w'.-]*)*)"
)
_LOWER_PLACE = re.compile(
    r"\b(?P<how>in|to|from|near) +(?P<place>[a-z][a-z'-]{2,}(?: [a-z'-]{3,})?)"
)
_NO_PLACE = frozenset(
    (
        "the a an this that these those my our your his her their its it me us you them him all "
        "any some each every advance general particular total short order case time front need "
        "touch english detail details person about and for with on by of at as is are be do go "
        "make find get have please which what when where who how"
    ).split()
)


_NO_NAMES = (_NO_PLACE - {"the"}) | {*MONTHS, *WEEKDAYS}


@dataclass(frozen=True, slots=True)
class Number:
    """A number with the words around it."""

    value: Decimal
    before: str
    after: str


def labels(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line of the form `Label: value`."""
    for found in _LABEL.finditer(text):
        yield found["label"].strip(), found["value"].strip().rstrip("*").strip()


def find_quotations(text: str) -> list[str]:
    """Return what stands in quotation marks."""
    return [a or b for a, b in _QUOTED.findall(text)]


def find_expressions(text: str) -> list[str]:
    """Return the sums, as `15 * 7`, that are no dates."""
    rest = text
    for pattern in _DATES:
        rest = pattern.sub(lambda m: " " * len(m[0]), rest)
    return [found.rstrip(".") for found in _EXPRESSION.findall(rest)]


def find_emails(text: str) -> list[str]:
    """Return the e-mail addresses."""
    return _EMAIL.findall(text)


def find_urls(text: str) -> list[str]:
    """Return the addresses of web pages."""
    return _URL.findall(text)


def find_files(text: str) -> list[str]:
    """Return the names of files: `sales.csv`, `/data/sales`, `notes/a.txt`."""
    rest = _EMAIL.sub(" ", _URL.sub(" ", text))
    return [found for found in _FILE.findall(rest) if found.lower() not in ("e.g", "i.e", "p.m")]


def find_names(text: str) -> list[str]:
    """Return the words with a capital that do not begin a sentence; no months, no weekdays."""
    found: list[str] = []
    for match in _CAPITALISED.finditer(text):
        begins = not text[: match.start()].strip() or text[: match.start()].rstrip()[-1] in ".!?:"
        name = match[0].removesuffix("'s")
        if (
            begins
            and "'s" not in match[0]
            and not re.match(r" (?:is|has|wants|needs)\b", text[match.end() :])
        ):
            name = name.partition(" ")[2]
        if name in ("", "I") or name.isupper() or name.split()[0].lower() in _NO_NAMES:
            continue
        found.append(name)
    return found


def find_money(text: str) -> list[Number]:
    """Return the amounts of money, in their order."""
    found: list[Number] = []
    for match in _MONEY.finditer(text):
        thousand = 1000 if match["ka"] or match["kb"] else 1
        value = _decimal(match["a"] or match["b"]) * thousand
        found.append(Number(value, text[: match.start()][-60:], text[match.end() :][:40]))
    return found


def numbers(text: str) -> list[Number]:
    """Return the plain numbers: neither money nor parts of dates and times."""
    rest = _NUMBER_WORD.sub(lambda m: _NUMBER_WORDS[m[0].lower()], text)
    for pattern in (_EMAIL, _FILE, _MONEY, *_DATES, *_TIMES):
        rest = pattern.sub(lambda m: " " * len(m[0]), rest)
    return [
        Number(
            _decimal(m["n"]),
            rest[: m.start()][-60:],
            re.split(r"[.\n;]", rest[m.end() :][:40])[0],
        )
        for m in _NUMBER.finditer(rest)
    ]


def find_dates(text: str, today: date) -> list[date]:
    """Return the dates. One without a year is the next such day from `today` on."""
    found: list[tuple[int, date]] = []
    for pattern in _DATES:
        for match in pattern.finditer(text):
            groups = match.groupdict()
            month = MONTHS[groups["mon"].lower()] if groups.get("mon") else int(groups["m"])
            if day := _next_day(groups.get("y"), month, int(groups["d"]), today):
                found.append((match.start(), day))
    for match in _RELATIVE.finditer(text):
        found.append((match.start(), _relative(match, today)))
    return [day for _, day in sorted(found)]


def times(text: str) -> list[str]:
    """Return the times of day as `HH:MM`."""
    found: list[str] = []
    for pattern in _TIMES:
        for match in pattern.finditer(text):
            hour = int(match["h"]) % 12 if match["half"] else int(match["h"])
            hour += 12 if (match["half"] or "").lower().startswith("p") else 0
            found.append(f"{hour:02}:{match['m'] or '00'}")
    return found


def find_places(text: str) -> list[tuple[str, str]]:
    """Return the places, each with the preposition before it."""
    found = [(m["how"].lower(), _trim_place(m["place"])) for m in _PLACE.finditer(text)]
    if not any(place for _, place in found):
        lower = _LOWER_PLACE.finditer(text)
        found = [(m["how"], " ".join(_place_words(m["place"])).title()) for m in lower]
    return [(how, place) for how, place in found if place]


def bare_place(answer: str, today: date) -> str | None:
    """Return the part of a short answer that is a place: no number, no date, no question."""
    for part in re.split(r"[,;\n]|\band\b", answer):
        words = part.strip(" .!")
        if found := find_places(words):
            return found[0][1]
        if not words or re.search(r"\d", words) or len(words.split()) > 4:
            continue
        if find_dates(words, today) or times(words) or words.lower() in MONTHS:
            continue
        if all(word[:1].isalpha() for word in words.split()):
            return words if words[:1].isupper() else words.title()
    return None


def stem(word: str) -> str:
    """Cut the endings off that plural and verb forms add."""
    word = word.lower()
    for ending in ("ings", "ing", "ies", "es", "s", "ed", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def words(text: str) -> list[str]:
    """Return the words of a text or a name, in lower case; `head_count` has two."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", text)
    return re.findall(r"[a-z]+|\d+", spaced.lower())


def _decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _next_day(year: str | None, month: int, day: int, today: date) -> date | None:
    try:
        if year:
            return date(int(year), month, day)
        this_year = date(today.year, month, day)
        return this_year if this_year >= today else date(today.year + 1, month, day)
    except ValueError:
        return None


def _relative(match: re.Match[str], today: date) -> date:
    if weekday := match["weekday"]:
        ahead = (WEEKDAYS.index(weekday.lower()) - today.weekday()) % 7 or 7
        return today + timedelta(days=ahead)
    return today + timedelta(days=1 if match["word"].lower() == "tomorrow" else 0)


def _trim_place(place: str) -> str:
    kept = place.rstrip(".,'").split()
    while kept and (kept[-1].lower() in MONTHS or kept[-1].lower() in WEEKDAYS):
        kept.pop()
    return "" if kept and kept[0].lower() in _NO_PLACE else " ".join(kept)


def _place_words(text: str) -> list[str]:
    kept: list[str] = []
    for word in text.split():
        if word in _NO_PLACE or word in MONTHS or word in WEEKDAYS:
            break
        kept.append(word)
    return kept
