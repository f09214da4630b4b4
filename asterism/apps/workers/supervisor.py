"""Supervision across workers: the runs of all of them are seen and steered from anywhere."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from asterism.apps.workers.event_relay import receive_events
from asterism.apps.workers.job import QUOTAS, JobCommand
from asterism.apps.workers.queue import TASK, Queue, open_queue
from asterism.core.values import as_dict
from asterism.errors import ChildStateError, UnknownChildError
from asterism.events import EventBus
from asterism.supervision.child_records import KEY, PLACE
from asterism.supervision.config import quota_from
from asterism.supervision.quotas import AgentQuotaUsage
from asterism.supervision.status import ENDED, AgentProgress, ChildStatus, SupervisedAgent

POLL = 0.1
"""Seconds between two looks at a run."""

_RECORD = """
SELECT metadata -> %(key)s AS record FROM checkpoints
WHERE thread_id = %(thread)s AND checkpoint_ns = %(place)s
"""
_QUEUED = """
SELECT args FROM procrastinate_jobs WHERE task_name = %(task)s AND lock = %(thread)s
ORDER BY id DESC LIMIT 1
"""
_BEGUN = """
SELECT metadata -> %(key)s ->> 'status' AS status, count(*) AS count,
    sum((metadata #>> ARRAY[%(key)s, 'usage', 'cost_usd'])::numeric) AS cost,
    sum((metadata #>> ARRAY[%(key)s, 'usage', 'tokens'])::bigint) AS tokens,
    sum((metadata #>> ARRAY[%(key)s, 'usage', 'iterations'])::bigint) AS iterations,
    sum((metadata #>> ARRAY[%(key)s, 'usage', 'restarts'])::bigint) AS restarts
FROM checkpoints WHERE checkpoint_ns = %(place)s GROUP BY 1
"""
_NOT_BEGUN = """
SELECT CASE status WHEN 'failed' THEN 'failed' WHEN 'todo' THEN 'pending'
    WHEN 'doing' THEN 'pending' ELSE 'killed' END AS status, count(DISTINCT lock) AS count
FROM procrastinate_jobs j WHERE task_name = %(task)s AND status <> 'succeeded' AND NOT EXISTS (
    SELECT 1 FROM checkpoints c WHERE c.thread_id = j.lock AND c.checkpoint_ns = %(place)s
) GROUP BY 1
"""


class QueueSupervisor:
    """Sees and steers the runs of all workers of a database, each by its thread."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def pause_child(self, thread: str, reason: str = "it was told to pause") -> None:
        """Let a run rest at its next step boundary, or not begin, until it is resumed.

        Raises:
            ChildStateError: Nothing of it runs or waits in the queue.
        """
        await self._order(thread, "paused", JobCommand(kind="pause", reason=reason))

    async def kill_child(self, thread: str, reason: str = "it was told to stop") -> None:
        """Stop a run at once and for good; what it has stored stays.

        Raises:
            ChildStateError: Nothing of it runs or waits in the queue.
        """
        await self._order(thread, "killed", JobCommand(kind="kill", reason=reason))

    async def resume_child(self, thread: str) -> None:
        """Let a run go on that was paused.

        Raises:
            ChildStateError: Nothing of it waits in the queue.
        """
        await self._order(thread, "resumed", None)

    async def raise_quota(self, thread: str, **limits: Any) -> None:
        """Give a run other quotas; one that asks for it goes on, and repeats nothing.

        Raises:
            ChildStateError: Nothing of it runs or waits in the queue.
            ConfigurationError: There is no such quota, or a value is not allowed.
        """
        if not await self._queue.raise_quota(thread, limits):
            raise _idle(thread, "given other quotas")

    async def child(self, thread: str) -> SupervisedAgent:
        """Return what is known of a run.

        Raises:
            UnknownChildError: It was never queued.
        """
        found = await self._read(_RECORD, thread=thread)
        if found:
            return _agent(thread, as_dict(found[0]["record"]))
        if not (queued := await self._read(_QUEUED, thread=thread)):
            raise UnknownChildError(f"Nothing was ever queued for the thread {thread!r}.")
        return _agent(thread, {"name": queued[0]["args"]["graph"], "status": "pending"})

    async def settled(self, thread: str) -> SupervisedAgent:
        """Wait until a run has ended, or rests, and return what is known of it then.

        Raises:
            UnknownChildError: It was never queued.
        """
        while (found := await self.child(thread)).status not in (*ENDED, ChildStatus.PAUSED):
            await asyncio.sleep(POLL)
        return found

    async def aggregate_progress(self) -> AgentProgress:
        """Add up how far all runs are, and what they have used."""
        total = AgentProgress()
        for row in await self._read(_BEGUN):
            total += AgentProgress(
                counts=_counts(row),
                cost_usd=Decimal(row["cost"] or 0),
                tokens=int(row["tokens"] or 0),
                iterations=int(row["iterations"] or 0),
                restarts=int(row["restarts"] or 0),
                supervisors=0,
            )
        for row in await self._read(_NOT_BEGUN):
            total += AgentProgress(counts=_counts(row), supervisors=0)
        return total

    async def _order(self, thread: str, word: str, order: JobCommand | None) -> None:
        if not await self._queue.set_command(thread, order):
            raise _idle(thread, word)

    async def _read(self, query: Any, **values: Any) -> list[dict[str, Any]]:
        given = {"key": KEY, "place": PLACE, "task": TASK, **values}
        return await self._queue.app.connector.execute_query_all_async(query, **given)


@asynccontextmanager
async def open_supervisor(
    url: str, *, bus: EventBus | None = None
) -> AsyncGenerator[QueueSupervisor]:
    """Supervise the workers of a database.

    Args:
        url: A Postgres database that was migrated.
        bus: Is told what happens in all of them, from now on.

    Raises:
        ConfigurationError: The database is no Postgres, or a package is missing.
        StorageError: The database cannot be used, or has no queue.
    """
    async with open_queue(url) as queue:
        hearing: asyncio.Task[None] | None = None
        if bus is not None:
            ready = asyncio.Event()
            hearing = asyncio.create_task(receive_events(queue.address, bus, ready))
            await ready.wait()
        try:
            yield QueueSupervisor(queue)
        finally:
            if hearing is not None:
                hearing.cancel()
                await asyncio.wait({hearing})


def _idle(thread: str, word: str) -> ChildStateError:
    return ChildStateError(
        f"Nothing of the thread {thread!r} runs or waits in the queue, so it cannot be {word}. "
        "See: asterism status"
    )


def _counts(row: Mapping[str, Any]) -> dict[ChildStatus, int]:
    return {**dict.fromkeys(ChildStatus, 0), ChildStatus(row["status"]): row["count"]}


def _agent(thread: str, record: Mapping[str, Any]) -> SupervisedAgent:
    usage = as_dict(record.get("usage"))
    return SupervisedAgent(
        id=str(record.get("id") or thread),
        name=str(record["name"]),
        thread_id=thread,
        status=ChildStatus(record["status"]),
        attempt=0,
        usage=AgentQuotaUsage(
            elapsed_seconds=float(usage.get("elapsed_seconds", 0)),
            cost_usd=Decimal(usage.get("cost_usd", 0)),
            tokens=usage.get("tokens", 0),
            iterations=usage.get("iterations", 0),
            heartbeats=usage.get("heartbeats", 0),
            restarts=usage.get("restarts", 0),
            quota=quota_from(as_dict(record.get("quota")), QUOTAS),
        ),
        reason=str(record.get("reason") or ""),
        metadata=as_dict(record.get("metadata")),
    )
