"""The ledger of contracts: what accounts have spent and reserved, in sqlite or Postgres.

One transaction reserves a call for all accounts that it counts for, so that no number of
processes overspends together. Money is kept in billionths of a dollar.
Tests: tests/asterism/limits/test_contracts.py.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_UP, Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from asterism.core.usage import Usage, UsageEntry
from asterism.errors import StorageError
from asterism.limits.contracts import Measure, Term, period_name

if TYPE_CHECKING:
    from asterism.storage.postgres.connection import Address

T = TypeVar("T")

NANOS = Decimal(1_000_000_000)
"""Billionths in a dollar."""
RESERVED_SECONDS = 900.0
"""Seconds after which a reservation counts as spent: the process that made it was killed, and the
call was probably sent."""
LOCK_WAIT = 60.0
"""Seconds that sqlite waits for other writers."""

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS asterism_accounts (
        account TEXT NOT NULL, period TEXT NOT NULL,
        nanos BIGINT NOT NULL DEFAULT 0, tokens BIGINT NOT NULL DEFAULT 0,
        calls BIGINT NOT NULL DEFAULT 0, runs BIGINT NOT NULL DEFAULT 0,
        seconds DOUBLE PRECISION NOT NULL DEFAULT 0,
        raised TEXT NOT NULL DEFAULT '{}', warned TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (account, period)
    )""",
    """CREATE TABLE IF NOT EXISTS asterism_reservations (
        id TEXT NOT NULL, account TEXT NOT NULL, period TEXT NOT NULL,
        nanos BIGINT NOT NULL, tokens BIGINT NOT NULL, until DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (account, period, id)
    )""",
    """CREATE TABLE IF NOT EXISTS asterism_spending (
        day TEXT NOT NULL, account TEXT NOT NULL, team TEXT NOT NULL,
        participant TEXT NOT NULL, model TEXT NOT NULL,
        calls BIGINT NOT NULL, tokens BIGINT NOT NULL, nanos BIGINT NOT NULL,
        seconds DOUBLE PRECISION NOT NULL, place BIGINT NOT NULL,
        PRIMARY KEY (day, account, team, participant, model, place)
    )""",
)
"""The tables; each statement may be repeated, in sqlite and in Postgres."""

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

Execute = Callable[..., list[Mapping[str, Any]]]
"""Runs a statement with its values and returns the rows."""

GROUPS = ("account", "team", "participant", "model", "day")
"""What spending can be grouped by."""


class ContractLedger:
    """What accounts have spent and reserved.

    Args:
        connect: Opens a connection to sqlite. None: the database is on Postgres.
        address: Where Postgres is.
        clock: Returns the seconds since 1970.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection] | None = None,
        *,
        address: "Address | None" = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._connect = connect
        self._address = address
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: Any = None

    def _run(self, work: Callable[[Execute], T]) -> T:
        """Run statements that all hold or none."""
        with self._lock:
            if self._address is None:
                return self._run_in_sqlite(work)
            from asterism.storage.postgres.lease_connections import retry_until_connected

            with self._address.faults():
                return retry_until_connected(partial(self._run_in_postgres, work))

    def _run_in_sqlite(self, work: Callable[[Execute], T]) -> T:
        try:
            if self._connection is None:
                assert self._connect is not None
                self._connection = self._connect()
            connection: sqlite3.Connection = self._connection

            def execute(query: str, *values: Any) -> list[Mapping[str, Any]]:
                return connection.execute(query, values).fetchall()

            connection.execute("BEGIN IMMEDIATE")
            try:
                done = work(execute)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            return done
        except sqlite3.Error as error:
            raise StorageError(f"The ledger of contracts cannot be used: {error}.") from error

    def _run_in_postgres(self, work: Callable[[Execute], T]) -> T:
        assert self._address is not None
        if self._connection is None or self._connection.closed:
            connection = self._connection = self._address.connect()
            found = connection.execute(
                "SELECT to_regclass('asterism_accounts') AS there"
            ).fetchone()
            if found["there"] is None:
                raise StorageError(
                    f"The database {self._address.shown!r} has no tables for contracts. Run once: "
                    "asterism migrate --db URL"
                )
        connection = self._connection

        def execute(query: str, *values: Any) -> list[Mapping[str, Any]]:
            cursor = connection.execute(query.replace("?", "%s"), values)
            return list(cursor.fetchall()) if cursor.description else []

        with connection.transaction():
            return work(execute)

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

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


_ledgers: dict[int, ContractLedger] = {}
_guard = threading.Lock()


def ledger_of(saver: Any) -> ContractLedger:
    """Return the ledger of the database that a saver is on, which is closed when the saver is gone.

    Args:
        saver: Any saver. One that is neither on sqlite nor our own on Postgres, and any other
            object, has a ledger in memory, which holds for this process.
    """
    with _guard:
        found = _ledgers.get(id(saver))
        if found is None:
            address, path = getattr(saver, "address", None), _path_of(saver)
            if address is not None:
                found = ContractLedger(address=address)
            else:
                found = ContractLedger(lambda: open_sqlite(path))
            _ledgers[id(saver)] = found
            finalize(saver, _forget, id(saver))
        return found


def _forget(key: int) -> None:
    _ledgers.pop(key).close()


def _path_of(saver: Any) -> Path | None:
    """Return the file of a sqlite saver, ours or LangGraph's; None: it is in memory."""
    connection = getattr(saver, "conn", None)
    if not isinstance(connection, sqlite3.Connection):
        return None
    found = [row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"]
    return Path(found[0]) if found and found[0] else None


def open_sqlite(path: Path | None) -> sqlite3.Connection:
    """Open the ledger in a file, or in memory, and make its tables."""
    try:
        connection = sqlite3.connect(
            path or ":memory:", timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        for statement in SCHEMA:
            connection.execute(statement)
    except sqlite3.Error as error:
        raise StorageError(
            f"The ledger of contracts at {path} cannot be opened: {error}."
        ) from error
    return connection


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
