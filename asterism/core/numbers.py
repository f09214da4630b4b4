"""Checks of numbers that users give: each yields what is wrong, and the caller raises once.

Tests: tests/asterism/core/test_numbers.py.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal, DecimalException

from asterism.core.values import is_number


def count_faults(name: str, value: object, *, least: int = 1) -> Iterator[str]:
    """Yield what is wrong with a number of things."""
    if not isinstance(value, int) or not is_number(value) or value < least:
        yield f"{name} is {value!r}; it must be a whole number of at least {least}"


def seconds_faults(name: str, value: object, *, above_zero: bool = False) -> Iterator[str]:
    """Yield what is wrong with a time in seconds."""
    if not is_number(value) or float(str(value)) < 0 or (above_zero and value == 0):
        allowed = "above 0" if above_zero else "0 or more"
        yield f"{name} is {value!r}; it must be a number of seconds, {allowed}"


def fraction_faults(name: str, value: object, *, above_zero: bool = False) -> Iterator[str]:
    """Yield what is wrong with a part of a whole."""
    if not is_number(value) or not 0 <= float(str(value)) <= 1 or (above_zero and value == 0):
        allowed = "above 0 and at most 1" if above_zero else "from 0 to 1"
        yield f"{name} is {value!r}; it must be {allowed}"


def amount_faults(name: str, value: object) -> Iterator[str]:
    """Yield what is wrong with an amount of US dollars."""
    try:
        amount = Decimal(str(value))  # "True" is no number
    except DecimalException:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        yield f"{name} is {value!r}; it must be a number of US dollars, 0 or more"


def raise_number_faults(faults: Iterable[str], error: type[Exception] = ValueError) -> None:
    """Raise an error that names every fault, where there are any."""
    if said := "; ".join(faults):
        raise error(said)
