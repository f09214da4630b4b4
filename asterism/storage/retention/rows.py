"""The rows of whatever database a saver has.

The rows of a sqlite file.
"""

from collections.abc import Collection, Sequence
from typing import Any

from asterism.core.checkpoints import reading
from asterism.errors import ConfigurationError
from asterism.storage.retention.row_protocol import Rows, StoredWrite
from asterism.storage.serializers import decrypt_value
from asterism.storage.sqlite import GroupCommitSaver


def open_rows(saver: object) -> Rows:
    """Return the rows of a saver that `open_checkpointer` opened.

    Raises:
        ConfigurationError: It stores nothing that lasts.
    """
    from asterism.storage.sqlite import GroupCommitSaver

    if isinstance(saver, GroupCommitSaver):
        return SqliteRows(saver)
    try:
        from asterism.storage.postgres.saver import LeasedPostgresSaver
    except ImportError:
        pass
    else:
        if isinstance(saver, LeasedPostgresSaver):
            from asterism.storage.retention.postgres_rows import PostgresRows

            return PostgresRows(saver)
    raise ConfigurationError(
        f"Housekeeping needs a database, not {type(saver).__name__}. Allowed: what "
        "open_checkpointer opens at sqlite:///path or postgresql://..."
    )


SLICE = 1_000
"""How many free pages are given back at once; in between, others may write."""


class SqliteRows:
    """The rows of a sqlite file."""

    def __init__(self, saver: GroupCommitSaver) -> None:
        self._saver = saver

    def threads(self, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Return threads in the order of their ids, each with its latest checkpoint's id."""
        return self._read(
            "SELECT thread_id, max(checkpoint_id) FROM checkpoints "
            "WHERE thread_id > ? AND typeof(thread_id) = 'text' "
            "GROUP BY thread_id ORDER BY thread_id LIMIT ?",
            (after, limit),
        )

    def latest_threads(self, limit: int) -> Sequence[str]:
        """Return the ids of the threads that were written last, the latest first."""
        rows = self._read(
            "SELECT thread_id FROM checkpoints "
            "WHERE checkpoint_ns = '' AND typeof(thread_id) = 'text' "
            "GROUP BY thread_id ORDER BY max(checkpoint_id) DESC LIMIT ?",
            (limit,),
        )
        return [thread for (thread,) in rows]

    def latest(self, thread: str) -> str | None:
        """Return the id of the latest checkpoint of a thread."""
        query = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ?"
        found: str | None = self._read(query, (thread,))[0][0]
        return found

    def is_awaited(self, thread: str) -> bool:
        """There is no queue beside a file."""
        return False

    def threads_of(self, user: str, keys: Sequence[str]) -> Sequence[str]:
        """Return the threads with a checkpoint whose metadata names a user."""
        whole = "CASE WHEN json_valid(CAST(metadata AS TEXT)) THEN CAST(metadata AS TEXT) END"
        fields = " OR ".join([f"json_extract({whole}, ?) = ?"] * len(keys))
        values = [value for key in keys for value in (f'$."{key}"', user)]
        query = f"SELECT DISTINCT thread_id FROM checkpoints WHERE {fields}"
        return [thread for (thread,) in self._read(query, values)]

    def writes(self, thread: str) -> Sequence[StoredWrite]:
        """Return the writes of a thread, those of a task in their order."""
        rows = self._read(
            "SELECT checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value "
            "FROM writes WHERE thread_id = ? "
            "ORDER BY checkpoint_ns, checkpoint_id, task_path, task_id, idx",
            (thread,),
        )
        with reading(thread):
            return [self._write(thread, row) for row in rows]

    def _write(self, thread: str, row: Sequence[Any]) -> StoredWrite:
        namespace, checkpoint, task, path, index, channel, kind, value = row
        serde = self._saver.serde
        read = serde.loads_typed((kind, value))
        where = (thread, namespace, checkpoint, task, channel)
        return StoredWrite(
            namespace=namespace,
            checkpoint_id=checkpoint,
            task_id=task,
            task_path=path,
            index=index,
            channel=channel,
            value=decrypt_value(serde, read, "write", *where),
        )

    def drop(self, thread: str, namespace: str, checkpoints: Collection[str]) -> None:
        """Delete some checkpoints of a thread with their writes."""
        places = [(thread, namespace, checkpoint) for checkpoint in checkpoints]
        where = "WHERE thread_id = ? AND checkpoint_ns = ?"
        self._saver.forget(thread)
        with self._saver.cursor() as cursor:
            for statement in (
                f"DELETE FROM writes {where} AND checkpoint_id = ?",
                f"DELETE FROM checkpoints {where} AND checkpoint_id = ?",
                f"UPDATE checkpoints SET parent_checkpoint_id = NULL {where} "
                "AND parent_checkpoint_id = ?",
            ):
                cursor.executemany(statement, places)

    def delete(self, thread: str) -> None:
        """Delete everything that is stored of a thread."""
        self._saver.delete_thread(thread)

    def shrink(self, *, full: bool) -> None:
        """Give free pages back to the disk; files that an older version made know only `full`."""
        if full:
            with self._saver.cursor() as cursor:
                cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
                cursor.execute("VACUUM")
        free = -1
        while free != (free := self._pragma("freelist_count")) and free:
            self._pragma(f"incremental_vacuum({SLICE})")
        self._pragma("wal_checkpoint(TRUNCATE)")

    def size(self) -> int:
        """Return how many bytes the file takes."""
        return int(self._pragma("page_count") * self._pragma("page_size"))

    def _pragma(self, words: str) -> int:
        rows = self._read(f"PRAGMA {words}", (), write=True)
        return int(rows[0][0]) if rows and rows[0] else 0  # newer sqlite gives empty rows

    def _read(self, query: str, values: Sequence[Any], *, write: bool = False) -> list[Any]:
        with self._saver.cursor(transaction=write) as cursor:
            return cursor.execute(query, values).fetchall()
