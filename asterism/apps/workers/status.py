"""How the queue stands: what waits, what runs where, what failed, who is asked."""

from dataclasses import dataclass
from typing import Any

from langgraph.types import Interrupt

from asterism.apps.workers.queue import TASK
from asterism.core.interrupts import PendingRequest, request_of
from asterism.core.values import as_list
from asterism.graphs.workflow_config import VERSION
from asterism.storage.postgres.saver import LeasedPostgresSaver
from asterism.storage.serializers import decrypt_value

SHOWN = 20
"""How many of each kind are listed."""

_COUNTS = """
SELECT CASE WHEN status = 'todo' AND args ? 'order' THEN 'paused' ELSE status::text END AS name,
    count(*) AS count
FROM procrastinate_jobs WHERE task_name = %s GROUP BY 1 ORDER BY 1
"""
_WORKERS = """
SELECT w.id, extract(epoch FROM now() - w.last_heartbeat)::float AS silent, count(j.id) AS runs
FROM procrastinate_workers w
LEFT JOIN procrastinate_jobs j ON j.worker_id = w.id AND j.status = 'doing'
GROUP BY w.id ORDER BY w.id
"""
_JOBS = """
SELECT j.id, j.lock AS thread, j.args ->> 'graph' AS graph, j.attempts, j.priority,
    COALESCE(j.args -> 'order' ->> 'reason', j.args ->> 'error') AS why,
    extract(epoch FROM now() - (
        SELECT max(e.at) FROM procrastinate_events e WHERE e.job_id = j.id
    ))::float AS seconds
FROM procrastinate_jobs j
WHERE j.task_name = %s AND j.status = %s AND (j.status = 'todo' AND j.args ? 'order') = %s
ORDER BY j.priority DESC, j.id LIMIT %s
"""
_QUESTIONS = """
SELECT w.thread_id, w.checkpoint_ns, w.task_id, w.channel, w.type, w.blob
FROM checkpoint_writes w
WHERE w.channel = '__interrupt__' AND w.checkpoint_ns = '' AND w.checkpoint_id = (
    SELECT max(c.checkpoint_id) FROM checkpoints c
    WHERE c.thread_id = w.thread_id AND c.checkpoint_ns = ''
)
AND NOT EXISTS (
    SELECT 1 FROM procrastinate_jobs j WHERE j.lock = w.thread_id AND j.status IN ('todo', 'doing')
)
ORDER BY w.checkpoint_id LIMIT %s
"""
_VERSIONS = """
WITH live AS (
    SELECT lock AS thread FROM procrastinate_jobs
    WHERE task_name = %s AND status IN ('todo', 'doing')
    UNION SELECT w.thread_id FROM checkpoint_writes w
    WHERE w.channel = '__interrupt__' AND w.checkpoint_ns = '' AND w.checkpoint_id = (
        SELECT max(c.checkpoint_id) FROM checkpoints c
        WHERE c.thread_id = w.thread_id AND c.checkpoint_ns = ''
    )
)
SELECT COALESCE((
    SELECT c.metadata ->> %s FROM checkpoints c
    WHERE c.thread_id = live.thread AND c.checkpoint_ns = ''
    ORDER BY c.checkpoint_id DESC LIMIT 1
), '') AS version, count(*) AS count FROM live GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A piece of work in the queue."""

    id: int
    thread: str
    graph: str
    tries: int
    priority: int
    seconds: float
    """For how long it has stood so."""
    why: str | None
    """Why it rests, or what went wrong the last time."""


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker that is known to the database."""

    id: int
    silent_seconds: float
    runs: int


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """How the queue of a database stands."""

    counts: dict[str, int]
    """How many pieces of work wait (`todo`), run (`doing`), are over and how."""
    workers: tuple[WorkerState, ...]
    waiting: tuple[Job, ...]
    """What is taken up next."""
    running: tuple[Job, ...]
    paused: tuple[Job, ...]
    """What rests until somebody says otherwise, or raises a quota."""
    failed: tuple[Job, ...]
    questions: tuple[tuple[str, PendingRequest], ...]
    """Open questions to people, each with its thread."""
    versions: dict[str, int]
    """How many threads with work or a question which version of their team has stored; empty:
    none, also of new ones."""


def queue_status(saver: LeasedPostgresSaver, *, shown: int = SHOWN) -> QueueStatus:
    """Look how the queue of a database stands.

    Args:
        saver: The database, with tables for the queue.
        shown: How many jobs and questions of each kind are listed, at most.
    """

    def read(query: str, *values: Any) -> list[Any]:
        rows: list[Any] = saver.steadily(
            lambda connection: connection.execute(query, values or None).fetchall()
        )
        return rows

    def jobs(status: str, *, paused: bool = False) -> tuple[Job, ...]:
        return tuple(_job(row) for row in read(_JOBS, TASK, status, paused, shown))

    return QueueStatus(
        counts={row["name"]: row["count"] for row in read(_COUNTS, TASK)},
        workers=tuple(
            WorkerState(id=row["id"], silent_seconds=row["silent"], runs=row["runs"])
            for row in read(_WORKERS)
        ),
        waiting=jobs("todo"),
        running=jobs("doing"),
        paused=jobs("todo", paused=True),
        failed=jobs("failed"),
        questions=tuple(
            (row["thread_id"], request_of(interrupt))
            for row in read(_QUESTIONS, shown)
            for interrupt in _interrupts(saver, row)
        ),
        versions={row["version"]: row["count"] for row in read(_VERSIONS, TASK, VERSION)},
    )


def _interrupts(saver: LeasedPostgresSaver, row: Any) -> list[Interrupt]:
    read = saver.serde.loads_typed((row["type"], bytes(row["blob"])))
    where = (row["thread_id"], row["checkpoint_ns"], row["task_id"], row["channel"])
    value: object = decrypt_value(saver.serde, read, "write", *where)
    return [item for item in as_list(value) if isinstance(item, Interrupt)]


def _job(row: Any) -> Job:
    return Job(
        id=row["id"],
        thread=row["thread"],
        graph=row["graph"],
        tries=row["attempts"],
        priority=row["priority"],
        seconds=row["seconds"] or 0.0,
        why=row["why"],
    )
