"""Operations: the queue, the workers and their runs, where the database has them.

Tests: tests/asterism/apps/ui/test_operations.py.
"""

from dataclasses import asdict
from typing import Any, Literal

from asterism.core.values import as_dict

NO_QUEUE = (
    "This database has no queue. Workers need Postgres: start the page with "
    "--db postgresql://..., after asterism migrate --db postgresql://... has made its tables."
)
CHILDREN_SHOWN = 50
_CHILDREN = """
SELECT thread_id, metadata -> %s AS record FROM checkpoints
WHERE checkpoint_ns = %s ORDER BY checkpoint_id DESC LIMIT %s
"""


def read_operations(saver: object) -> dict[str, Any]:
    """Show the queue of a database; `said` says why there is none.

    Args:
        saver: The database of the threads.
    """
    try:
        from asterism.apps.workers.status import queue_status
        from asterism.storage.postgres.saver import LeasedPostgresSaver
        from asterism.storage.postgres.schema import has_queue
    except ImportError:
        return {"said": NO_QUEUE}
    if not isinstance(saver, LeasedPostgresSaver) or not saver.steadily(has_queue):
        return {"said": NO_QUEUE}
    from asterism.supervision.child_records import KEY, PLACE

    values = (KEY, PLACE, CHILDREN_SHOWN)
    rows: list[Any] = saver.steadily(lambda c: c.execute(_CHILDREN, values).fetchall())
    found = asdict(queue_status(saver))
    return {
        **{name: found[name] for name in ("counts", "workers", "waiting", "running")},
        **{name: found[name] for name in ("paused", "failed")},
        "questions": len(found["questions"]),
        "children": [_child(row["thread_id"], as_dict(row["record"])) for row in rows],
    }


def _child(thread: str, record: dict[str, Any]) -> dict[str, Any]:
    usage = as_dict(record.get("usage"))
    shown = ("cost_usd", "tokens", "iterations", "restarts", "elapsed_seconds")
    return {
        "thread": thread,
        **{name: str(record.get(name) or "") for name in ("name", "status", "reason")},
        **{name: usage.get(name) or 0 for name in shown},
    }


async def steer_run(database: str, thread: str, action: Literal["pause", "resume", "kill"]) -> None:
    """Pause, resume or kill a run of the workers.

    Raises:
        ChildStateError: Nothing of it runs or waits in the queue.
        ConfigurationError: The database has no queue.
    """
    from asterism.apps.workers.supervisor import open_supervisor

    async with open_supervisor(database) as supervisor:
        await getattr(supervisor, f"{action}_child")(thread)
