"""A sqlite saver for sync and async runs; what waits at the same time is committed at once."""

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
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
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.utils import search_where

from asterism.core.checkpoints import (
    checkpoint_key,
    readable,
    reading,
    storing,
    thread_of,
    validate_checkpoint,
)
from asterism.core.history_cache import HistoryCache
from asterism.core.thread_lease import Release, take_file_lease, take_process_lease
from asterism.errors import StorageError
from asterism.storage.serializers import (
    StrictEncryptedSerializer,
    bind_writes,
    decrypt_checkpoint,
    digest,
    sealing,
)
from asterism.storage.sqlite.connection import check_format, faults, prepare
from asterism.storage.sqlite.group_commit import GroupCommit
from asterism.storage.sqlite.steps import SqliteLineage

T = TypeVar("T")


def _file_at(path: Path | None) -> tuple[int, int] | None:
    """Return which file it is that a path names."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _place(config: RunnableConfig) -> tuple[str, str, str]:
    named = config.get("configurable") or {}
    thread, space = str(named["thread_id"]), str(named.get("checkpoint_ns", ""))
    return thread, space, str(named.get("checkpoint_id", ""))


FORMAT = 1
"""The version of what is stored; it grows when an older version could not read it."""


_PLACES = """
    SELECT thread_id, checkpoint_ns, checkpoint_id,
        CASE WHEN json_valid(CAST(metadata AS TEXT)) THEN metadata END AS metadata
    FROM checkpoints
"""


class GroupCommitSaver(SqliteSaver):
    """LangGraph's `SqliteSaver`, same tables, with async methods that share transactions.

    Each call returns only when its transaction is committed, so `durability="sync"` means what
    it says.
    """

    def __init__(
        self,
        conn: sqlite3.Connection,
        *,
        serde: SerializerProtocol | None = None,
        path: Path | None = None,
        archive: bool = False,
    ) -> None:
        super().__init__(conn, serde=serde)
        self.path = None if path is None else path.absolute()
        self._file = _file_at(self.path)
        self._archive = archive  # it is read, and nothing is written to it
        self.lock: Any = threading.RLock()  # a transaction of several calls holds it throughout
        self._histories = HistoryCache()
        self._version = 0  # of the file, as others change it
        self._groups = GroupCommit(conn, self.lock)

    def close(self) -> None:
        """Finish what is waiting and end the thread; the connection stays open."""
        self._groups.close()

    def setup(self) -> None:
        """Make the tables where they are missing.

        Raises:
            StorageError: The file cannot be used, or a newer version wrote it.
        """
        if self.is_setup:
            return
        with faults(self.path):
            if self._archive:
                check_format(self.conn, self.path, "format", FORMAT)
                columns = self.conn.execute("PRAGMA table_info(writes)").fetchall()
                self._has_task_path = any(column[1] == "task_path" for column in columns)
                self.is_setup = True
                return
            prepare(self.conn, self.path, "format", FORMAT)
            super().setup()

    def get_next_version(self, current: Any, channel: None) -> str:
        """Number the versions of channels: `" 000007"` where LangGraph's saver has 49 characters.

        Versions are compared as texts. A space comes before all digits, and `int` passes over it:
        so a thread that moves to another saver goes on there, and one that comes from there, or
        takes a million steps, goes on with the wide ones.
        """
        said = str(current or " 0")
        number = int(said.partition(".")[0]) + 1
        return f" {number:06}" if said[0] == " " and number < 1_000_000 else f"{number:032}"

    def take_lease(self, thread_id: str) -> Release | None:
        """Take the lease of a thread, against other processes too."""
        if self.path is None or self._archive:
            return take_process_lease(self, thread_id)
        with faults(self.path, OSError):
            return take_file_lease(self.path.with_name(f"{self.path.name}.locks"), thread_id)

    @contextmanager
    def cursor(self, transaction: bool = True) -> Generator[sqlite3.Cursor]:
        """Open a cursor; within a group, the group commits."""
        with self.lock, faults(self.path):
            self.setup()
            if transaction and _file_at(self.path) != self._file:
                raise StorageError(
                    f"The database {str(self.path)!r} is gone: the file was deleted or replaced "
                    "while it was open, so nothing more is stored. Put it back and open it anew."
                )
            if not self._groups.open:
                self._groups.wait()
            cursor = self.conn.cursor()
            try:
                yield cursor
            except BaseException:
                if not self._groups.open:
                    self.conn.rollback()
                raise
            else:
                if transaction and not self._groups.open:
                    self.conn.commit()
            finally:
                cursor.close()

    # ---- reading: what is damaged is told, with its thread

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Get a checkpoint."""
        with reading(thread_of(config)):
            found = super().get_tuple(config)
        return None if found is None else self._whole(found)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints, the latest first; of all threads, those that are not damaged."""
        if config is None:
            yield from islice(readable(self._places(filter, before), self.get_tuple), limit)
            return
        rows: Any = super().list(config, filter=filter, before=before, limit=limit)
        with reading(thread_of(config)), closing(rows):
            for row in rows:
                yield self._whole(row)

    def _places(
        self, filter: dict[str, Any] | None, before: RunnableConfig | None
    ) -> Iterator[RunnableConfig]:
        """Find checkpoints of all threads, the latest first."""
        where, values = search_where(None, filter, before)
        query = f"SELECT thread_id, checkpoint_ns, checkpoint_id FROM ({_PLACES}) {where}"
        with self.cursor(transaction=False) as cursor:
            rows = cursor.execute(f"{query} ORDER BY checkpoint_id DESC", values).fetchall()
        return (checkpoint_key(*row) for row in rows)

    def _whole(self, found: CheckpointTuple) -> CheckpointTuple:
        return validate_checkpoint(decrypt_checkpoint(self.serde, found, by_checkpoint=True))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint."""
        with storing(config):
            return self._put(config, checkpoint, metadata, new_versions)

    def _put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        if not isinstance(self.serde, StrictEncryptedSerializer):
            return super().put(config, checkpoint, metadata, new_versions)
        facts = digest(get_checkpoint_metadata(config, metadata))
        thread, space = _place(config)[:2]
        with sealing("checkpoint", thread, space, checkpoint["id"], facts):
            return super().put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task."""
        with storing(config):
            self._put_writes(config, writes, task_id, task_path)

    def _put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> None:
        with sealing("write", *_place(config), task_id):
            super().put_writes(config, bind_writes(self.serde, writes), task_id, task_path)

    # ---- async, each one call of a group

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
                lambda: [*self.list(config, filter=filter, before=before, limit=limit)],
                short=False,
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
        with storing(config):
            return await self._call(lambda: self._put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task; see `put_writes`."""
        with storing(config):
            await self._call(lambda: self._put_writes(config, writes, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """Delete all that is stored of a thread."""
        with self.lock:
            self.forget(thread_id)
            super().delete_thread(thread_id)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread; see `delete_thread`."""
        await self._call(lambda: self.delete_thread(thread_id), short=False)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what makes up growing channels; what was read before is not read again."""
        named = cast(dict[str, Any], config.get("configurable"))
        where = (str(named["thread_id"]), str(named.get("checkpoint_ns", "")))
        target = get_checkpoint_id(config)
        if not target or not channels:
            return super().get_delta_channel_history(config=config, channels=channels)
        with reading(where[0]), self.lock:
            self._heed_others()
            return self._histories.read(where, target, channels, SqliteLineage(self, where, target))

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

    async def _call(self, call: Callable[[], T], *, short: bool = True) -> T:
        with faults(self.path):
            return await self._groups.run(call, short=short)
