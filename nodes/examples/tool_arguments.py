"""Reads the numbers that a model sends, and writes money."""

from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal

from pydantic import ValidationError

MAX_HEADS = 10_000
"""The most people that any tool plans for."""
MAX_DOLLARS = 100_000_000
"""The largest amount of money that any tool takes."""
_CENT = Decimal("0.01")


def read_heads(head_count: int) -> int:
    """Return the number of people.

    Raises:
        ValueError: It is not from 1 to `MAX_HEADS`.
    """
    if 1 <= head_count <= MAX_HEADS:
        return head_count
    raise _fault("head_count", head_count, f"a whole number of people from 1 to {MAX_HEADS:,}")


def read_cost(name: str, amount: float) -> Decimal:
    """Return an amount in US dollars, rounded to cents.

    Raises:
        ValueError: It is below zero, above `MAX_DOLLARS` or not a number.
    """
    if 0 <= amount <= MAX_DOLLARS:
        return cents(Decimal(str(amount)) + 0)  # the zero drops the sign of -0.0
    raise _fault(name, amount, f"US dollars from 0 to {MAX_DOLLARS:,}, such as 2400.00")


def read_limit(name: str, amount: float | None) -> Decimal | None:
    """Return a limit in US dollars, or None when there is none.

    A part of a cent is cut off: rounded up, a total just above the limit would pass.

    Raises:
        ValueError: It is below one cent, above `MAX_DOLLARS` or not a number.
    """
    if amount is None:
        return None
    if 0.01 <= amount <= MAX_DOLLARS:
        return Decimal(str(amount)).quantize(_CENT, ROUND_FLOOR)
    way = f"US dollars from 0.01 to {MAX_DOLLARS:,}, or leave {name} out for no limit"
    raise _fault(name, amount, way)


def _fault(name: str, value: object, way: str) -> ValueError:
    return ValueError(f"{name} {quote_argument(value)} is not allowed. Give {way}.")


def cents(amount: Decimal) -> Decimal:
    """Round an amount to cents, a half cent up."""
    return amount.quantize(_CENT, ROUND_HALF_UP)


def dollars(amount: Decimal) -> str:
    """Write an amount with its sign and separators: `$2,400.00`."""
    return f"${amount:,.2f}"


def quote_argument(value: object) -> str:
    """Write a value for a message, shortened if it is long."""
    if isinstance(value, int) and abs(value) >= 10**15:
        return "with more than 15 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def explain(error: Exception) -> str:
    """Say which arguments of a tool are missing or of the wrong type."""
    if not isinstance(error, ValidationError):
        return f"Cannot read the arguments: {error}"
    faults = [
        f"{'.'.join(map(str, fault['loc']))} is missing"
        if fault["type"] == "missing"
        else f"{'.'.join(map(str, fault['loc']))} {quote_argument(fault['input'])}: {fault['msg']}"
        for fault in error.errors()
    ]
    return f"Cannot read the arguments: {'; '.join(faults[:5])}. Correct them and try again."
