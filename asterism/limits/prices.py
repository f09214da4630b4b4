"""What models cost: tables in dollars per million tokens, exact sums, and never a guess.

`DEFAULT_PRICES` reads the package `genai-prices`, which carries what the providers list: text at
the standard tier, without batch and region, and cache writes that last five minutes. A model that
it does not know by name is reported as unknown, never as free; `extended` and `replaced` put
prices of your own above it. Tests: tests/asterism/limits/test_prices.py.
"""

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal, Inexact, localcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from asterism.core.numbers import count_faults, raise_number_faults

if TYPE_CHECKING:
    from genai_prices.types import MatchLogic, ModelPrice
    from pydantic_core import ErrorDetails

_PROVIDER = re.compile(r"(?!ft:)([a-z][a-z0-9_-]*[:/])?(models/)?(?=.)")
_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
_TOKENS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}
_OTHER_CHARGES = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")
"""Charges of plain text that a number of tokens does not tell: such a model is unknown."""
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
    long: "LongRates | None" = None
    """What all tokens of a call with a long prompt cost. None: the same."""


class LongRates(Rates):
    """What all tokens of a call cost whose prompt is long."""

    above: int = Field(gt=0, strict=True)
    """The number of tokens from which on a prompt is long: with one more."""


class Price(Rates):
    """What the tokens of a model cost."""


@dataclass(frozen=True)
class PriceTable:
    """What models cost, as of a day, by a source. A model that is not in it is not free.

    Args:
        prices: By the name of the model, such as `"gpt-5-mini"`, or with a provider,
            `"azure:gpt-5"`.
        dated: When the prices were read. None: as of the installed version of the source.
        source: Where they were read.
        is_default: Whether a model that is not in `prices` is looked up in the package
            `genai-prices`.
    """

    prices: Mapping[str, Price]
    _: KW_ONLY
    dated: date | None
    source: str
    is_default: bool = False

    def __post_init__(self) -> None:
        for name, price in cast(Mapping[Any, Any], self.prices).items():
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"{name!r} is no name of a model")
            if not isinstance(price, Price):
                raise ValueError(f"the price of {name!r} is {price!r}; it must be a Price")
        object.__setattr__(self, "prices", MappingProxyType(dict(self.prices)))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a table from a file of TOML, JSON or YAML.

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
        from asterism.core.config_files import raise_faults, read_values

        path = Path(path)
        try:
            file = _File.model_validate(read_values(path))
        except ValidationError as error:
            raise_faults(path, map(_describe_fault, error.errors()))
            raise
        return cls(file.models, dated=file.dated, source=file.source)

    def extended(
        self, prices: Mapping[str, Price], *, dated: date | None = None, source: str | None = None
    ) -> Self:
        """Return a table with more models; they go before those of `genai-prices`.

        Raises:
            ValueError: A model is in `prices` already; `replaced` gives it another price.
        """
        if known := sorted(set(prices) & set(self.prices)):
            raise ValueError(f"there are prices already: {', '.join(known)}. Use replaced()")
        return self._with(prices, dated, source)

    def __repr__(self) -> str:
        """Say how many prices there are rather than list them: signatures show it."""
        return f"PriceTable({len(self.prices)} prices of its own, dated={self.dated!r})"

    def replaced(
        self, prices: Mapping[str, Price], *, dated: date | None = None, source: str | None = None
    ) -> Self:
        """Return a table with other prices of models that are in it.

        Raises:
            ValueError: A model is not in it; `extended` adds it.
        """
        if unknown := sorted(name for name in prices if self.find(name) is None):
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
        if not self.is_default:
            return None
        provider = prefix[1].rstrip(":/") if prefix and prefix[1] else None
        return _find_listed(model, None) or _find_listed(bare, provider)

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
        for name, tokens in counts.items():
            if type(tokens) is not int or tokens < 0:
                raise_number_faults(count_faults(name, tokens, least=0))
        plain = input_tokens - cached_input_tokens - cache_write_tokens
        if plain < 0:
            raise ValueError(
                f"{cached_input_tokens} cached and {cache_write_tokens} written tokens are more "
                f"than the {input_tokens} input_tokens, which they are part of"
            )
        price = self.find(model)
        if price is None:
            return None
        rates: Rates = price
        while rates.long is not None and input_tokens > rates.long.above:
            rates = rates.long
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


def _describe_fault(fault: "ErrorDetails") -> str:
    place = ".".join(str(part) for part in fault["loc"] if part != "[key]")
    found = "" if fault["type"] == "missing" else f" (it is {fault['input']!r})"
    said = fault["msg"].removeprefix("Value error, ")
    return f"{place or 'the file'}: {said}{found}"


def _find_listed(name: str, provider: str | None) -> Price | None:
    """Find what `genai-prices` lists today for a model of just this name."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, model = get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    name = name.lower()
    if _strip_date(name) != model.id and not _is_named(model.match, name):
        return None
    return _read_price(model.get_prices(datetime.now(UTC)))


def _is_named(match: "MatchLogic", name: str) -> bool:
    """Whether a rule names a model in full: some only say how its name begins."""
    if alternatives := getattr(match, "or_", None):
        return any(_is_named(one, name) for one in alternatives)
    is_full = hasattr(match, "equals") or str(getattr(match, "regex", "")).endswith("$")
    return is_full and match.is_match(name)


def _read_price(listed: "ModelPrice") -> Price | None:
    found = {rate: getattr(listed, key) for rate, key in _TOKENS.items()}
    if found["input"] is None or found["output"] is None:
        return None
    if any(getattr(listed, key) is not None for key in _OTHER_CHARGES):
        return None
    starts = {tier.start for price in found.values() for tier in getattr(price, "tiers", ())}
    long: LongRates | None = None
    for above in sorted(starts, reverse=True):
        long = LongRates(above=above, long=long, **_rates_from(found, above))
    return Price(long=long, **_rates_from(found, -1))


def _rates_from(found: Mapping[str, Any], above: int) -> dict[str, Any]:
    """Return the rates of a prompt of more than `above` tokens."""
    rates: dict[str, Any] = {}
    for rate, price in found.items():
        tiers = [tier.price for tier in getattr(price, "tiers", ()) if tier.start <= above]
        dollars = tiers[-1] if tiers else getattr(price, "base", price)
        rates[rate] = None if dollars is None else round(dollars, 12)
    return rates


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


_FREE = Price(input=Decimal(0), output=Decimal(0))

DEFAULT_PRICES = PriceTable(
    {"offline": _FREE, "scripted": _FREE},
    dated=None,
    source="https://github.com/pydantic/genai-prices",
    is_default=True,
)
"""What is used where no other table is given."""
