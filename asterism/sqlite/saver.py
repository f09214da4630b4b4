"""A sqlite saver for sync and async runs that commits whatever is waiting at once."""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.sqlite import SqliteSaver

from asterism.historycache import HistoryCache
from asterism.leases import Release, take_file_lease, take_process_lease
from asterism.sqlite.files import faults, prepare
from asterism.sqlite.steps import read_step

T = TypeVar("T")

FORMAT = 1
"""The version of what is stored; it grows when an older version could not read it."""


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
        self._histories = HistoryCache()
        self._jobs: deque[_Job] = deque()
        self._guard = threading.Lock()
        self._state = {"draining": False, "grouped": False, "closed": False}
        self._version = 0  # of the file, as others change it
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
        """Number the versions of channels as LangGraph's saver does, but without its 17 digits.

        Versions are compared as texts, also where a thread moves to, so their width stays.
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

    def delete_thread(self, thread_id: str) -> None:
        """Delete all that is stored of a thread."""
        with self.lock:
            self.forget(thread_id)
            super().delete_thread(thread_id)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread; see `delete_thread`."""
        await self._call(lambda: self.delete_thread(thread_id))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what makes up growing channels; what was read before is not read again."""
        whole = partial(super().get_delta_channel_history, config=config, channels=channels)
        named = cast(dict[str, Any], config.get("configurable"))
        place = (str(named["thread_id"]), str(named.get("checkpoint_ns", "")))
        target = get_checkpoint_id(config)
        if not target or not channels:
            return whole()
        with self.lock:
            self._heed_others()
            step = partial(read_step, self, place)
            return self._histories.read(place, target, channels, step, whole)

    def forget(self, thread_id: str) -> None:
        """Read the histories of a thread again: something stored was changed."""
        with self.lock:
            self._histories.forget(thread_id)

    def _heed_others(self) -> None:
        """Forget all histories once another connection, of any process, has written."""
        with self.cursor(transaction=False) as cursor:
            (version,) = cursor.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._histories.clear()
            self._version = version

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
