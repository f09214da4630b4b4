"""The rows of a Postgres database."""

from collections.abc import Collection, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from asterism.storage.postgres.saver import LeasedPostgresSaver
from asterism.storage.postgres.schema import has_queue
from asterism.storage.retention.row_protocol import Rows

TABLES = (
    "checkpoints",
    "checkpoint_blobs",
    "checkpoint_writes",
    "asterism_steering",
    "asterism_leases",
)

_HERE = "WHERE thread_id = %s AND checkpoint_ns = %s"
_BLOBS = f"""
DELETE FROM checkpoint_blobs b {_HERE} AND NOT EXISTS (
    SELECT 1 FROM checkpoints c
    WHERE c.thread_id = b.thread_id AND c.checkpoint_ns = b.checkpoint_ns
    AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version
)
"""


class PostgresRows(Rows):
    """The rows of a Postgres database."""

    writes_table, value_column = "checkpoint_writes", "blob"

    def __init__(self, saver: LeasedPostgresSaver) -> None:
        super().__init__(saver)
        self._saver = saver
        self._queue = saver.steadily(has_queue)

    def is_awaited(self, thread: str) -> bool:
        """Whether work for the thread stands in the queue."""
        query = (
            "SELECT 1 FROM procrastinate_jobs WHERE lock = ? AND status IN ('todo', 'doing') "
            "LIMIT 1"
        )
        return self._queue and bool(self.read(query, (thread,)))

    def threads_of(self, user: str, keys: Sequence[str]) -> Sequence[str]:
        """Return the threads with a checkpoint whose metadata names a user."""
        where = " OR ".join(["metadata @> ?"] * len(keys))
        query = f"SELECT DISTINCT thread_id FROM checkpoints WHERE {where}"
        return [thread for (thread,) in self.read(query, [Jsonb({key: user}) for key in keys])]

    def drop(self, thread: str, namespace: str, checkpoints: Collection[str]) -> None:
        """Delete some checkpoints of a thread, and what they alone need."""
        place, gone = (thread, namespace), list(checkpoints)

        def work(connection: Any) -> None:
            with connection.transaction():
                for statement in (
                    f"DELETE FROM checkpoint_writes {_HERE} AND checkpoint_id = ANY(%s)",
                    f"DELETE FROM checkpoints {_HERE} AND checkpoint_id = ANY(%s)",
                    f"UPDATE checkpoints SET parent_checkpoint_id = NULL {_HERE} "
                    "AND parent_checkpoint_id = ANY(%s)",
                ):
                    connection.execute(statement, (*place, gone))
                connection.execute(_BLOBS, place)

        self._saver.steadily(work, thread)

    def delete(self, thread: str) -> None:
        """Delete everything that is stored of a thread, and its finished jobs.

        The number of its lease stays until nobody can hold an older one.
        """

        def work(connection: Any) -> None:
            with connection.transaction():
                for table in TABLES[:-1]:
                    connection.execute(f"DELETE FROM {table} WHERE thread_id = %s", (thread,))
                if self._queue:
                    connection.execute("DELETE FROM procrastinate_jobs WHERE lock = %s", (thread,))

        self._saver.steadily(work, thread)

    def shrink(self, *, full: bool) -> None:
        """Make room for what comes; `full` gives it back to the disk, and runs wait meanwhile."""
        self.read(
            "DELETE FROM asterism_leases l WHERE since < now() - interval '1 day' "
            "AND NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = l.thread_id)"
        )
        options = "FULL, ANALYZE" if full else "ANALYZE"
        for table in TABLES:
            self.read(f"VACUUM ({options}) {table}")

    def size(self) -> int:
        """Return how many bytes the tables and their indexes take."""
        ((size,),) = self.read(
            "SELECT sum(pg_total_relation_size(name::regclass))::bigint AS bytes "
            "FROM unnest(?::text[]) AS name",
            (list(TABLES),),
        )
        return int(size)

    def read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds; its values stand at its question marks."""

        def work(connection: Any) -> list[tuple[Any, ...]]:
            cursor = connection.execute(query.replace("?", "%s"), values or None)
            return [tuple(row.values()) for row in cursor] if cursor.description else []

        return self._saver.steadily(work)
