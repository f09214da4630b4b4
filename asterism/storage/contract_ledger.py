"""The ledger of contracts: what accounts have spent and reserved, in sqlite or Postgres.

One transaction reserves a call for all accounts that it counts for, so that no number of
processes overspends together. Money is kept in billionths of a dollar.
Tests: tests/asterism/limits/test_contracts.py.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_UP, Decimal
from typing import Any

from asterism.core.usage import Usage, UsageEntry
from asterism.limits.contracts import Measure, Term, period_name
from asterism.storage.transactions import Execute, Transactions

NANOS = Decimal(1_000_000_000)
"""Billionths in a dollar."""
RESERVED_SECONDS = 900.0
"""Seconds after which a reservation counts as spent: the process that made it was killed, and the
call was probably sent."""
_OPEN = """
INSERT INTO asterism_accounts (account, period) VALUES (?, ?)
ON CONFLICT (account, period) DO UPDATE SET account = excluded.account
RETURNING nanos, tokens, calls, runs, seconds, raised, warned
"""
"""Reads an account and keeps it from others until the transaction ends."""
_ADD = """
UPDATE asterism_accounts SET calls = calls + ?, tokens = tokens + ?, nanos = nanos + ?,
seconds = seconds + ?, warned = ? WHERE account = ? AND period = ?
"""
_BEGIN_RUNS = "UPDATE asterism_accounts SET runs = runs + ? WHERE account = ? AND period = ?"
_EXPIRE = """
DELETE FROM asterism_reservations WHERE account = ? AND period = ? AND until < ?
RETURNING nanos, tokens
"""
_RESERVED = """
SELECT COUNT(*) AS calls, COALESCE(SUM(nanos), 0) AS nanos, COALESCE(SUM(tokens), 0) AS tokens
FROM asterism_reservations WHERE account = ? AND period = ?
"""
_RESERVE = """
INSERT INTO asterism_reservations (id, account, period, nanos, tokens, until)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account, period, id) DO NOTHING
"""
_RELEASE = "DELETE FROM asterism_reservations WHERE id = ? AND account = ? RETURNING period"
_SPEND = """
INSERT INTO asterism_spending
(day, account, team, participant, model, place, calls, tokens, nanos, seconds)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (day, account, team, participant, model, place) DO UPDATE SET
calls = asterism_spending.calls + excluded.calls,
tokens = asterism_spending.tokens + excluded.tokens,
nanos = asterism_spending.nanos + excluded.nanos,
seconds = asterism_spending.seconds + excluded.seconds
"""
"""Counts a call for an account. The `place` tells the first account of a call from further ones:
where accounts are not told apart, each call is counted once."""

GROUPS = ("account", "team", "participant", "model", "day")
"""What spending can be grouped by."""


class ContractLedger:
    """What accounts have spent and reserved.

    Args:
        transactions: To the database.
        clock: Returns the seconds since 1970.
    """

    def __init__(
        self, transactions: Transactions, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._run = transactions.run
        self._clock = clock
        self.close = transactions.close

    def reserve(
        self, call: str, terms: Sequence[Term], least: Usage, most: Usage, runs: int
    ) -> bool:
        """Reserve a call for all accounts, in one transaction.

        Args:
            call: The id of the call.
            terms: The contracts that it has to fit into.
            least: What it takes at least.
            most: What it takes at most.
            runs: How many runs it begins, 1 or 0.

        Returns:
            Whether it was reserved; False: it fits without the calls that are under way, which
            have to be waited for.

        Raises:
            BudgetExceededError: It does not fit.
        """
        now = self._clock()
        smallest, largest = _amounts(least, runs), _amounts(most, runs)
        places = self._places(terms, now)

        def work(execute: Execute) -> bool:
            fits = True
            for term, period in places:
                spent, raised, _ = self._read(execute, term.account, period, now)
                limits = _limits(term, raised)
                for measure, limit in limits.items():
                    if spent[measure] + smallest[measure] > limit:
                        raise term.breach(period, measure, limit, spent[measure])
                held = dict(execute(_RESERVED, term.account, period)[0])
                under_way = _measures({**held, "runs": 0, "seconds": 0.0})
                after = {m: spent[m] + under_way[m] + largest[m] for m in limits}
                fits = fits and (not held["calls"] or all(after[m] <= limits[m] for m in limits))
            if fits:
                until = now + RESERVED_SECONDS
                money, tokens = _nanos(most.cost_usd), most.tokens
                for term, period in places:
                    execute(_RESERVE, call, term.account, period, money, tokens, until)
                    execute(_BEGIN_RUNS, runs, term.account, period)
            return fits

        return self._run(work)

    def settle(
        self, call: str, terms: Sequence[Term], entry: UsageEntry | None, team: str, reserved: bool
    ) -> list[tuple[str, Measure, Decimal]]:
        """Give a reservation back and count what the call took.

        Args:
            call: The id of the call.
            terms: The contracts that it counts for.
            entry: What it took; None: it was not made.
            team: The id of the workflow.
            reserved: Whether it was reserved; where the reservation is gone, it counts as spent
                already.

        Returns:
            The warnings that are new: the scope, the measure and the part of the limit.
        """
        now = self._clock()
        day = period_name("day", now)
        usage = Usage.of([entry] if entry is not None else ())
        added = _amounts(usage, 0)

        def work(execute: Execute) -> list[tuple[str, Measure, Decimal]]:
            warnings: list[tuple[str, Measure, Decimal]] = []
            for place, (term, current) in enumerate(self._places(terms, now)):
                found = execute(_RELEASE, call, term.account) if reserved else []
                if entry is None or (reserved and not found):
                    continue
                period = str(found[0]["period"]) if found else current
                spent, raised, warned = self._read(execute, term.account, period, now)
                for measure, limit in _limits(term, raised).items():
                    part = (spent[measure] + added[measure]) / limit if limit else Decimal(1)
                    if part >= Decimal(str(term.contract.warn_at)) and measure not in warned:
                        warned.append(measure)
                        warnings.append((f"{term.account} ({period})", measure, part))
                sums = (usage.calls, usage.tokens, _nanos(usage.cost_usd), usage.seconds)
                execute(_ADD, *sums, " ".join(warned), term.account, period)
                what = entry.get("model") or entry.get("tool") or ""
                execute(_SPEND, day, term.account, team, entry["by"], what, place, *sums)
            return warnings

        return self._run(work)

    def raise_limit(self, account: str, period: str, measure: str, limit: str) -> None:
        """Raise a limit of an account for a period; a lower one is passed over."""
        query = "UPDATE asterism_accounts SET raised = ? WHERE account = ? AND period = ?"

        def work(execute: Execute) -> None:
            _, raised, _ = self._read(execute, account, period, self._clock())
            if Decimal(limit) > Decimal(raised.get(measure, "0")):
                execute(query, json.dumps({**raised, measure: limit}), account, period)

        self._run(work)

    def spending(
        self, by: Sequence[str] = ("account", "model"), *, since: str | None = None
    ) -> list[dict[str, Any]]:
        """Return what was spent, the most expensive first.

        Args:
            by: What is told apart, of `GROUPS`.
            since: The first day, as `"2026-11-30"`. None: all days.

        Raises:
            ValueError: A name is none of `GROUPS`.
        """
        unknown = [name for name in by if name not in GROUPS]
        if unknown or not by:
            said = ", ".join(unknown) or "nothing"
            raise ValueError(f"spending cannot be grouped by {said}; allowed: {', '.join(GROUPS)}")
        names = ", ".join(by)
        sums = ", ".join(f"SUM({n}) AS {n}" for n in ("calls", "tokens", "nanos", "seconds"))
        query = (
            f"SELECT {names}, {sums} FROM asterism_spending WHERE day >= ? AND place <= ? "
            f"GROUP BY {names} ORDER BY SUM(nanos) DESC, SUM(tokens) DESC, {names}"
        )
        last = 1_000 if "account" in by else 0
        rows = self._run(lambda execute: execute(query, since or "", last))
        return [
            {
                **{name: row[name] for name in by},
                "calls": int(row["calls"]),
                "tokens": int(row["tokens"]),
                "seconds": round(float(row["seconds"]), 3),
                "cost_usd": f"{Decimal(int(row['nanos'])) / NANOS:f}",
            }
            for row in rows
        ]

    def _places(self, terms: Sequence[Term], now: float) -> list[tuple[Term, str]]:
        """Return terms with their periods, in one order for all, so that none waits for another."""
        places = [(term, period_name(term.contract.period, now)) for term in terms]
        return sorted(places, key=lambda place: (place[0].account, place[1]))

    def _read(
        self, execute: Execute, account: str, period: str, now: float
    ) -> tuple[dict[Measure, Decimal], dict[str, str], list[str]]:
        """Return what an account has spent, its raised limits, and what was warned of."""
        row = dict(execute(_OPEN, account, period)[0])
        for lost in execute(_EXPIRE, account, period, now):
            row["calls"] += 1
            row["nanos"] += lost["nanos"]
            row["tokens"] += lost["tokens"]
            execute(_ADD, 1, lost["tokens"], lost["nanos"], 0.0, row["warned"], account, period)
        return _measures(row), dict(json.loads(row["raised"])), str(row["warned"]).split()


def _nanos(cost: Decimal) -> int:
    return int((cost * NANOS).to_integral_value(rounding=ROUND_UP))


def _limits(term: Term, raised: Mapping[str, str]) -> dict[Measure, Decimal]:
    return {
        measure: max(limit, Decimal(raised.get(measure, "0")))
        for measure, limit in term.contract.limits().items()
    }


def _amounts(usage: Usage, runs: int) -> dict[Measure, Decimal]:
    return {
        "cost_usd": usage.cost_usd,
        "tokens": Decimal(usage.tokens),
        "calls": Decimal(usage.calls),
        "runs": Decimal(runs),
        "hours": Decimal(str(usage.seconds)) / 3600,
    }


def _measures(row: Mapping[str, Any]) -> dict[Measure, Decimal]:
    """Return the amounts of a row, by measure."""
    return {
        "cost_usd": Decimal(int(row["nanos"])) / NANOS,
        "tokens": Decimal(int(row["tokens"])),
        "calls": Decimal(int(row["calls"])),
        "runs": Decimal(int(row["runs"])),
        "hours": Decimal(str(row["seconds"])) / 3600,
    }
