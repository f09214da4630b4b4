"""Plain values of unknown shape."""

import math
import sys
from decimal import Decimal
from typing import Any

import pytest

from asterism.core.values import is_number
from asterism.limits.failure_policies import Timeout

FINITE: list[Any] = [0, -1, 2.5, -0.0, sys.float_info.max, -sys.float_info.max, 10**300]
OTHERS: list[Any] = [True, False, None, "1", Decimal(1), 1j, [1]]
TOO_MUCH: list[Any] = [math.nan, math.inf, -math.inf, 10**400, -(10**400)]


@pytest.mark.parametrize("value", FINITE, ids=lambda value: repr(value)[:20])
def test_finite_numbers_are_numbers(value: Any) -> None:
    assert is_number(value) is True


@pytest.mark.parametrize("value", [*OTHERS, *TOO_MUCH], ids=lambda value: repr(value)[:20])
def test_everything_else_is_none(value: Any) -> None:
    assert is_number(value) is False


def test_a_number_too_large_for_a_float_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"^seconds is 1000"):
        Timeout(10**400)
