"""Budgets: limits that are checked before money is spent."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from asterism.core.numbers import (
    amount_faults,
    count_faults,
    fraction_faults,
    raise_number_faults,
    seconds_faults,
)
from asterism.core.usage import Usage, UsageEntry, lines_of
from asterism.core.values import as_dict
from asterism.errors import BudgetExceededError

Measure = Literal["cost_usd", "tokens", "calls", "seconds"]
"""What is limited: US dollars, tokens, model calls, seconds in model and tool calls."""

MEASURES: Mapping[Measure, str] = {
    "cost_usd": "max_cost_usd",
    "tokens": "max_tokens",
    "calls": "max_calls",
    "seconds": "max_seconds",
}
"""Every measure, with the field of a budget that limits it."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a run, a participant or a task may take, with everything below it.

    A limit is checked before each model call, with an estimate; so it is exceeded by what one
    call takes beyond its estimate, at most.

    Args:
        max_cost_usd: US dollars. A model whose price is not known cannot be limited by money.
        max_tokens: Input and output tokens.
        max_calls: Model calls, with those that fail.
        max_seconds: Seconds in model and tool calls.
        on_breach: What happens at a limit: the end, with what there is, or a question to raise
            it.
        warn_at: From which part of a limit on there is a warning, once.
    """

    max_cost_usd: Decimal | float | str | None = None
    max_tokens: int | None = None
    max_calls: int | None = None
    max_seconds: float | None = None
    on_breach: Literal["end", "ask"] = "end"
    warn_at: float = 0.9

    def __post_init__(self) -> None:
        faults = [*fraction_faults("warn_at", self.warn_at, above_zero=True)]
        for name in ("max_tokens", "max_calls"):
            if (count := getattr(self, name)) is not None:
                faults += count_faults(name, count, least=0)
        if self.max_seconds is not None:
            faults += seconds_faults("max_seconds", self.max_seconds)
        if self.max_cost_usd is not None:
            faults += amount_faults("max_cost_usd", self.max_cost_usd)
        if self.on_breach not in ("end", "ask"):
            faults.append(f"on_breach is {self.on_breach!r}; allowed: 'end', 'ask'")
        raise_number_faults(faults)

    def limits(self) -> dict[Measure, Decimal]:
        """Return what is limited, as exact numbers."""
        found: dict[Measure, Decimal] = {}
        for measure, name in MEASURES.items():
            value = getattr(self, name)
            if value is not None:
                found[measure] = Decimal(str(value))
        return found


@dataclass
class BudgetScope:
    """One budget of a run, and how it stands."""

    name: str
    """Whom it limits: a path, with `/` at its end the run of a workflow, with `#` a task."""
    owner: str
    """The workflow that handles a breach, as a path."""
    budget: Budget
    raised: dict[str, str] = field(default_factory=dict[str, str])
    """Limits that a person has raised since."""
    spent: Usage = field(default_factory=Usage)
    reserved: dict[Any, Usage] = field(default_factory=dict[Any, Usage])
    """What the calls under way may take, by call."""
    warned: set[str] = field(default_factory=set[str])

    def limits(self) -> dict[Measure, Decimal]:
        """Return its limits, with those that were raised."""
        return {
            measure: max(limit, Decimal(self.raised.get(measure, "0")))
            for measure, limit in self.budget.limits().items()
        }

    def breach(self, least: Usage) -> BudgetExceededError | None:
        """Return the breach where a call that takes `least` does not fit any more."""
        after = self.spent + least
        for measure, limit in self.limits().items():
            if measured_amount(after, measure) > limit:
                return BudgetExceededError(
                    scope=self.name,
                    owner=self.owner,
                    measure=measure,
                    limit=str(limit),
                    spent=str(measured_amount(self.spent, measure)),
                    asks=self.budget.on_breach == "ask",
                )
        return None

    def has_room(self, most: Usage) -> bool:
        """Whether a call that takes `most` fits next to those that are under way."""
        after = sum(self.reserved.values(), self.spent + most)
        return all(
            measured_amount(after, measure) <= limit for measure, limit in self.limits().items()
        )

    def warnings(self) -> list[tuple[Measure, Decimal]]:
        """Return the limits that are nearly reached and were not warned of, with the part."""
        found: list[tuple[Measure, Decimal]] = []
        for measure, limit in self.limits().items():
            part = measured_amount(self.spent, measure) / limit if limit else Decimal(1)
            if part >= Decimal(str(self.budget.warn_at)) and measure not in self.warned:
                self.warned.add(measure)
                found.append((measure, part))
        return found


class BudgetLedger:
    """Lets model calls through while they fit into every budget that holds for them.

    A call reserves what it may take at most, and settles when it is over. One that fits only
    without the others that are under way waits for them; so calls that run side by side
    cannot exceed a budget together.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._scopes: dict[str, BudgetScope] = {}
        self._spent: dict[str, Usage] = {}
        self._unread: list[UsageEntry] = []
        """What was spent while there was no budget; the first one that is added reads it."""
        self._raised: dict[str, dict[str, str]] = {}
        self.held: asyncio.AbstractEventLoop | None = None
        """The event loop that a sync run holds up, as in a notebook: calls in it cannot wait."""
        self.on_warning: Callable[[str, Measure, Decimal], None] | None = None
        """Is told the scope, the measure and the part that is used, once for each."""

    def __bool__(self) -> bool:
        """Whether there is any budget."""
        return bool(self._scopes)

    def add(self, scope: BudgetScope) -> None:
        """Let a budget hold; one that holds already stays as it is."""
        with self._lock:
            if scope.name not in self._scopes:
                self._scopes[scope.name] = scope
                unread, self._unread = self._unread, []
                for entry in unread:
                    self._count(scopes_of(entry["by"], entry.get("task")), Usage.of([entry]))
                scope.spent = self._spent.get(scope.name, Usage())
                scope.raised |= self._raised.get(scope.name, {})

    def limits_money(self, names: list[str]) -> bool:
        """Whether money is limited for a call."""
        return any("cost_usd" in scope.limits() for scope in self._of(names))

    def restore(self, values: Mapping[str, Any]) -> None:
        """Take up what the state of a run that goes on tells: what it took, what was raised."""
        for line in lines_of(values):
            self.record(line)
        for name, limits in as_dict(values.get("limits")).items():
            for measure, limit in limits.items():
                self.raise_limit(name, measure, limit)

    def raise_limit(self, name: str, measure: str, limit: str) -> None:
        """Raise a limit."""
        with self._lock:
            self._raised.setdefault(name, {})[measure] = limit
            if name in self._scopes:
                self._scopes[name].raised[measure] = limit
                self._scopes[name].warned.discard(measure)
        self._wake()

    def record(self, entry: UsageEntry, call: Any = None) -> None:
        """Note what a call took, for the budgets that there are and those that come."""
        with self._lock:
            if not self._scopes:
                self._unread.append(entry)
                return
        self.spend(scopes_of(entry["by"], entry.get("task")), Usage.of([entry]), call)

    def _count(self, names: list[str], usage: Usage) -> None:
        for name in names:
            self._spent[name] = self._spent.get(name, Usage()) + usage

    def spend(self, names: list[str], usage: Usage, call: Any = None) -> None:
        """Note what a call took; its reservation is given back."""
        warnings: list[tuple[str, Measure, Decimal]] = []
        with self._lock:
            self._count(names, usage)
            for scope in self._of(names):
                scope.reserved.pop(call, None)
                scope.spent = self._spent[scope.name]
                warnings += [(scope.name, *warning) for warning in scope.warnings()]
        self._wake()
        for warning in warnings:
            if self.on_warning:
                self.on_warning(*warning)

    def enter(self, call: Any, names: list[str], least: Usage, most: Usage) -> None:
        """Wait until a call fits, and reserve for it.

        Raises:
            BudgetExceededError: It does not fit, however long it waits.
        """
        with self._lock:
            while not self._admit(call, names, least, most):
                self._lock.wait()

    async def aenter(self, call: Any, names: list[str], least: Usage, most: Usage) -> None:
        """Wait until a call fits, and reserve for it; see `enter`."""
        while True:
            ready = asyncio.Event()
            with self._lock:
                if self._admit(call, names, least, most):
                    return
                self._waiting.append((asyncio.get_running_loop(), ready))
            await ready.wait()

    def _admit(self, call: Any, names: list[str], least: Usage, most: Usage) -> bool:
        scopes = self._of(names)
        for scope in scopes:
            if breach := scope.breach(least):
                raise breach
        if not all(scope.has_room(most) or not scope.reserved for scope in scopes):
            return False
        for scope in scopes:
            scope.reserved[call] = most
        return True

    def _of(self, names: list[str]) -> list[BudgetScope]:
        return [self._scopes[name] for name in names if name in self._scopes]

    def _wake(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._lock.notify_all()
        for loop, ready in waiting:
            with suppress(RuntimeError):  # the loop was closed: nobody waits in it any more
                loop.call_soon_threadsafe(ready.set)


def measured_amount(usage: Usage, measure: Measure) -> Decimal:
    """Return how much of a measure was used."""
    return Decimal(str(getattr(usage, measure)))


def scopes_of(path: str, task: str | None) -> list[str]:
    """Return whom a call is put down to: the run, each participant on the way, the task."""
    parts = path.split("/")
    above = ["/".join(parts[: place + 1]) for place in range(len(parts))]
    names = [run_scope(""), *(name for part in above for name in (part, run_scope(part)))]
    return [*names, *([task_scope(path, task)] if task else [])]


def run_scope(path: str) -> str:
    """Name the runs of a workflow, for its budget."""
    return f"{path}/"


def task_scope(path: str, task: str) -> str:
    """Name a task of a participant, for its budget."""
    return f"{path}#{task}"
