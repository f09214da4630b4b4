"""Adds up what an event costs, to the cent."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from langchain_core.tools import tool

from asterism.nodes.examples.tool_arguments import cents, dollars, read_cost, read_heads, read_limit

DECORATION_PER_HEAD = Decimal("12.00")
ENTERTAINMENT_PER_HEAD = Decimal("18.00")
STAFF_EACH = Decimal("240.00")
GUESTS_PER_STAFF = 25
CONTINGENCY_SHARE = Decimal("0.10")
_CUTS = 3


@dataclass(frozen=True)
class BudgetLine:
    """One item of a budget; the cost is in US dollars, in whole cents."""

    item: str
    cost: Decimal


@tool(parse_docstring=True)
def make_budget(
    head_count: int, venue_cost: float, catering_cost: float, budget_limit: float | None = None
) -> str:
    """Add up all costs of the event, with a reserve of 10%, and compare them with a limit.

    Args:
        head_count: Number of people who come, 1 to 10000.
        venue_cost: Cost of the venue for the day, in US dollars.
        catering_cost: Cost of the catering for all people together, in US dollars.
        budget_limit: Most that the event may cost, in US dollars. Leave it out for no limit.
    """
    try:
        heads = read_heads(head_count)
        venue = read_cost("venue_cost", venue_cost)
        catering = read_cost("catering_cost", catering_cost)
        limit = read_limit("budget_limit", budget_limit)
    except ValueError as error:
        return f"Cannot make the budget: {error}"
    lines = budget_lines(heads, venue, catering)
    total = total_of(lines)
    sums = [
        f"Budget total: {dollars(total)}",
        f"Budget per person: {dollars(cents(total / heads))}",
    ]
    verdict = [] if limit is None else _verdict(lines, limit)
    return "\n".join([*_table(lines), "", *sums, *verdict])


def budget_lines(head_count: int, venue_cost: Decimal, catering_cost: Decimal) -> list[BudgetLine]:
    """Return the items of a budget.

    Each cost is rounded to cents before anything is added, so what is printed adds up.
    """
    staff = -(-head_count // GUESTS_PER_STAFF)
    lines = [
        BudgetLine("Venue", cents(venue_cost)),
        BudgetLine("Catering", cents(catering_cost)),
        BudgetLine("Decoration", DECORATION_PER_HEAD * head_count),
        BudgetLine("Entertainment", ENTERTAINMENT_PER_HEAD * head_count),
        BudgetLine(f"Staff ({staff})", STAFF_EACH * staff),
    ]
    reserve = cents(total_of(lines) * CONTINGENCY_SHARE)
    return [*lines, BudgetLine("Contingency (10%)", reserve)]


def total_of(lines: Sequence[BudgetLine]) -> Decimal:
    """Add up the lines, in US dollars."""
    return sum((line.cost for line in lines), Decimal("0.00"))


def _table(lines: Sequence[BudgetLine]) -> list[str]:
    rows = [f"| {line.item} | {dollars(line.cost)} |" for line in lines]
    total = f"| **Total** | **{dollars(total_of(lines))}** |"
    return ["| Item | Cost |", "| --- | ---: |", *rows, total]


def _verdict(lines: Sequence[BudgetLine], limit: Decimal) -> list[str]:
    over = total_of(lines) - limit
    if over <= 0:
        return [f"Budget limit: {dollars(limit)} (within the limit, {dollars(-over)} left)"]
    # The contingency is no item to cut: it falls with the others.
    largest = sorted(lines[:-1], key=lambda line: -line.cost)[:_CUTS]
    names = ", ".join(f"{line.item} {dollars(line.cost)}" for line in largest)
    return [
        f"Budget limit: {dollars(limit)} (OVER by {dollars(over)})",
        f"Largest items to cut: {names}",
    ]
