"""Contracts: limits that hold across runs, processes and machines, for a day, a week or a month.

A `Budget` limits one run. A `Contract` limits all runs of a user, a tenant or a team together: a
database keeps what was spent, each model call is reserved there before it is made and settled
after it. Tests: tests/asterism/limits/test_contracts.py.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from langchain_core.runnables import RunnableConfig

from asterism.core.numbers import (
    amount_faults,
    count_faults,
    fraction_faults,
    raise_number_faults,
    seconds_faults,
)
from asterism.core.usage import Usage, UsageEntry
from asterism.core.values import as_dict
from asterism.errors import BudgetExceededError, ConfigurationError, InvalidRequestError

Period = Literal["day", "week", "month"]
"""How long a limit holds: a day, a week from Monday on, or a month, in UTC."""

Measure = Literal["cost_usd", "tokens", "calls", "runs", "hours"]
"""What is limited."""

LIMITS: Mapping[Measure, str] = {
    "cost_usd": "max_cost_usd",
    "tokens": "max_tokens",
    "calls": "max_calls",
    "runs": "max_runs",
    "hours": "max_hours",
}
"""Every measure, with the field of a contract that limits it."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "user": ("user_id", "user", "langgraph_auth_user_id"),
    "tenant": ("tenant_id", "tenant"),
}
"""Where a run says whom it is for: keys of its `configurable` or its context."""

PAUSES = (0.02, 0.05, 0.1, 0.25)
"""Seconds between two looks whether a call fits; the last one repeats."""


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What all runs of a user, a tenant or a team may take together in a period.

    A limit is checked before each model call, against what every process on the database has
    spent and reserved; so it is exceeded by what one call takes beyond its estimate, at most.

    Args:
        per: Who is limited: `"team"` (the workflow, by its id), `"user"` or `"tenant"`, or any
            key of a run's `configurable` or context, as in `per="project"`.
        period: How long the limit holds: `"day"`, `"week"` (from Monday) or `"month"`, in UTC.
        max_cost_usd: US dollars. A model whose price is not known is refused.
        max_tokens: Input and output tokens.
        max_calls: Model calls, with those that fail.
        max_runs: Requests for which a model was called.
        max_hours: Hours in model and tool calls.
        on_limit: What happens at a limit: `"stop"` ends the run with what there is and
            `status="limit"`; `"ask"` asks a person for a higher one.
        warn_at: From which part of a limit on there is a `BUDGET_WARNING`, once in the period.

    Raises:
        ConfigurationError: A value is not allowed, or nothing is limited.
    """

    per: str = "team"
    period: Period = "month"
    max_cost_usd: Decimal | float | str | None = None
    max_tokens: int | None = None
    max_calls: int | None = None
    max_runs: int | None = None
    max_hours: float | None = None
    on_limit: Literal["stop", "ask"] = "stop"
    warn_at: float = 0.8

    def __post_init__(self) -> None:
        faults = [*fraction_faults("warn_at", self.warn_at, above_zero=True)]
        for name in ("max_tokens", "max_calls", "max_runs"):
            if (count := getattr(self, name)) is not None:
                faults += count_faults(name, count, least=0)
        if self.max_hours is not None and [*seconds_faults("max_hours", self.max_hours)]:
            faults.append(f"max_hours is {self.max_hours!r}; it must be a number, 0 or more")
        if self.max_cost_usd is not None:
            faults += amount_faults("max_cost_usd", self.max_cost_usd)
        if self.on_limit not in ("stop", "ask"):
            faults.append(f"on_limit is {self.on_limit!r}; allowed: 'stop', 'ask'")
        if self.period not in ("day", "week", "month"):
            faults.append(f"period is {self.period!r}; allowed: 'day', 'week', 'month'")
        if not str(self.per).strip():
            faults.append(f"per is {self.per!r}; it must be 'team', 'user', 'tenant' or a key")
        if not faults and not self.limits():
            faults.append(f"it limits nothing; give one of {', '.join(LIMITS.values())}")
        raise_number_faults(faults, ConfigurationError)

    def limits(self) -> dict[Measure, Decimal]:
        """Return what is limited, as exact numbers."""
        found: dict[Measure, Decimal] = {}
        for measure, name in LIMITS.items():
            if (value := getattr(self, name)) is not None:
                found[measure] = Decimal(str(value))
        return found

    def account(self, team: str, given: Mapping[str, Any]) -> str:
        """Name whose spending counts, as in `"user=ann"`.

        Args:
            team: The id of the workflow.
            given: The `configurable` and the context of the run.

        Raises:
            InvalidRequestError: The run does not say whom it is for.
        """
        if self.per == "team":
            return f"team={team}"
        keys = KEYS.get(self.per, (self.per,))
        found = next((str(given[key]) for key in keys if given.get(key) not in (None, "")), None)
        if found is None or not found.isprintable() or len(found) > 255:
            raise InvalidRequestError(
                f"a contract holds per {self.per}, and the run says none of 1 to 255 printable "
                f"characters; say it: config={{'configurable': {{'{keys[0]}': '...'}}}}"
            )
        return f"{self.per}={found}"


def period_name(period: Period, now: float) -> str:
    """Name the period that a moment is in: `2026-11-30`, `2026-W49` or `2026-11`."""
    form = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m"}[period]
    return datetime.fromtimestamp(now, UTC).strftime(form)


@dataclass(frozen=True, kw_only=True)
class Term:
    """One contract as it holds for a run: whose account, and what it limits."""

    account: str
    contract: Contract

    def breach(
        self, period: str, measure: Measure, limit: Decimal, spent: Decimal
    ) -> BudgetExceededError:
        """Return the error of a call that does not fit any more."""
        return BudgetExceededError(
            scope=f"{self.account} ({period})",
            owner="",
            measure=measure,
            limit=str(limit),
            spent=f"{spent:f}",
            asks=self.contract.on_limit == "ask",
        )


class Ledger(Protocol):
    """Where contracts keep what was spent; see `asterism.storage.contract_ledger`."""

    def reserve(
        self, call: str, terms: Sequence[Term], least: Usage, most: Usage, runs: int
    ) -> bool:
        """Reserve a call in one transaction; False where it has to wait for others."""
        ...

    def settle(
        self, call: str, terms: Sequence[Term], entry: UsageEntry | None, team: str, reserved: bool
    ) -> list[tuple[str, Measure, Decimal]]:
        """Give a reservation back and count what the call took; return new warnings."""
        ...

    def raise_limit(self, account: str, period: str, measure: str, limit: str) -> None:
        """Raise a limit of an account for a period."""
        ...


@dataclass(kw_only=True)
class RunContracts:
    """The contracts that hold for the calls of one run; a policy of its usage meter."""

    ledger: Ledger
    terms: Sequence[Term]
    team: str
    counts_run: bool
    """Whether its first call begins a run, and does not go on with one that was counted."""
    owner: str = ""
    """The workflow that handles a breach, as a path."""
    on_warning: Callable[[str, Any, Decimal], None] | None = None

    def limits_money(self) -> bool:
        """Whether money is limited for its calls."""
        return any("cost_usd" in term.contract.limits() for term in self.terms)

    def enter(self, call: Any, least: Usage, most: Usage) -> None:
        """Wait until a call fits, and reserve for it.

        Raises:
            BudgetExceededError: It does not fit, however long it waits.
        """
        tries = 0
        while not self._reserve(call, least, most):
            time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1

    async def aenter(self, call: Any, least: Usage, most: Usage) -> None:
        """Wait until a call fits, and reserve for it; see `enter`."""
        tries = 0
        while not await asyncio.to_thread(self._reserve, call, least, most):
            await asyncio.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1

    def _reserve(self, call: Any, least: Usage, most: Usage) -> bool:
        try:
            done = self.ledger.reserve(str(call), self.terms, least, most, int(self.counts_run))
        except BudgetExceededError as error:
            error.owner = self.owner
            raise
        self.counts_run = self.counts_run and not done
        return done

    def settle(self, call: Any, entry: UsageEntry | None) -> None:
        """Count what a call took, and give back what was reserved for it.

        Args:
            call: The call; None: it was made elsewhere, and nothing was reserved.
            entry: What it took; None: it was not made.
        """
        reserved = entry is None or (call is not None and "tool" not in entry)
        for warning in self.ledger.settle(str(call), self.terms, entry, self.team, reserved):
            if self.on_warning is not None:
                self.on_warning(*warning)

    def raise_limit(self, scope: str, measure: str, limit: str) -> bool:
        """Raise a limit, where the scope of the breach is one of these contracts."""
        for term in self.terms:
            if scope.startswith(f"{term.account} (") and scope.endswith(")"):
                period = scope[len(term.account) + 2 : -1]
                self.ledger.raise_limit(term.account, period, measure, limit)
                return True
        return False


def check_contracts(contracts: Iterable[Contract]) -> None:
    """Check the contracts of a workflow.

    Raises:
        ConfigurationError: Two are of the same account and period, where one has room for both.
    """
    seen: set[tuple[str, str]] = set()
    for contract in contracts:
        key = (contract.per, contract.period)
        if key in seen:
            raise ConfigurationError(
                f"there are two contracts per {contract.per} and {contract.period}; give one with "
                "the limits of both"
            )
        seen.add(key)


def open_contracts(
    contracts: Iterable[Contract],
    ledger: Ledger,
    *,
    team: str,
    config: RunnableConfig | None,
    context: object,
    counts_run: bool,
) -> RunContracts:
    """Find the accounts of a run.

    Args:
        contracts: Those of the workflow.
        ledger: Where they keep what was spent.
        team: The id of the workflow.
        config: The config of the run.
        context: Its context, a mapping or an object.
        counts_run: Whether the run is a new request.

    Raises:
        InvalidRequestError: The run does not say whom it is for.
    """
    facts = as_dict(context) or dict(getattr(context, "__dict__", {}))
    given = {**facts, **as_dict((config or {}).get("configurable"))}
    terms = [Term(account=c.account(team, given), contract=c) for c in contracts]
    return RunContracts(ledger=ledger, terms=terms, team=team, counts_run=counts_run)
