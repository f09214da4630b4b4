"""Calls of event loops on one connection: what waits at the same time shares a transaction."""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")


class _Job(NamedTuple):
    """A call that an event loop waits for."""

    call: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class _Outcome(NamedTuple):
    value: Any = None
    error: BaseException | None = None


class _Thread:
    """Stands for the thread where an event loop could stand."""


class GroupCommit:
    """Runs calls in groups, each in one transaction.

    A hop to a thread and back takes longer than a short call, so a group of short calls runs in
    the event loop, where it never waits: while somebody else has the connection, or another
    process writes to the file, it goes to a thread like everything that takes long.

    Args:
        connection: To the database.
        lock: Is held by whoever uses the connection.
    """

    def __init__(self, connection: sqlite3.Connection, lock: Any) -> None:
        self._connection = connection
        self._lock = lock
        self._jobs: deque[_Job] = deque()
        self._guard = threading.Lock()
        self._runner: asyncio.AbstractEventLoop | type[_Thread] | None = None  # of what waits
        self._closed = False
        self._patience = int(connection.execute("PRAGMA busy_timeout").fetchone()[0])
        self._timeout = self._patience
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-saver")
        self.open = False
        """Whether a group has a transaction open, which it will commit."""

    def close(self) -> None:
        """Finish what is waiting and end the thread; the connection stays open."""
        with self._guard:
            self._closed = True
        self._thread.shutdown(wait=True)
        self._drain()

    async def run(self, call: Callable[[], T], *, short: bool) -> T:
        """Run a call, and return its value once its transaction is committed.

        Raises:
            sqlite3.ProgrammingError: The groups are closed.
        """
        loop = asyncio.get_running_loop()
        job = _Job(call, loop.create_future(), loop)
        with self._guard:
            if self._closed:
                raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
            self._jobs.append(job)
            if self._runner is None and short:
                self._runner = loop
                loop.call_soon(self._at_once, loop)
            elif self._runner not in (loop, _Thread):  # another loop may have stopped
                self._runner = _Thread
                self._thread.submit(self._drain)
        return cast(T, await job.future)

    def _at_once(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run what is waiting in this event loop, or leave it to the thread."""
        with self._guard:
            if self._runner is not loop:
                return
            group = list(self._jobs)
            self._jobs.clear()
        values = None
        try:
            values = self._try_group(group)
        finally:
            with self._guard:
                if values is None:
                    self._jobs.extendleft(reversed(group))
                closed, self._runner = self._closed, _Thread if self._jobs else None
                if self._jobs and not closed:
                    self._thread.submit(self._drain)
            if closed:
                self._drain()
        if values is not None:
            _answer(group, [_Outcome(value) for value in values], loop)

    def _try_group(self, group: Sequence[_Job]) -> list[Any] | None:
        """Run a group in one transaction, or return None where it would wait, or fails."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            self._set_timeout(0)
            return self._commit_group(group)
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

    def _drain(self) -> None:
        """Run what is waiting, group by group, until nothing is."""
        while True:
            with self._guard:
                group = list(self._jobs)
                self._jobs.clear()
                if not group:
                    self._runner = None
                    return
            _answer(group, self._together(group))

    def _together(self, group: Sequence[_Job]) -> list[_Outcome]:
        """Run a group in one transaction; if that fails, each call in one of its own."""
        if len(group) == 1:
            return [self._alone(group[0])]
        try:
            with self._lock:
                self.wait()
                return [_Outcome(value) for value in self._commit_group(group)]
        except Exception:  # noqa: BLE001 - raised again below, by the call that fails
            return [self._alone(job) for job in group]

    def _alone(self, job: _Job) -> _Outcome:
        try:
            with self._lock:
                self.wait()
                return _Outcome(*self._commit_group([job]))
        except BaseException as error:  # noqa: BLE001 - raised where the call is awaited
            return _Outcome(error=error)

    def _commit_group(self, group: Sequence[_Job]) -> list[Any]:
        """Run a group in one transaction."""
        self.open = True
        try:
            values = [job.call() for job in group]
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        finally:
            self.open = False
        return values


def _answer(
    group: Sequence[_Job],
    outcomes: Sequence[_Outcome],
    here: asyncio.AbstractEventLoop | None = None,
) -> None:
    """Hand results to those who wait for them, each in its event loop."""
    answers = list(zip(group, outcomes, strict=True))
    for loop in {job.loop for job in group}:
        own = [(job, outcome) for job, outcome in answers if job.loop is loop]
        if loop is here:
            _tell(own)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(_tell, own)


def _tell(answers: Sequence[tuple[_Job, _Outcome]]) -> None:
    for job, outcome in answers:
        if job.future.cancelled():
            continue
        if outcome.error is not None:
            job.future.set_exception(outcome.error)
        else:
            job.future.set_result(outcome.value)
