"""Numbers that users give: what is refused, and in which words."""

from decimal import Decimal
from typing import Any

import pytest

from asterism.core.numbers import (
    amount_faults,
    count_faults,
    fraction_faults,
    raise_number_faults,
    seconds_faults,
)

NO_NUMBERS: list[Any] = [True, False, None, "1", float("nan"), float("inf"), [], -1]


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 1.0, Decimal(1)], ids=repr)
def test_what_does_not_count_is_named(value: Any) -> None:
    said = f"n is {value!r}; it must be a whole number of at least 1"
    assert list(count_faults("n", value)) == [said]
    assert list(count_faults("n", 1)) == list(count_faults("n", 0, least=0)) == []


@pytest.mark.parametrize("value", [*NO_NUMBERS, 10**400], ids=lambda value: repr(value)[:9])
def test_what_is_no_time_or_part_is_named(value: Any) -> None:
    assert len(list(seconds_faults("t", value))) == len(list(fraction_faults("f", value))) == 1


def test_zero_is_a_time_and_a_part_where_it_means_something() -> None:
    assert not [*seconds_faults("t", 0), *fraction_faults("f", 0), *fraction_faults("f", 1)]
    assert list(seconds_faults("t", 0, above_zero=True)) == [
        "t is 0; it must be a number of seconds, above 0"
    ]
    assert list(fraction_faults("f", 0.0, above_zero=True)) == [
        "f is 0.0; it must be above 0 and at most 1"
    ]
    assert list(fraction_faults("f", 1.5)) == ["f is 1.5; it must be from 0 to 1"]


@pytest.mark.parametrize("value", [True, None, "much", float("nan"), "Infinity", -1], ids=repr)
def test_what_is_no_amount_is_named(value: Any) -> None:
    said = f"a is {value!r}; it must be a number of US dollars, 0 or more"
    assert list(amount_faults("a", value)) == [said]
    assert not [*amount_faults("a", "0.5"), *amount_faults("a", Decimal(0))]


def test_all_faults_are_raised_at_once() -> None:
    raise_number_faults([])
    with pytest.raises(LookupError, match=r"^one; two$"):
        raise_number_faults(["one", "two"], LookupError)
