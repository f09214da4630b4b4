"""What well-known models cost, as their providers list it.

Prices are those of text at the standard tier, without batch and region; cache writes are those
that last five minutes (Anthropic) or as long as the provider chooses (OpenAI). Prices that are
announced to end are left out, and so is every model whose prices could not be confirmed: an
unknown model is reported as unknown, never as free. Extend or replace what you know better.

What models cost: dated tables in dollars per million tokens, and exact sums.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from datetime import date
from decimal import Decimal, Inexact, localcontext
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from asterism.errors import ConfigurationError

_PROVIDER = re.compile(r"(?!ft:)([a-z][a-z0-9_-]*[:/])?(models/)?(?=.)")
_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
_DIGITS = 60
"""More than any product of a price and a number of tokens has."""


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a price is a number")
    return value


def _day(value: object) -> object:
    if not isinstance(value, date | str):
        raise ValueError("a date is written as 2026-11-21")
    return value


Dollars = Annotated[
    Decimal,
    BeforeValidator(_number),
    Field(ge=0, le=1_000_000, decimal_places=12, allow_inf_nan=False),
]
"""US dollars per million tokens."""


class Rates(BaseModel):
    """What tokens cost, in US dollars per million."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Dollars
    """Tokens of the prompt."""
    output: Dollars
    """Tokens of the answer, reasoning among them."""
    cached_input: Dollars | None = None
    """Tokens of the prompt that were read from the provider's cache. None: as `input`."""
    cache_write: Dollars | None = None
    """Tokens of the prompt that were written to it. None: as `input`."""


class LongRates(Rates):
    """What all tokens of a call cost whose prompt is long."""

    above: int = Field(gt=0, strict=True)
    """The number of tokens from which on a prompt is long: with one more."""


class Price(Rates):
    """What the tokens of a model cost."""

    long: LongRates | None = None
    """What they cost in a call with a long prompt. None: the same."""


@dataclass(frozen=True)
class PriceTable:
    """What models cost, as of a day, by a source. A model that is not in it is not free."""

    prices: Mapping[str, Price]
    """By the name of the model, such as `"gpt-5-mini"`, or with a provider, `"azure:gpt-5"`."""
    _: KW_ONLY
    dated: date
    """When the prices were read."""
    source: str
    """Where they were read."""

    def __post_init__(self) -> None:
        """Keep the prices from being changed.

        Raises:
            ValueError: A name or a price is none.
        """
        for name, price in cast(Mapping[Any, Any], self.prices).items():
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"{name!r} is no name of a model")
            if not isinstance(price, Price):
                raise ValueError(f"the price of {name!r} is {price!r}; it must be a Price")
        object.__setattr__(self, "prices", MappingProxyType(dict(self.prices)))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a table from a TOML or a JSON file.

        Example:
            ```toml
            dated = 2026-11-21
            source = "https://example.org/prices"

            [models."gpt-5-mini"]
            input = 0.25
            cached_input = 0.025
            output = 2
            ```

        Raises:
            ConfigurationError: It cannot be read; the message lists every fault and its place.
        """
        path = Path(path)
        try:
            file = _File.model_validate(_parse_file(path))
        except (OSError, ValueError) as error:
            faults = _list_faults(error) if isinstance(error, ValidationError) else f" {error}"
            raise ConfigurationError(f"The prices in {path} cannot be read:{faults}") from error
        return cls(file.models, dated=file.dated, source=file.source)

    def extended(
        self,
        prices: Mapping[str, Price],
        *,
        dated: date | None = None,
        source: str | None = None,
    ) -> Self:
        """Return a table with more models.

        Raises:
            ValueError: A model is in it already; `replaced` gives it another price.
        """
        if known := sorted(set(prices) & set(self.prices)):
            raise ValueError(f"there are prices already: {', '.join(known)}. Use replaced()")
        return self._with(prices, dated, source)

    def replaced(
        self,
        prices: Mapping[str, Price],
        *,
        dated: date | None = None,
        source: str | None = None,
    ) -> Self:
        """Return a table with other prices of models that are in it.

        Raises:
            ValueError: A model is not in it; `extended` adds it.
        """
        if unknown := sorted(set(prices) - set(self.prices)):
            raise ValueError(f"there are no prices yet: {', '.join(unknown)}. Use extended()")
        return self._with(prices, dated, source)

    def find(self, model: str) -> Price | None:
        """Find the price of a model, or None.

        A name is looked up as it is, then without its provider (`"openai:gpt-5-mini"`,
        `"openai/gpt-5-mini"`), then without its date (`"gpt-5-mini-2025-08-07"`). It is never
        taken for a name that only begins alike, nor is a fine-tuned model for its base.
        """
        prefix = _PROVIDER.match(model)
        bare = model[prefix.end() :] if prefix else model
        for name in (model, bare, _strip_date(model), _strip_date(bare)):
            if name in self.prices:
                return self.prices[name]
        return None

    def cost(
        self,
        model: str,
        *,
        input_tokens: int = 0,
        cached_input_tokens: int = 0,
        cache_write_tokens: int = 0,
        output_tokens: int = 0,
    ) -> Decimal | None:
        """Return what one call costs, in US dollars, exactly; None where nobody knows.

        Args:
            model: Its name.
            input_tokens: The whole prompt, with what was read from and written to a cache.
            cached_input_tokens: What was read from the cache.
            cache_write_tokens: What was written to it.
            output_tokens: The whole answer, with the reasoning.

        Raises:
            ValueError: A number of tokens is negative, or a part is more than the prompt.
        """
        counts = {
            "input_tokens": input_tokens,
            "cached_input_tokens": cached_input_tokens,
            "cache_write_tokens": cache_write_tokens,
            "output_tokens": output_tokens,
        }
        for name, tokens in cast(dict[str, Any], counts).items():
            if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
                raise ValueError(f"{name} is {tokens!r}; it must be a whole number of at least 0")
        plain = input_tokens - cached_input_tokens - cache_write_tokens
        if plain < 0:
            raise ValueError(
                f"{cached_input_tokens} cached and {cache_write_tokens} written tokens are more "
                f"than the {input_tokens} input_tokens, which they are part of"
            )
        price = self.find(model)
        if price is None:
            return None
        long = price.long
        rates = long if long is not None and input_tokens > long.above else price
        with localcontext(prec=_DIGITS) as exact:
            exact.traps[Inexact] = True
            return (
                plain * rates.input
                + cached_input_tokens * _or(rates.cached_input, rates.input)
                + cache_write_tokens * _or(rates.cache_write, rates.input)
                + output_tokens * rates.output
            ).scaleb(-6)

    def _with(self, prices: Mapping[str, Price], dated: date | None, source: str | None) -> Self:
        merged = {**self.prices, **prices}
        return replace(self, prices=merged, dated=dated or self.dated, source=source or self.source)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dated: Annotated[date, BeforeValidator(_day)]
    source: str = Field(min_length=1)
    models: dict[Annotated[str, Field(pattern=r"\S")], Price]


def _parse_file(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return tomllib.loads(text, parse_float=Decimal)
    if path.suffix == ".json":
        return json.loads(
            text, parse_float=Decimal, parse_constant=Decimal, object_pairs_hook=_without_doubles
        )
    raise ValueError("its name ends neither with .toml nor with .json")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if double := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"it has {', '.join(sorted(double))} more than once")
    return dict(pairs)


def _list_faults(error: ValidationError) -> str:
    lines: list[str] = []
    for fault in error.errors():
        place = ".".join(_quote_part(part) for part in fault["loc"] if part != "[key]")
        found = "" if fault["type"] == "missing" else f" (it is {fault['input']!r})"
        said = fault["msg"].removeprefix("Value error, ")
        lines.append(f"\n  {len(lines) + 1}. {place or 'the file'}: {said}{found}")
    return "".join(lines)


def _quote_part(part: int | str) -> str:
    return str(part) if re.fullmatch(r"[\w-]+", str(part)) else f'"{part}"'


def _strip_date(name: str) -> str:
    found = _DATE.search(name)
    if found is None:
        return name
    try:
        date.fromisoformat(found[1])
    except ValueError:
        return name
    return name[: found.start()]


def _or(rate: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if rate is None else rate


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
