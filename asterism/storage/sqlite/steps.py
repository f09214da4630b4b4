"""What led to a checkpoint in a sqlite file: the checkpoints before it, and what they wrote."""

import json
from collections import defaultdict
from collections.abc import Collection, Generator, Mapping, Sequence
from functools import partial
from typing import Any

from langgraph.checkpoint.base import PendingWrite, writes_sort_key
from langgraph.checkpoint.sqlite import SqliteSaver

from asterism.core.checkpoints import validate_write
from asterism.core.history_cache import Place, Step
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
    """What led to a checkpoint, as a saver has it."""

    def __init__(self, saver: SqliteSaver, place: Place, target: str) -> None:
        self._saver = saver
        self._place = {"thread": place[0], "namespace": place[1]}
        self._target = target

    def back(self) -> Generator[Step]:
        """Yield the checkpoints before it, the nearest first, each once."""
        seen = {self._target}  # one that was stored again, after its own child, makes a loop
        with self._saver.cursor(transaction=False) as cursor:
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
        with self._saver.cursor(transaction=False) as cursor:
            rows = cursor.execute(_WRITES, {**self._place, **what}).fetchall()
        found: defaultdict[str, list[PendingWrite]] = defaultdict(list)
        serde, place = self._saver.serde, tuple(self._place.values())
        for step, _, task, _, channel, kind, value in sorted(
            rows, key=lambda row: writes_sort_key(*row[1:4])
        ):
            read = serde.loads_typed((kind, value))
            read = decrypt_value(serde, read, "write", *place, step, task, channel)
            found[step].append((task, channel, validate_write(channel, read)))
        return found
