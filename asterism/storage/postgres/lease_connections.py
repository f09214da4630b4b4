"""Lanes: connections that hold the leases of threads and alone write for them.

A lease is an advisory lock of the very session that writes. Who wants a thread ends the session
that has it, if that was silent for longer than its lease; both the lock and the way to write are
gone with it. Whoever connects again goes on only if nobody else has had the thread since: each
lease that is taken raises the thread's number.
"""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from psycopg import OperationalError, ProgrammingError

from asterism.core.history_cache import LIMIT, HistoryCache
from asterism.errors import AbandonedError
from asterism.storage.group_commit import GroupCommit
from asterism.storage.postgres.connection import Address, is_gone

T = TypeVar("T")

LANES = 2
"""How many connections of a process write; the threads that it drives are spread over them. What
waits for one shares a transaction, so that more of them commit more often. One for each run would
fence as well, and cost Postgres a process of some megabytes each."""
LEASE = 10.0
"""Seconds of silence after which a process has lost its leases."""
PATIENCE = 90.0
"""Seconds for which a call waits for a database that is gone, as in a restart."""
PAUSES = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds between two tries to reach it; the last one repeats."""

_TAKE = """
WITH lock AS MATERIALIZED (SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS had)
INSERT INTO asterism_leases (thread_id, number, seconds)
SELECT %s, 1, %s FROM lock WHERE had
ON CONFLICT (thread_id) DO UPDATE
SET number = asterism_leases.number + 1, seconds = excluded.seconds, since = now()
RETURNING number
"""
_EVICT = """
SELECT pg_terminate_backend(holder.pid) AS ended
FROM hashtextextended(%s, 0) AS key, pg_locks lock, pg_stat_activity holder, asterism_leases lease
WHERE lock.locktype = 'advisory' AND lock.granted AND lock.pid = holder.pid
AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND lock.classid::bigint = (key >> 32 & 4294967295) AND lock.objid::bigint = (key & 4294967295)
AND lease.thread_id = %s AND holder.wait_event_type = 'Client'
AND holder.state_change < now() - make_interval(secs => lease.seconds)
"""
"""Ends the session that has a lease and waits for a client that was silent for too long."""
_NUMBER = "SELECT number FROM asterism_leases WHERE thread_id = %s"
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS had"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


class LeaseConnection(GroupCommit):
    """A connection, and the threads whose leases it holds."""

    def __init__(self, address: Address, lease: float) -> None:
        super().__init__("postgres-lane", ProgrammingError)
        self._address = address
        self._lease = lease
        self._connection: Any = None
        self._lock = threading.RLock()
        self.held: dict[str, int] = {}
        """The threads, each with the number of its lease."""
        self.histories = HistoryCache(LIMIT // LANES)
        self._committing: int | None = None  # the thread that does
        self._numbers: dict[str, int] = {}  # of the leases that the histories were read under

    def commit(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run calls in one transaction; a database that is gone is waited for."""

        def once() -> list[Any]:
            with self._lock:
                connection, self._committing = self._connect(), threading.get_ident()
                try:
                    return in_pipeline(connection, calls)
                finally:
                    self._committing = None

        return retry_until_connected(once)

    def is_committing(self) -> bool:
        """Whether this thread is in a call of `commit`."""
        return self._committing == threading.get_ident()

    def fails_all(self, error: Exception) -> bool:
        """Whether the database is gone, for each call of a group."""
        return is_gone(error)

    def connection_for(self, thread: str) -> Any:
        """Return the connection, for a thread whose lease is still held."""
        if thread not in self.held:
            raise AbandonedError(
                f"The lease of the thread {thread!r} was lost, and somebody else has driven "
                "it since; what this run wanted to store is refused."
            )
        return self._connection

    def take(self, thread: str) -> bool:
        """Take the lease of a thread, where nobody has it."""
        with self._lock:
            connection = self._connect()
            try:
                row = self._take(connection, thread)
            except BaseException:
                self._drop()  # a lock that it may have had must not stay
                raise
            if row is not None:
                self.held[thread] = number = row["number"]
                if self._numbers.get(thread, number) not in (number, number - 1):
                    self.histories.forget(thread)  # somebody else has had it since
                self._numbers[thread] = number
            return row is not None

    def forget(self, thread: str) -> None:
        """Read the histories of a thread again: something stored was changed."""
        with self._lock:
            self.histories.forget(thread)

    def _take(self, connection: Any, thread: str) -> Any:
        ask = (thread, thread, self._lease)
        row = connection.execute(_TAKE, ask).fetchone()
        if row is None and connection.execute(_EVICT, (thread, thread)).fetchone() is not None:
            until = time.monotonic() + 1
            while row is None and time.monotonic() < until:  # a session takes a moment to end
                time.sleep(0.01)
                row = connection.execute(_TAKE, ask).fetchone()
        return row

    def release(self, thread: str) -> None:
        """Give a lease back; a connection that is gone has done so already."""
        with self._lock:
            if self.held.pop(thread, None) is None or self._connection is None:
                return
            try:
                self._connection.execute(_UNLOCK, (thread,))
            except Exception:  # noqa: BLE001 - without its connection, the lease is gone as well
                self._drop()

    @contextmanager
    def use(self, thread: str) -> Generator[Any]:
        """Lend the connection to a call for a thread whose lease is still held."""
        with self._lock:
            self._connect()
            yield self.connection_for(thread)

    def beat(self) -> None:
        """Show that this process lives; a call that is under way shows it, too."""
        if self.held and self._lock.acquire(blocking=False):
            try:
                self._connect().execute("SELECT 1")
            except Exception:  # the connection cannot be used again, whatever it was
                self._drop()
                raise
            finally:
                self._lock.release()

    def close(self) -> None:
        """Finish what is waiting, and give everything back."""
        super().close()
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()

    def _connect(self) -> Any:
        """Return the connection; a new one gets the leases back that nobody else has had."""
        if self._connection is not None and not self._connection.broken:
            return self._connection
        self._drop()
        connection = self._address.connect()
        try:
            for thread, number in list(self.held.items()):
                if not _take_again(connection, thread, number):
                    del self.held[thread]
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection


def _take_again(connection: Any, thread: str, number: int) -> bool:
    """Take a lease again, unless somebody else took it in between.

    Where it is locked and its number has not changed, our own lost session still has it, until
    it was silent for long enough.
    """
    (had,) = connection.execute(_LOCK, (thread,)).fetchone().values()
    row = connection.execute(_NUMBER, (thread,)).fetchone()
    same = row is not None and row["number"] == number
    if same and not had:
        connection.execute(_EVICT, (thread, thread))
        raise OperationalError("the lease is still held by the session that was lost")
    if had and not same:
        connection.execute(_UNLOCK, (thread,))
    return same


class LeaseConnectionPool:
    """The lanes of a process, which are kept alive by a thread of their own."""

    def __init__(self, address: Address, lease: float) -> None:
        self._lanes = [LeaseConnection(address, lease) for _ in range(LANES)]
        self._places: dict[str, LeaseConnection] = {}
        self._guard = threading.Lock()
        self._stopped = threading.Event()
        self._beats = threading.Thread(
            target=self._beat, args=(lease / 3,), name="leases", daemon=True
        )
        self._beats.start()

    def take(self, thread: str) -> Callable[[], None] | None:
        """Take the lease of a thread; return what gives it back, or None where it is taken."""
        with self._guard:
            if thread in self._places:
                return None
            lane = self._lanes[hash(thread) % LANES]  # the same each time: it knows the histories
            self._places[thread] = lane
        try:
            had = lane.take(thread)
        except BaseException:
            self._forget(thread)
            raise
        if not had:
            self._forget(thread)
            return None
        given = threading.Event()

        def release() -> None:
            if not given.is_set():
                given.set()
                lane.release(thread)
                self._forget(thread)

        return release

    def lane(self, thread: str) -> LeaseConnection | None:
        """Return the lane of a thread that this process drives."""
        return self._places.get(thread)

    def close(self) -> None:
        """Give all leases back and close the connections."""
        self._stopped.set()
        self._beats.join()
        for lane in self._lanes:
            lane.close()

    def _forget(self, thread: str) -> None:
        with self._guard:
            self._places.pop(thread, None)

    def _beat(self, pause: float) -> None:
        while not self._stopped.wait(pause):
            for lane in self._lanes:
                with suppress(Exception):
                    lane.beat()


def in_pipeline(connection: Any, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run calls that share a transaction, and return their values once it is committed.

    What is sent between two ends of a pipeline is one transaction without a word more, and what
    answers nothing is sent with what follows.
    """
    with connection.pipeline():
        return [call() for call in calls]


def retry_until_connected(call: Callable[[], T], patience: float = PATIENCE) -> T:
    """Make a call that may be repeated, and wait for the database where it is gone."""
    until = time.monotonic() + patience
    tries = 0
    while True:
        try:
            return call()
        except Exception as error:
            if not is_gone(error) or time.monotonic() > until:
                raise
        time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
        tries += 1
