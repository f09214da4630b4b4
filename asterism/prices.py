"""What well-known models cost, as their providers list it.

Prices are those of text at the standard tier, without batch and region; cache writes are those
that last five minutes (Anthropic) or as long as the provider chooses (OpenAI). Prices that are
announced to end are left out, and so is every model whose prices could not be confirmed: an
unknown model is reported as unknown, never as free. Extend or replace what you know better.
"""

from datetime import date
from decimal import Decimal

from asterism.pricetable import LongRates, Price, PriceTable, Rates

__all__ = ["ANTHROPIC", "DEFAULT_PRICES", "GOOGLE", "OPENAI", "Price", "PriceTable"]


def _rates(text: str) -> Rates:
    """Read `input cached_input cache_write output`; a `-` is no price of its own."""
    numbers = [None if word == "-" else Decimal(word) for word in text.split()]
    names = ("input", "cached_input", "cache_write", "output")
    return Rates.model_validate(dict(zip(names, numbers, strict=True)))


def _price(text: str, above: int | None = None, long: str = "") -> Price:
    rates = _rates(text).model_dump()
    if above is None:
        return Price(**rates)
    return Price(**rates, long=LongRates(above=above, **_rates(long).model_dump()))


OPENAI = PriceTable(
    {
        "gpt-6.1-sol": _price("2 0.1 2.5 10", 272_000, "4 0.2 5 15"),
        "gpt-6.1-terra": _price("1 0.05 1.25 5", 272_000, "2 0.1 2.5 7.5"),
        "gpt-6-astra": _price("10 1 12.5 50", 272_000, "20 2 25 75"),
        "gpt-6-sol": _price("2 0.2 2.5 10", 272_000, "4 0.4 5 15"),
        "gpt-6-luna": _price("0.1 0.01 0.125 0.5", 272_000, "0.2 0.02 0.25 0.75"),
        "gpt-5.6-sol": _price("4 0.4 5 20", 272_000, "8 0.8 10 30"),
        "gpt-5.6-terra": _price("2 0.2 2.5 12", 272_000, "4 0.4 5 18"),
        "gpt-5.5": _price("5 0.5 - 30", 272_000, "10 1 - 45"),
        "gpt-5.4": _price("2.5 0.25 - 15", 272_000, "5 0.5 - 22.5"),
        "gpt-5.4-mini": _price("0.75 0.075 - 4.5"),
        "gpt-5.4-nano": _price("0.2 0.02 - 1.25"),
        "gpt-5.2": _price("1.75 0.175 - 14"),
        "gpt-5.1": _price("1.25 0.125 - 10"),
        "gpt-5": _price("1.25 0.125 - 10"),
        "gpt-5-mini": _price("0.25 0.025 - 2"),
        "gpt-5-nano": _price("0.05 0.005 - 0.4"),
        "gpt-5-pro": _price("15 - - 120"),
        "gpt-4.1": _price("2 0.5 - 8"),
        "gpt-4.1-mini": _price("0.4 0.1 - 1.6"),
        "gpt-4.1-nano": _price("0.1 0.025 - 0.4"),
        "gpt-4o": _price("2.5 1.25 - 10"),
        "gpt-4o-2024-05-13": _price("5 - - 15"),
        "gpt-4o-mini": _price("0.15 0.075 - 0.6"),
        "o4-mini": _price("1.1 0.275 - 4.4"),
        "o3": _price("2 0.5 - 8"),
        "o3-mini": _price("1.1 0.55 - 4.4"),
        "o1": _price("15 7.5 - 60"),
    },
    dated=date(2026, 11, 5),
    source="https://developers.openai.com/api/docs/pricing",
)

ANTHROPIC = PriceTable(
    {
        "claude-fable-5-1": _price("10 0.25 12.5 50"),
        "claude-fable-5": _price("10 1 12.5 50"),
        "claude-opus-5-5": _price("4 0.2 5 20"),
        "claude-opus-5": _price("5 0.5 6.25 25"),
        "claude-opus-4-8": _price("5 0.5 6.25 25"),
        "claude-opus-4-7": _price("5 0.5 6.25 25"),
        "claude-opus-4-6": _price("5 0.5 6.25 25"),
        "claude-opus-4-5": _price("5 0.5 6.25 25"),
        "claude-opus-4-1": _price("15 1.5 18.75 75"),
        "claude-sonnet-5-5": _price("2 0.1 2.5 10"),
        "claude-sonnet-5": _price("2 0.2 2.5 10"),
        "claude-sonnet-4-6": _price("3 0.3 3.75 15"),
        "claude-sonnet-4-5": _price("3 0.3 3.75 15", 200_000, "6 0.6 7.5 22.5"),
        "claude-haiku-5-5": _price("0.1 0.01 0.125 0.5", 100_000, "0.5 0.05 0.625 2.5"),
        "claude-haiku-4-5": _price("1 0.1 1.25 5"),
    },
    dated=date(2026, 10, 24),
    source="https://platform.claude.com/docs/en/about-claude/pricing",
)

GOOGLE = PriceTable(
    {
        "gemini-3.5-flash": _price("1.5 0.15 - 9"),
        "gemini-3.5-flash-lite": _price("0.3 0.03 - 2.5"),
        "gemini-3.1-pro-preview": _price("2 0.2 - 12", 200_000, "4 0.4 - 18"),
        "gemini-2.5-pro": _price("1.25 0.125 - 10", 200_000, "2.5 0.25 - 15"),
        "gemini-2.5-flash": _price("0.3 0.03 - 2.5"),
        "gemini-2.5-flash-lite": _price("0.1 0.01 - 0.4"),
    },
    dated=date(2026, 10, 7),
    source="https://ai.google.dev/gemini-api/docs/pricing",
)

_LISTED = (OPENAI, ANTHROPIC, GOOGLE)

DEFAULT_PRICES = PriceTable(
    {
        **{name: price for table in _LISTED for name, price in table.prices.items()},
        "offline": _price("0 - - 0"),
        "scripted": _price("0 - - 0"),
    },
    dated=min(table.dated for table in _LISTED),
    source=", ".join(table.source for table in _LISTED),
)
"""What is used where no other table is given; as old as its oldest part."""
