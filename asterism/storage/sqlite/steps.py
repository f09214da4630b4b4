"""What led to a checkpoint in a sqlite file: the checkpoints before it, and what they wrote."""

import json
import sqlite3
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from langgraph.checkpoint.base import PendingWrite

from asterism.core.history_cache import Place, Step
from asterism.storage.database_saver import DatabaseSaver
from asterism.storage.serializers import Sealed, decrypt_value, digest

_BACK = """
WITH RECURSIVE line(id, parent, kind, stored, facts) AS (
    SELECT checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints
    WHERE thread_id = :thread AND checkpoint_ns = :namespace AND checkpoint_id = :target
    UNION ALL
    SELECT checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
    FROM line CROSS JOIN checkpoints ON checkpoint_id = line.parent
    WHERE thread_id = :thread AND checkpoint_ns = :namespace
) SELECT id, kind, stored, facts FROM line
"""
"""A cross join keeps its order, so that each step back is one look at the primary key."""

_WRITES = """
SELECT checkpoint_id, task_path, task_id, idx, channel, writes.type, writes.value
FROM json_each(:steps) AS step CROSS JOIN writes ON checkpoint_id = step.value
WHERE thread_id = :thread AND checkpoint_ns = :namespace
    AND channel IN (SELECT value FROM json_each(:channels))
"""


class SqliteLineage:
    """What led to a checkpoint, as a saver has it; `cursor` opens one to read."""

    def __init__(
        self,
        saver: DatabaseSaver,
        cursor: Callable[[], AbstractContextManager[sqlite3.Cursor]],
        place: Place,
        target: str,
    ) -> None:
        self._saver = saver
        self._cursor = cursor
        self._place = {"thread": place[0], "namespace": place[1]}
        self._target = target

    def back(self) -> Generator[Step]:
        """Yield the checkpoints before it, the nearest first, each once."""
        seen = {self._target}  # one that was stored again, after its own child, makes a loop
        with self._cursor() as cursor:
            rows = cursor.execute(_BACK, {**self._place, "target": self._target})
            next(rows, None)
            for name, kind, stored, facts in rows:
                if name in seen:
                    return
                seen.add(name)
                yield Step(name, partial(self._load, name, kind, stored, facts))

    def _load(self, name: str, kind: str, stored: bytes, facts: bytes | str) -> Any:
        serde = self._saver.serde
        value = serde.loads_typed((kind, stored))
        if isinstance(value, Sealed):
            where = ("checkpoint", *self._place.values(), name, digest(json.loads(facts)))
            value = decrypt_value(serde, value, *where)
        return value

    def writes(
        self, steps: Sequence[str], channels: Collection[str]
    ) -> Mapping[str, Sequence[PendingWrite]]:
        """Read what was written to channels after some of these, by checkpoint, in order."""
        what = {"steps": json.dumps(steps), "channels": json.dumps([*channels])}
        with self._cursor() as cursor:
            rows = cursor.execute(_WRITES, {**self._place, **what}).fetchall()
        return self._saver.decode_writes((self._place["thread"], self._place["namespace"]), rows)
