import re
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism.nodes.examples.event_planning.budget import budget_lines, make_budget, total_of
from tests.nodes.examples.event_planning.helpers import function_of

HEADS = st.integers(1, 10_000)
MONEY = st.floats(0, 1e8)


def amounts(answer: str) -> list[Decimal]:
    """Read the costs of the table, the total last."""
    rows = re.findall(r"^\| .* \| (?:\*\*)?\$([\d,]+\.\d\d)(?:\*\*)? \|$", answer, re.MULTILINE)
    return [Decimal(row.replace(",", "")) for row in rows]


def test_the_answer_is_a_table_and_labelled_lines() -> None:
    answer = make_budget.invoke({"head_count": 50, "venue_cost": 2400, "catering_cost": 2400})
    assert answer.splitlines() == [
        "| Item | Cost |",
        "| --- | ---: |",
        "| Venue | $2,400.00 |",
        "| Catering | $2,400.00 |",
        "| Decoration | $600.00 |",
        "| Entertainment | $900.00 |",
        "| Staff (2) | $480.00 |",
        "| Contingency (10%) | $678.00 |",
        "| **Total** | **$7,458.00** |",
        "",
        "Budget total: $7,458.00",
        "Budget per person: $149.16",
    ]


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        pytest.param(8000, ["$8,000.00 (within the limit, $542.00 left)"], id="within"),
        pytest.param(7458, ["$7,458.00 (within the limit, $0.00 left)"], id="just within"),
        pytest.param(7458.009, ["$7,458.00 (within the limit, $0.00 left)"], id="part of a cent"),
        pytest.param(
            7457.99,
            [
                "$7,457.99 (OVER by $0.01)",
                "Largest items to cut: Venue $2,400.00, Catering $2,400.00, Entertainment $900.00",
            ],
            id="just over",
        ),
    ],
)
def test_the_limit_is_judged(limit: float, said: list[str]) -> None:
    lines = function_of(make_budget)(50, 2400, 2400, limit).splitlines()
    assert lines[12:] == [f"Budget limit: {said[0]}", *said[1:]]


def test_a_limit_less_than_a_cent_below_the_total_is_over() -> None:
    answer = function_of(make_budget)(50, 2400, 2400, 7457.996)
    assert "Budget limit: $7,457.99 (OVER by $0.01)" in answer


@given(heads=HEADS, venue=MONEY, catering=MONEY)
def test_what_is_printed_adds_up_to_the_cent(heads: int, venue: float, catering: float) -> None:
    answer = function_of(make_budget)(heads, venue, catering)
    *items, total = amounts(answer)
    assert len(items) == 6 and sum(items) == total
    assert items[-1] == (sum(items[:-1], Decimal(0)) / 10).quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert f"Budget total: ${total:,.2f}\n" in answer


@given(heads=HEADS, venue=st.floats(0, 1e5), catering=st.floats(0, 1e5), limit=st.floats(0.01, 1e6))
def test_over_the_limit_is_said_exactly_when_it_is(
    heads: int, venue: float, catering: float, limit: float
) -> None:
    answer = function_of(make_budget)(heads, venue, catering, limit)
    over = amounts(answer)[-1] > Decimal(str(limit))
    assert ("OVER by" in answer) == over
    assert ("Largest items to cut" in answer) == over
    assert ("within the limit" in answer) == (not over)


@given(heads=HEADS, venue=st.decimals(0, 10**8), catering=st.decimals(0, 10**8))
def test_every_line_is_in_whole_cents(heads: int, venue: Decimal, catering: Decimal) -> None:
    lines = budget_lines(heads, venue, catering)
    assert all(line.cost == line.cost.quantize(Decimal("0.01")) for line in lines)
    assert total_of(lines) == sum(line.cost for line in lines)


@pytest.mark.parametrize(
    ("heads", "staff"),
    [(1, 1), (25, 1), (26, 2), (50, 2), (51, 3)],
    ids=lambda value: str(value),
)
def test_staff_come_for_each_25_guests_that_have_begun(heads: int, staff: int) -> None:
    line = budget_lines(heads, Decimal(0), Decimal(0))[4]
    assert (line.item, line.cost) == (f"Staff ({staff})", Decimal(240 * staff))


def test_money_may_be_zero_and_is_printed_without_a_sign() -> None:
    answer = function_of(make_budget)(1, -0.0, 0)
    assert "| Venue | $0.00 |" in answer
