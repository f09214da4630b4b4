"""A sqlite saver for sync and async runs; what waits at the same time is committed at once."""

import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.utils import search_where

from asterism.core.checkpoints import checkpoint_key
from asterism.core.history_cache import CheckpointLineage, HistoryCache, Place
from asterism.core.thread_lease import Release, take_file_lease, take_process_lease
from asterism.errors import StorageError
from asterism.storage.database_saver import DatabaseSaver
from asterism.storage.sqlite.connection import check_format, faults, prepare
from asterism.storage.sqlite.group_commit import SqliteGroupCommit
from asterism.storage.sqlite.steps import SqliteLineage

T = TypeVar("T")


def _file_at(path: Path | None) -> tuple[int, int] | None:
    """Return which file it is that a path names."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


FORMAT = 1
"""The version of what is stored; it grows when an older version could not read it."""


_PLACES = """
    SELECT thread_id, checkpoint_ns, checkpoint_id,
        CASE WHEN json_valid(CAST(metadata AS TEXT)) THEN metadata END AS metadata
    FROM checkpoints
"""


_STEERING = """
CREATE TABLE IF NOT EXISTS asterism_steering (
    number INTEGER PRIMARY KEY, thread_id TEXT NOT NULL, id TEXT NOT NULL,
    kind TEXT NOT NULL, value BLOB NOT NULL, UNIQUE (thread_id, id)
)
"""


class GroupCommitSaver(DatabaseSaver, SqliteSaver):
    """LangGraph's `SqliteSaver`, same tables, with async methods that share transactions."""

    by_checkpoint = True

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
        self._groups = SqliteGroupCommit(conn, self.lock)

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
            self.conn.execute(_STEERING)

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

    # ---- what LangGraph's saver is asked

    def _run(self, config: RunnableConfig, call: Callable[[Any], T]) -> T:
        with self.lock:
            return call(super(DatabaseSaver, self))

    async def _group(self, config: Any, call: Callable[[], T], *, short: bool = True) -> T:
        with faults(self.path):
            return await self._groups.run(call, short=short)

    def _execute(self, stock: Any, statement: str, values: Sequence[Any]) -> Sequence[Any]:
        is_read = statement.startswith("SELECT")
        if self._archive and is_read:  # an older version made no such table
            return []
        with self.cursor(transaction=not is_read) as cursor:
            return cursor.execute(statement, values).fetchall()

    def _places(
        self, filter: dict[str, Any] | None, before: RunnableConfig | None
    ) -> Iterator[RunnableConfig]:
        where, values = search_where(None, filter, before)
        query = f"SELECT thread_id, checkpoint_ns, checkpoint_id FROM ({_PLACES}) {where}"
        with self.cursor(transaction=False) as cursor:
            rows = cursor.execute(f"{query} ORDER BY checkpoint_id DESC", values).fetchall()
        return (checkpoint_key(*row) for row in rows)

    def _lineage(
        self, stock: Any, place: Place, target: str, channels: Sequence[str]
    ) -> tuple[HistoryCache, CheckpointLineage]:
        self._heed_others()
        cursor = partial(self.cursor, transaction=False)
        return self._histories, SqliteLineage(self, cursor, place, target)

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
