"""Calls of event loops on one sqlite connection, the short ones in the event loop itself."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from asterism.storage.group_commit import GroupCommit, Outcome, WaitingCall, WorkerThread, answer


class SqliteGroupCommit(GroupCommit):
    """Runs calls in groups, each in one transaction.

    A hop to a thread and back takes longer than a short call, so a group of short calls runs in
    the event loop, where it never waits: while somebody else has the connection, or another
    process writes to the file, it goes to a thread like everything that takes long.

    Args:
        connection: To the database.
        lock: Is held by whoever uses the connection.
    """

    def __init__(self, connection: sqlite3.Connection, lock: Any) -> None:
        super().__init__("sqlite-saver", sqlite3.ProgrammingError)
        self._connection = connection
        self._lock = lock
        self._patience = int(connection.execute("PRAGMA busy_timeout").fetchone()[0])
        self._timeout = self._patience
        self.open = False
        """Whether a group has a transaction open, which it will commit."""

    def _start(self, loop: asyncio.AbstractEventLoop, *, short: bool) -> None:
        if self._runner is None and short:
            self._runner = loop
            loop.call_soon(self._run_at_once, loop)
        elif self._runner is not loop:  # another loop may have stopped
            super()._start(loop, short=short)

    def _run_at_once(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run what is waiting in this event loop, or leave it to the thread."""
        with self._guard:
            if self._runner is not loop:
                return
            group = self._take_group()
        values = None
        try:
            values = self._try_group(group)
        finally:
            with self._guard:
                if values is None:
                    self._jobs.extendleft(reversed(group))
                closed, self._runner = self._closed, WorkerThread if self._jobs else None
                if self._jobs and not closed:
                    self._thread.submit(self._drain)
            if closed:
                self._drain()
        if values is not None:
            answer(group, [Outcome(value) for value in values], loop)

    def _try_group(self, group: Sequence[WaitingCall]) -> list[Any] | None:
        """Run a group in one transaction, or return None where it would wait, or fails."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            self._set_timeout(0)
            return self._commit([job.call for job in group])
        except Exception:  # noqa: BLE001 - the thread tries it again, and tells whose call fails
            return None
        finally:
            self._lock.release()

    def wait(self) -> None:
        """Let the connection wait for other processes again; whoever calls this has the lock."""
        self._set_timeout(self._patience)

    def _set_timeout(self, milliseconds: int) -> None:
        if milliseconds != self._timeout:  # asked of sqlite it takes as long as a short statement
            self._connection.execute(f"PRAGMA busy_timeout={milliseconds}")
            self._timeout = milliseconds

    def commit(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run calls in one transaction, which waits for other processes."""
        with self._lock:
            self.wait()
            return self._commit(calls)

    def _commit(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        self.open = True
        try:
            values = [call() for call in calls]
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        finally:
            self.open = False
        return values
