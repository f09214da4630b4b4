"""Finds a venue in the sample catalogue."""

import datetime
from decimal import Decimal

from langchain_core.tools import tool

from asterism.nodes.examples.event_planning.catalogue import (
    Venue,
    find_city,
    read_date,
    venues_of,
    weekday_name,
    with_weekday,
)
from asterism.nodes.examples.tool_arguments import dollars, read_heads, read_limit

_OTHERS = 3


@tool(parse_docstring=True)
def search_venues(city: str, head_count: int, date: str, max_price: float | None = None) -> str:
    """Find the venue that fits best, with its price for the date and up to 3 other options.

    Args:
        city: Name of the city, such as Seattle or New York.
        head_count: Number of people who come, 1 to 10000.
        date: Day of the event, written YYYY-MM-DD.
        max_price: Most that the venue may cost for the day, in US dollars. Leave it out for no
            limit.
    """
    try:
        place, day = find_city(city), read_date(date)
        heads, limit = read_heads(head_count), read_limit("max_price", max_price)
    except ValueError as error:
        return f"Cannot search venues: {error}"
    picks = rank_venues(place, heads, day, limit)
    return _answer(place, day, picks) if picks else _reason(place, heads, day, limit)


def rank_venues(
    city: str, heads: int, day: datetime.date, limit: Decimal | None = None
) -> list[Venue]:
    """Return the venues that fit, the best first: closest capacity, then price, then name."""
    fitting = [
        venue
        for venue in venues_of(city)
        if venue.capacity >= heads
        and venue.open_on(day)
        and (limit is None or venue.price_on(day) <= limit)
    ]
    return sorted(fitting, key=lambda venue: (venue.capacity, venue.price_on(day), venue.name))


def _answer(city: str, day: datetime.date, picks: list[Venue]) -> str:
    best, *others = picks
    options = [
        f"- {venue.name} ({venue.neighbourhood}): {venue.capacity} people, "
        f"{dollars(venue.price_on(day))}"
        for venue in others[:_OTHERS]
    ]
    lines = [
        f"Venue: {best.name}",
        f"Venue address: {best.neighbourhood}, {city}",
        f"Venue capacity: {best.capacity} people",
        f"Venue cost: {dollars(best.price_on(day))}",
        f"Venue date: {with_weekday(day)}",
        f"Venue features: {', '.join([best.kind, *best.features])}",
        *(["Other options:", *options, ""] if options else ["Other options: none"]),
        "Source: sample catalogue",
    ]
    return "\n".join(lines)


def _reason(city: str, heads: int, day: datetime.date, limit: Decimal | None) -> str:
    """Say why nothing fits, and what would."""
    largest = max(venues_of(city), key=lambda venue: venue.capacity)
    if largest.capacity < heads:
        return (
            f"No venue in {city} holds {heads:,} people. The largest is {largest.name} with "
            f"{largest.capacity}. Invite fewer people, or try another city."
        )
    if not rank_venues(city, heads, day):
        return _is_closed(city, heads, day)
    cheapest = min(rank_venues(city, heads, day), key=lambda venue: venue.price_on(day))
    return (
        f"No venue in {city} for {heads:,} people on {with_weekday(day)} costs at most "
        f"{dollars(limit or Decimal(0))}. The cheapest that fits is {cheapest.name} at "
        f"{dollars(cheapest.price_on(day))}. Raise max_price to that, or try another month."
    )


def _is_closed(city: str, heads: int, day: datetime.date) -> str:
    names = [venue.name for venue in venues_of(city) if venue.capacity >= heads]
    week = (day + datetime.timedelta(days=later) for later in range(1, 7))
    opens = next((with_weekday(later) for later in week if rank_venues(city, heads, later)), "none")
    return (
        f"No venue in {city} for {heads:,} people is open on {with_weekday(day)}: "
        f"{', '.join(names)} closed on {weekday_name(day)}s. The next day with one open: {opens}."
    )
