"""The rows of a saver's database; those of sqlite stand here."""

from collections.abc import Collection, Sequence
from typing import Any

from asterism.errors import ConfigurationError
from asterism.storage.retention.row_protocol import Rows
from asterism.storage.sqlite import GroupCommitSaver


def open_rows(saver: object) -> Rows:
    """Return the rows of a saver that `open_checkpointer` opened.

    Raises:
        ConfigurationError: It stores nothing that lasts.
    """
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


class SqliteRows(Rows):
    """The rows of a sqlite file."""

    only_readable = "AND typeof(thread_id) = 'text'"

    def __init__(self, saver: GroupCommitSaver) -> None:
        super().__init__(saver)
        self._saver = saver

    def is_awaited(self, thread: str) -> bool:
        """There is no queue beside a file."""
        return False

    def threads_of(self, user: str, keys: Sequence[str]) -> Sequence[str]:
        """Return the threads with a checkpoint whose metadata names a user."""
        whole = "CASE WHEN json_valid(CAST(metadata AS TEXT)) THEN CAST(metadata AS TEXT) END"
        fields = " OR ".join([f"json_extract({whole}, ?) = ?"] * len(keys))
        values = [value for key in keys for value in (f'$."{key}"', user)]
        query = f"SELECT DISTINCT thread_id FROM checkpoints WHERE {fields}"
        return [thread for (thread,) in self.read(query, values)]

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
        with self._saver.cursor() as cursor:
            rows = cursor.execute(f"PRAGMA {words}").fetchall()
        return int(rows[0][0]) if rows and rows[0] else 0  # newer sqlite gives empty rows

    def read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds; its values stand at its question marks."""
        with self._saver.cursor(transaction=False) as cursor:
            return cursor.execute(query, values).fetchall()
