"""What led to a checkpoint in Postgres: the checkpoints before it, and what they wrote."""

from collections.abc import Collection, Generator, Mapping, Sequence
from functools import partial
from typing import Any

from langgraph.checkpoint.base import PendingWrite

from asterism.core.checkpoints import checked_seed
from asterism.core.history_cache import Place, Step
from asterism.core.values import as_dict
from asterism.storage.database_saver import PAGE, DatabaseSaver
from asterism.storage.serializers import decrypt_value

FIRST_PAGE = 16
"""How many checkpoints are looked at first: where a history is known, only the last few are new."""

_BACK = """
SELECT checkpoint_id AS id, parent_checkpoint_id AS parent, (
    SELECT jsonb_object_agg(name, checkpoint -> 'channel_values' -> name)
    FROM unnest(%(channels)s::text[]) AS name WHERE checkpoint -> 'channel_values' ? name
) AS plain, (
    SELECT jsonb_object_agg(name, version) FROM unnest(%(channels)s::text[]) AS name
    JOIN checkpoint_blobs b ON b.thread_id = c.thread_id AND b.checkpoint_ns = c.checkpoint_ns
    AND b.channel = name AND b.version = c.checkpoint -> 'channel_versions' ->> name
    WHERE b.type <> 'empty'
) AS apart
FROM checkpoints c WHERE thread_id = %(thread)s AND checkpoint_ns = %(namespace)s
AND checkpoint_id <= %(newest)s ORDER BY checkpoint_id DESC LIMIT %(size)s
"""
"""What comes before a checkpoint has a smaller id; values that are not plain are stored apart."""

_BLOBS = """
SELECT channel, type, blob FROM unnest(%(channels)s::text[], %(versions)s::text[]) AS named (c, v)
JOIN checkpoint_blobs ON thread_id = %(thread)s AND checkpoint_ns = %(namespace)s
AND channel = c AND version = v
"""

_WRITES = """
SELECT checkpoint_id, task_path, task_id, idx, channel, type, blob FROM checkpoint_writes
WHERE thread_id = %(thread)s AND checkpoint_ns = %(namespace)s
AND checkpoint_id = ANY(%(steps)s) AND channel = ANY(%(channels)s)
"""


class PostgresLineage:
    """What led to a checkpoint, as a connection reads it."""

    def __init__(
        self,
        saver: DatabaseSaver,
        connection: Any,
        place: Place,
        target: str,
        channels: Sequence[str],
    ) -> None:
        self._saver = saver
        self._connection = connection
        self._place = place
        self._target = target
        self._sought = set(channels)

    def back(self) -> Generator[Step]:
        """Yield the checkpoints before it, the nearest first, each once."""
        wanted: Any = self._target
        newest, size = self._target, FIRST_PAGE
        channels = [*self._sought]
        while True:
            rows = self._read(_BACK, newest=newest, size=size, channels=channels)
            for row in rows:
                if row["id"] != wanted:
                    continue
                if wanted != self._target:
                    yield Step(wanted, partial(self._load, row))
                wanted = row["parent"]
            if wanted is None or len(rows) < size:
                return
            newest, size = rows[-1]["id"], PAGE

    def _load(self, row: Mapping[str, Any]) -> Any:
        """Return the values that are stored with a checkpoint, each of a channel once."""
        plain, apart = as_dict(row["plain"]), as_dict(row["apart"])
        values = {name: plain[name] for name in self._sought if plain.get(name) is not None}
        apart = {name: apart[name] for name in self._sought if name in apart}
        if apart:
            serde = self._saver.serde
            for blob in self._read(_BLOBS, channels=[*apart], versions=[*apart.values()]):
                value = serde.loads_typed((blob["type"], blob["blob"]))
                values[blob["channel"]] = decrypt_value(serde, value, "blob", *self._place)
        self._sought -= values.keys()
        return {"channel_values": {name: checked_seed(name, v) for name, v in values.items()}}

    def writes(
        self, steps: Sequence[str], channels: Collection[str]
    ) -> Mapping[str, Sequence[PendingWrite]]:
        """Read what was written to channels after some of these, by checkpoint, in order."""
        rows = self._read(_WRITES, steps=[*steps], channels=[*channels])
        return self._saver.decode_writes(self._place, [[*row.values()] for row in rows])

    def _read(self, query: str, **values: Any) -> list[dict[str, Any]]:
        place = {"thread": self._place[0], "namespace": self._place[1]}
        found: list[dict[str, Any]] = self._connection.execute(
            query, {**place, **values}, binary=True
        ).fetchall()
        return found
