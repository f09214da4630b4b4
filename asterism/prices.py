"""Prices of models: what a million tokens cost, as exact decimals."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

MILLION = Decimal(1_000_000)
FREE = frozenset({"offline", "scripted"})
"""The models that cost nothing."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """US dollars for a million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    """None: as `input`."""
    cache_write: Decimal | None = None
    """None: as `input`."""


class PriceTable:
    """What models cost.

    Args:
        prices: By the name of the model.
        dated: When the prices held.
        source: Where they stood.
    """

    def __init__(
        self, prices: Mapping[str, Price], *, dated: date | None = None, source: str = ""
    ) -> None:
        self._prices = dict(prices)
        self.dated = dated
        self.source = source

    def extended(self, prices: Mapping[str, Price]) -> "PriceTable":
        """Return a table with more prices; those that it has already are replaced."""
        return PriceTable({**self._prices, **prices}, dated=self.dated, source=self.source)

    def cost(
        self,
        model: str,
        *,
        input_tokens: int = 0,
        cached_input_tokens: int = 0,
        cache_write_tokens: int = 0,
        output_tokens: int = 0,
    ) -> Decimal | None:
        """Return US dollars, or None where the price of the model is not known."""
        if model in FREE:
            return Decimal(0)
        price = self._prices.get(model)
        if price is None:
            return None
        cached = price.input if price.cached_input is None else price.cached_input
        written = price.input if price.cache_write is None else price.cache_write
        plain = input_tokens - cached_input_tokens - cache_write_tokens
        total = plain * price.input + cached_input_tokens * cached
        return (total + cache_write_tokens * written + output_tokens * price.output) / MILLION


DEFAULT_PRICES = PriceTable({})
"""The table where none is given."""
