"""The sample catalogue: venues and the usual weather of 40 cities.

Reads dates and times of day, and names weekdays and months in English.
"""

import datetime
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from asterism.nodes.examples.tool_arguments import cents, quote_argument

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


DATA = Path(__file__).parent / "data"
PEAK_FACTOR = Decimal("1.20")
"""What the price is multiplied by in a venue's peak months."""


@dataclass(frozen=True)
class Venue:
    """A place for an event; `price_per_day` is in US dollars, before the peak surcharge."""

    name: str
    kind: str
    neighbourhood: str
    capacity: int
    price_per_day: Decimal
    closed_weekdays: tuple[str, ...]
    peak_months: tuple[int, ...]
    features: tuple[str, ...]

    def price_on(self, day: datetime.date) -> Decimal:
        """Return the price for one day in US dollars, with the surcharge of a peak month."""
        peak = day.month in self.peak_months
        return cents(self.price_per_day * PEAK_FACTOR if peak else self.price_per_day)

    def open_on(self, day: datetime.date) -> bool:
        """Say whether the venue is open on that weekday."""
        return weekday_name(day) not in self.closed_weekdays


@dataclass(frozen=True)
class Climate:
    """Monthly normals, January first: degrees Celsius, and days with precipitation."""

    high_c: tuple[int, ...]
    low_c: tuple[int, ...]
    wet_days: tuple[int, ...]


@dataclass(frozen=True)
class City:
    """A city with its other names and the states or countries that may follow its name."""

    name: str
    also: tuple[str, ...]
    places: tuple[str, ...]
    venues: tuple[Venue, ...]


@dataclass(frozen=True)
class _VenueFile:
    note: str
    cities: tuple[City, ...]


@dataclass(frozen=True)
class _ClimateFile:
    note: str
    cities: dict[str, Climate]


@cache
def _cities() -> dict[str, City]:
    text = (DATA / "venues.json").read_bytes()
    return {city.name: city for city in TypeAdapter(_VenueFile).validate_json(text).cities}


@cache
def _climates() -> dict[str, Climate]:
    text = (DATA / "climate.json").read_bytes()
    return TypeAdapter(_ClimateFile).validate_json(text).cities


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    """Return what a plain name has to look like: the city, then any of its places."""
    return {
        city.name: re.compile(
            rf"(?:{'|'.join(map(_plain, (city.name, *city.also)))})"
            rf"(?: (?:{'|'.join(map(_plain, city.places))}))*"
        )
        for city in _cities().values()
    }


def cities() -> list[str]:
    """Return the names of the cities, the United States first, larger ones first."""
    return list(_cities())


def find_city(name: str) -> str:
    """Return the catalogue's name of a city.

    Case, accents, spaces and full stops do not matter, and a state or country may follow:
    `seattle, wa`. It has to be the right one: `Portland, ME` is another city.

    Raises:
        ValueError: The catalogue does not have that city; the message lists those it has.
    """
    wanted = _plain(name)
    for city, pattern in _patterns().items():
        if pattern.fullmatch(wanted):
            return city
    raise ValueError(
        f"the sample catalogue does not have the city {quote_argument(name)}. "
        f"Choose one of: {', '.join(cities())}."
    )


def venues_of(city: str) -> tuple[Venue, ...]:
    """Return the venues of a city, the smallest first."""
    return _cities()[city].venues


def climate_of(city: str) -> Climate:
    """Return the monthly normals of a city."""
    return _climates()[city]


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).casefold()
    kept = "".join(c for c in letters if not unicodedata.combining(c) and c not in ".'’")
    return re.sub(r"[\W_]+", " ", kept).strip()
