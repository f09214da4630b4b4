"""Checkpoints of a sqlite file as steps on the way back to one that is known."""

from collections.abc import Sequence
from functools import partial

from langgraph.checkpoint.base import PendingWrite, writes_sort_key
from langgraph.checkpoint.sqlite import SqliteSaver

from asterism.historycache import Place, Step

_STEP = (
    "SELECT parent_checkpoint_id, type, checkpoint FROM checkpoints "
    "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
)
_WRITES = (
    "SELECT task_path, task_id, idx, channel, type, value FROM writes "
    "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
)


def read_step(saver: SqliteSaver, place: Place, checkpoint: str) -> Step | None:
    """Read a checkpoint by its id; what was written after it is read when it is asked for."""
    with saver.cursor(transaction=False) as cursor:
        row = cursor.execute(_STEP, (*place, checkpoint)).fetchone()
    if row is None:
        return None
    parent, kind, stored = row

    def writes(channels: Sequence[str]) -> Sequence[PendingWrite]:
        with saver.cursor(transaction=False) as cursor:
            rows = cursor.execute(_WRITES, (*place, checkpoint)).fetchall()
        return [
            (task, channel, saver.serde.loads_typed((kind, value)))
            for _, task, _, channel, kind, value in sorted(
                rows, key=lambda row: writes_sort_key(*row[:3])
            )
            if channel in channels
        ]

    load = partial(saver.serde.loads_typed, (kind, stored))
    return Step(parent=parent, checkpoint=load, writes=writes)
