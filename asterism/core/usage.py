"""The ledger: what the calls of a run took, line by line, and what it adds up to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NotRequired, Self

from typing_extensions import TypedDict

CENTS = Decimal(100)
"""US cents in a dollar."""


class UsageEntry(TypedDict):
    """One line of the ledger in state: calls of one kind that one visit or decision made."""

    by: str
    """Who made them: the participants from the outermost inwards, as in `"team/venue"`."""
    task: NotRequired[str]
    """The task of a plan that they were made for."""
    model: NotRequired[str]
    """The model, for model calls."""
    tool: NotRequired[str]
    """The tool, for tool calls."""
    calls: int
    input_tokens: int
    cached_input_tokens: int
    """Those of the input tokens that the provider had in its cache."""
    cache_write_tokens: NotRequired[int]
    """Those that the provider has put into its cache, where it says so."""
    output_tokens: int
    estimated: NotRequired[bool]
    """Whether the tokens, and so the cost, are an estimate: the answers told none."""
    seconds: float
    cost_usd: str | None
    """A decimal number of US dollars. None: the price of the model is not known."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What calls took, added up."""

    calls: int = 0
    """Model calls; those that a cache answered are not counted, those that failed are."""
    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Those of the input tokens that providers had in their caches."""
    cache_write_tokens: int = 0
    """Those that providers have put into their caches."""
    output_tokens: int = 0
    estimated_tokens: int = 0
    """Those of all tokens that are an estimate, because the answers told none."""
    seconds: float = 0.0
    """The time in model and tool calls."""
    cost_usd: Decimal = Decimal(0)
    """US dollars, of what has a known price."""
    unknown: frozenset[str] = frozenset()
    """The models whose price is not known."""

    @property
    def tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens

    @property
    def cache_hit_rate(self) -> float:
        """The part of the input tokens that providers had in their caches, from 0 to 1."""
        return self.cached_input_tokens / self.input_tokens if self.input_tokens else 0.0

    @property
    def cost_in_cents(self) -> Decimal:
        """The cost in US cents."""
        return self.cost_usd * CENTS

    def __add__(self, other: "Usage") -> "Usage":
        """Add two up."""
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            estimated_tokens=self.estimated_tokens + other.estimated_tokens,
            seconds=self.seconds + other.seconds,
            cost_usd=self.cost_usd + other.cost_usd,
            unknown=self.unknown | other.unknown,
        )

    @classmethod
    def of(cls, entries: Iterable[UsageEntry]) -> Self:
        """Add the lines of a ledger up."""
        found = list(entries)
        models = [entry for entry in found if "model" in entry]
        return cls(
            calls=sum(entry["calls"] for entry in models),
            input_tokens=sum(entry["input_tokens"] for entry in models),
            cached_input_tokens=sum(entry["cached_input_tokens"] for entry in models),
            cache_write_tokens=sum(entry.get("cache_write_tokens", 0) for entry in models),
            output_tokens=sum(entry["output_tokens"] for entry in models),
            estimated_tokens=sum(
                entry["input_tokens"] + entry["output_tokens"]
                for entry in models
                if entry.get("estimated")
            ),
            seconds=sum(entry["seconds"] for entry in found),
            cost_usd=sum((Decimal(e["cost_usd"]) for e in found if e["cost_usd"]), Decimal(0)),
            unknown=frozenset(e.get("model", "") for e in models if e["cost_usd"] is None),
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        prices = f"; price unknown: {', '.join(sorted(self.unknown))}" if self.unknown else ""
        rows = [
            ("model calls", f"{self.calls:,}"),
            ("input tokens", f"{self.input_tokens:,}"),
            ("of them cached", f"{self.cached_input_tokens:,} ({self.cache_hit_rate:.0%})"),
            ("of them written to a cache", f"{self.cache_write_tokens:,}"),
            ("output tokens", f"{self.output_tokens:,}"),
            ("of all tokens estimated", f"{self.estimated_tokens:,}"),
            ("time in calls", f"{self.seconds:.3f} s"),
            ("cost", f"${self.cost_usd}{prices}"),
        ]
        from asterism.core.text_tables import as_table  # a run needs no tables

        return as_table(("what", "how much"), rows, "usage")


def merge_entries(line: UsageEntry, entry: UsageEntry) -> UsageEntry:
    """Add an entry to a line of the same kind."""
    cost = (
        None
        if line["cost_usd"] is None or entry["cost_usd"] is None
        else str(Decimal(line["cost_usd"]) + Decimal(entry["cost_usd"]))
    )
    sums: UsageEntry = {
        **line,
        "calls": line["calls"] + entry["calls"],
        "input_tokens": line["input_tokens"] + entry["input_tokens"],
        "cached_input_tokens": line["cached_input_tokens"] + entry["cached_input_tokens"],
        "output_tokens": line["output_tokens"] + entry["output_tokens"],
        "seconds": round(line["seconds"] + entry["seconds"], 6),
        "cost_usd": cost,
    }
    if written := line.get("cache_write_tokens", 0) + entry.get("cache_write_tokens", 0):
        sums["cache_write_tokens"] = written
    return sums


def lines_of(values: Mapping[str, Any]) -> list[UsageEntry]:
    """Return the ledger of a run, given its result or its state: of decisions and of visits."""
    reports = values.get("reports") or ()
    visits = (entry for report in reports for entry in report.get("usage") or ())
    return [*(values.get("usage") or ()), *visits]


def total_cost_breakdown(values: Mapping[str, Any]) -> dict[str, float]:
    """Return what a run has cost in US cents, given its result or its state.

    Returns:
        `planning_cost_in_cents`, `subagent_costs_in_cents` and `tool_costs_in_cents`, and their
        sum `total_cost_in_cents`, as JSON numbers; `Usage.cost_in_cents` is exact.
    """
    lines = lines_of(values)
    planning = Usage.of(line for line in lines if line["by"] == "supervisor").cost_in_cents
    tools = Usage.of(entry for entry in lines if "tool" in entry).cost_in_cents
    total = Usage.of(lines).cost_in_cents
    return {
        "planning_cost_in_cents": float(planning),
        "subagent_costs_in_cents": float(total - planning - tools),
        "tool_costs_in_cents": float(tools),
        "total_cost_in_cents": float(total),
    }
