"""Transactions of what is kept beside the threads, in the same database: accounts, notices.

One statement works in sqlite and in Postgres. Nothing here goes over the connection of a saver, so
nothing waits for a step of a run. Tests: tests/asterism/limits/test_contracts.py.
"""

import sqlite3
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from asterism.errors import StorageError

if TYPE_CHECKING:
    from asterism.storage.postgres.connection import Address

T = TypeVar("T")

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
    """CREATE TABLE IF NOT EXISTS asterism_notices (
        thread_id TEXT NOT NULL, request TEXT NOT NULL, step TEXT NOT NULL,
        at DOUBLE PRECISION NOT NULL, PRIMARY KEY (thread_id, request, step)
    )""",
    """CREATE TABLE IF NOT EXISTS asterism_events (
        token TEXT PRIMARY KEY, value TEXT NOT NULL, at DOUBLE PRECISION NOT NULL
    )""",
)
"""The tables; each statement may be repeated, in sqlite and in Postgres."""

Execute = Callable[..., list[Mapping[str, Any]]]
"""Runs a statement with its values and returns the rows."""


class Transactions:
    """Transactions of a connection of their own.

    Args:
        path: A sqlite file. None: it is in memory, and holds for this object.
        address: Where Postgres is, if it is there.
    """

    def __init__(self, path: Path | None = None, *, address: "Address | None" = None) -> None:
        self._path = path
        self._address = address
        self._lock = threading.Lock()
        self._connection: Any = None

    def run(self, work: Callable[[Execute], T]) -> T:
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
                self._connection = _open(self._path)
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
            raise StorageError(
                f"The database {str(self._path or ':memory:')!r} cannot be used: {error}."
            ) from error

    def _run_in_postgres(self, work: Callable[[Execute], T]) -> T:
        assert self._address is not None
        if self._connection is None or self._connection.closed:
            connection = self._connection = self._address.connect()
            query = "SELECT to_regclass('asterism_events') AS there"
            if connection.execute(query).fetchone()["there"] is None:
                raise StorageError(
                    f"The database {self._address.shown!r} is not prepared for this version. "
                    "Run once: asterism migrate --db URL"
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


_opened: dict[int, Transactions] = {}
_guard = threading.Lock()


def transactions_of(saver: Any) -> Transactions:
    """Return those of the database that a saver is on, closed when the saver is gone.

    Args:
        saver: Any saver. One that is neither on sqlite nor our own on Postgres, and any other
            object, has a database in memory, which holds for this process.
    """
    with _guard:
        if id(saver) not in _opened:
            path, address = _path_of(saver), getattr(saver, "address", None)
            _opened[id(saver)] = Transactions(path, address=address)
            finalize(saver, _forget, id(saver))
        return _opened[id(saver)]


def _forget(key: int) -> None:
    _opened.pop(key).close()


def _path_of(saver: Any) -> Path | None:
    """Return the file of a sqlite saver, ours or LangGraph's; None: it is in memory."""
    connection = getattr(saver, "conn", None)
    if not isinstance(connection, sqlite3.Connection):
        return None
    found = [row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main"]
    return Path(found[0]) if found and found[0] else None


def _open(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path or ":memory:", timeout=LOCK_WAIT, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", *SCHEMA):
        connection.execute(statement)
    return connection
