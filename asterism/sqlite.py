"""A sqlite saver for sync and async runs that commits whatever is waiting at once."""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.sqlite import SqliteSaver

from asterism.errors import StorageError
from asterism.leases import Release, take_file_lease, take_process_lease

T = TypeVar("T")

FORMAT = 1
"""The version of what is stored; it grows when an older version could not read it."""

_PRAGMAS = ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL")
"""A new file gives free pages back bit by bit; readers do not block writers; a loss of power, not a
crash, may lose the last commits."""

_WAYS_OUT = {
    "locked": "Another process writes to it; try again.",
    "readonly": "Make the file and its folder writable, or copy it to where they are.",
    "full": "Make room on the disk, then go on with proceed().",
    "malformed": "Restore it from a copy; sqlite3 FILE .recover saves what can be saved.",
    "not a database": "Name another file.",
    "unable to open": "Check that the file and its folder exist and may be read.",
    "closed": "Keep open_checkpointer() open for as long as the workflow runs.",
}


@dataclass(frozen=True, slots=True)
class _Job:
    """A call that an event loop waits for."""

    call: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any = None
    error: BaseException | None = None


@contextmanager
def faults(path: Path | None, kind: type[Exception] = sqlite3.Error) -> Generator[None]:
    """Say what is wrong with a database file, and what can be done."""
    try:
        yield
    except kind as error:
        said = str(error).rstrip(".")
        way = next((way for words, way in _WAYS_OUT.items() if words in said), "")
        raise StorageError(
            f"The database {str(path or ':memory:')!r} cannot be used: {said}. "
            f"What is stored is not changed. {way}".strip()
        ) from error


def prepare(connection: sqlite3.Connection, path: Path | None, kind: str, newest: int) -> None:
    """Set up a connection, and check that this version can read what is stored.

    Args:
        connection: To the database.
        path: Its file.
        kind: Whose format it is.
        newest: The newest format that this version reads; a new database gets it.

    Raises:
        StorageError: A newer version wrote it.
    """
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS asterism (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
    )
    connection.execute("INSERT OR IGNORE INTO asterism VALUES (?, ?)", (kind, str(newest)))
    connection.commit()
    (found,) = connection.execute("SELECT value FROM asterism WHERE key = ?", (kind,)).fetchone()
    if int(found) > newest:
        raise StorageError(
            f"The database {str(path)!r} has the {kind} {found}; this version of "
            f"Asterism reads up to {newest}. Install a newer version."
        )


class GroupCommitSaver(SqliteSaver):
    """LangGraph's `SqliteSaver`, same tables, with async methods on one thread of its own.

    Calls that arrive while a transaction is being committed share the next one. Each call
    returns only when its transaction is committed, so `durability="sync"` means what it says.
    """

    def __init__(
        self,
        conn: sqlite3.Connection,
        *,
        serde: SerializerProtocol | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(conn, serde=serde)
        self.path = path
        self.lock: Any = threading.RLock()  # a transaction of several calls holds it throughout
        self._jobs: deque[_Job] = deque()
        self._guard = threading.Lock()
        self._state = {"draining": False, "grouped": False, "closed": False}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-saver")

    def close(self) -> None:
        """Finish what is waiting and end the thread; the connection stays open."""
        with self._guard:
            self._state["closed"] = True
        self._thread.shutdown(wait=True)

    def setup(self) -> None:
        """Make the tables where they are missing.

        Raises:
            StorageError: The file cannot be used, or a newer version wrote it.
        """
        if self.is_setup:
            return
        with faults(self.path):
            prepare(self.conn, self.path, "format", FORMAT)
            super().setup()

    def get_next_version(self, current: Any, channel: None) -> str:
        """Number the versions of channels as LangGraph's saver does, but without noise.

        It adds 17 random digits to each, for savers that store values by version; here they
        were a tenth of a file. Versions are compared as texts, so their width stays.
        """
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}"

    def take_lease(self, thread_id: str) -> Release | None:
        """Take the lease of a thread, against other processes too."""
        if self.path is None:
            return take_process_lease(self, thread_id)
        with faults(self.path, OSError):
            return take_file_lease(self.path.with_name(f"{self.path.name}.locks"), thread_id)

    @contextmanager
    def cursor(self, transaction: bool = True) -> Generator[sqlite3.Cursor]:
        """Open a cursor; within a group, the group commits."""
        with self.lock, faults(self.path):
            self.setup()
            cursor = self.conn.cursor()
            try:
                yield cursor
            except BaseException:
                if not self._state["grouped"]:
                    self.conn.rollback()
                raise
            else:
                if transaction and not self._state["grouped"]:
                    self.conn.commit()
            finally:
                cursor.close()

    # ---- async, each one call on the thread

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Get a checkpoint; see `get_tuple`."""
        return await self._call(lambda: self.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints; see `list`."""
        rows: Iterator[CheckpointTuple] = iter(
            await self._call(
                lambda: [*self.list(config, filter=filter, before=before, limit=limit)]
            )
        )
        for row in rows:
            yield row

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; see `put`."""
        return await self._call(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task; see `put_writes`."""
        await self._call(lambda: self.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread; see `delete_thread`."""
        await self._call(lambda: self.delete_thread(thread_id))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what makes up growing channels; see `get_delta_channel_history`."""
        return await self._call(
            lambda: self.get_delta_channel_history(config=config, channels=channels)
        )

    # ---- the thread

    async def _call(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        job = _Job(call, loop.create_future(), loop)
        with self._guard, faults(self.path):
            if self._state["closed"]:
                raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
            self._jobs.append(job)
            if not self._state["draining"]:
                self._state["draining"] = True
                self._thread.submit(self._drain)
        return cast(T, await job.future)

    def _drain(self) -> None:
        """Run what is waiting, group by group, until nothing is."""
        while True:
            with self._guard:
                group = list(self._jobs)
                self._jobs.clear()
                if not group:
                    self._state["draining"] = False
                    return
            outcomes = self._together(group)
            for loop in {job.loop for job in group}:
                answers = [
                    (job, found)
                    for job, found in zip(group, outcomes, strict=True)
                    if job.loop is loop
                ]
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_answer, answers)

    def _together(self, group: Sequence[_Job]) -> list[_Outcome]:
        """Run a group in one transaction; if that fails, each call in one of its own."""
        if len(group) > 1:
            with self.lock:
                self._state["grouped"] = True
                try:
                    values = [job.call() for job in group]
                    self.conn.commit()
                except Exception:  # noqa: BLE001 - raised again below, by the call that fails
                    self.conn.rollback()
                else:
                    return [_Outcome(value) for value in values]
                finally:
                    self._state["grouped"] = False
        return [_alone(job) for job in group]


def _alone(job: _Job) -> _Outcome:
    try:
        return _Outcome(job.call())
    except BaseException as error:  # noqa: BLE001 - raised where the call is awaited
        return _Outcome(error=error)


def _answer(answers: Sequence[tuple[_Job, _Outcome]]) -> None:
    """Hand results to those who wait for them, in their event loop."""
    for job, outcome in answers:
        if job.future.cancelled():
            continue
        if outcome.error is not None:
            job.future.set_exception(outcome.error)
        else:
            job.future.set_result(outcome.value)
