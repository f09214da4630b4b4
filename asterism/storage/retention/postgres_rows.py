"""The rows of a Postgres database."""

from collections.abc import Collection, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from asterism.core.checkpoints import reading
from asterism.storage.postgres.saver import LeasedPostgresSaver
from asterism.storage.postgres.schema import has_queue
from asterism.storage.retention.row_protocol import StoredWrite
from asterism.storage.serializers import decrypt_value

TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "asterism_leases")

_HERE = "WHERE thread_id = %s AND checkpoint_ns = %s"
_BLOBS = f"""
DELETE FROM checkpoint_blobs b {_HERE} AND NOT EXISTS (
    SELECT 1 FROM checkpoints c
    WHERE c.thread_id = b.thread_id AND c.checkpoint_ns = b.checkpoint_ns
    AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version
)
"""


class PostgresRows:
    """The rows of a Postgres database."""

    def __init__(self, saver: LeasedPostgresSaver) -> None:
        self._saver = saver
        self._queue = saver.steadily(has_queue)

    def threads(self, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Return threads in the order of their ids, each with its latest checkpoint's id."""
        rows = self._run(
            "SELECT thread_id, max(checkpoint_id) AS latest FROM checkpoints "
            "WHERE thread_id > %s GROUP BY thread_id ORDER BY thread_id LIMIT %s",
            (after, limit),
        )
        return [(row["thread_id"], row["latest"]) for row in rows]

    def latest_threads(self, limit: int) -> Sequence[str]:
        """Return the ids of the threads that were written last, the latest first."""
        rows = self._run(
            "SELECT thread_id FROM checkpoints WHERE checkpoint_ns = '' "
            "GROUP BY thread_id ORDER BY max(checkpoint_id) DESC LIMIT %s",
            (limit,),
        )
        return [row["thread_id"] for row in rows]

    def latest(self, thread: str) -> str | None:
        """Return the id of the latest checkpoint of a thread."""
        query = "SELECT max(checkpoint_id) AS latest FROM checkpoints WHERE thread_id = %s"
        found: str | None = self._run(query, (thread,))[0]["latest"]
        return found

    def is_awaited(self, thread: str) -> bool:
        """Whether work for the thread stands in the queue."""
        query = (
            "SELECT 1 FROM procrastinate_jobs WHERE lock = %s AND status IN ('todo', 'doing') "
            "LIMIT 1"
        )
        return self._queue and bool(self._run(query, (thread,)))

    def threads_of(self, user: str, keys: Sequence[str]) -> Sequence[str]:
        """Return the threads with a checkpoint whose metadata names a user."""
        where = " OR ".join(["metadata @> %s"] * len(keys))
        query = f"SELECT DISTINCT thread_id FROM checkpoints WHERE {where}"
        return [row["thread_id"] for row in self._run(query, [Jsonb({key: user}) for key in keys])]

    def writes(self, thread: str) -> Sequence[StoredWrite]:
        """Return the writes of a thread, those of a task in their order."""
        rows = self._run(
            "SELECT checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob "
            "FROM checkpoint_writes WHERE thread_id = %s "
            "ORDER BY checkpoint_ns, checkpoint_id, task_path, task_id, idx",
            (thread,),
        )
        with reading(thread):
            return [self._write(thread, row) for row in rows]

    def _write(self, thread: str, row: Any) -> StoredWrite:
        serde = self._saver.serde
        read = serde.loads_typed((row["type"], bytes(row["blob"])))
        where = (thread, row["checkpoint_ns"], row["task_id"], row["channel"])
        return StoredWrite(
            namespace=row["checkpoint_ns"],
            checkpoint_id=row["checkpoint_id"],
            task_id=row["task_id"],
            task_path=row["task_path"],
            index=row["idx"],
            channel=row["channel"],
            value=decrypt_value(serde, read, "write", *where),
        )

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
                for table in TABLES[:3]:
                    connection.execute(f"DELETE FROM {table} WHERE thread_id = %s", (thread,))
                if self._queue:
                    connection.execute("DELETE FROM procrastinate_jobs WHERE lock = %s", (thread,))

        self._saver.steadily(work, thread)

    def shrink(self, *, full: bool) -> None:
        """Make room for what comes; `full` gives it back to the disk, and runs wait meanwhile."""
        self._run(
            "DELETE FROM asterism_leases l WHERE since < now() - interval '1 day' "
            "AND NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = l.thread_id)"
        )
        options = "FULL, ANALYZE" if full else "ANALYZE"
        for table in TABLES:
            self._run(f"VACUUM ({options}) {table}")

    def size(self) -> int:
        """Return how many bytes the tables and their indexes take."""
        (row,) = self._run(
            "SELECT sum(pg_total_relation_size(name::regclass))::bigint AS bytes "
            "FROM unnest(%s::text[]) AS name",
            (list(TABLES),),
        )
        return int(row["bytes"])

    def _run(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        def work(connection: Any) -> list[Any]:
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

        return self._saver.steadily(work)
