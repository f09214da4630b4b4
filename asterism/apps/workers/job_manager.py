"""How jobs end: only at the hands of the worker that has them, and when the database is back."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from procrastinate import App

PARKED = datetime(2999, 1, 1, tzinfo=UTC)
"""When work is due that waits for somebody to say so. It is a date and no status of its own, so
that later requests of the thread wait behind it."""
PATIENCE = 90.0
"""Seconds for which the end of a job is kept where the database is gone."""


def with_lease_checked_endings(app: "App", on_register: Callable[[int], Awaitable[None]]) -> Any:
    """Make a manager that ends a job only while it is ours, and waits for the database.

    Args:
        app: The app that it is for.
        on_register: Is called with the number of a worker before that takes its first job.
    """
    from procrastinate.exceptions import ConnectorException
    from procrastinate.manager import JobManager

    async def end(query: str, job: Any, **values: Any) -> None:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + PATIENCE, 0.1
        while True:
            try:
                await app.connector.execute_query_all_async(
                    if_still_with(query), job_id=job.id, worker_id=job.worker_id, **values
                )
                return
            except ConnectorException:
                if loop.time() > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2)

    class _Jobs(JobManager):
        async def register_worker(self) -> int:
            number = await super().register_worker()
            await on_register(number)
            return number

        async def finish_job(self, job: Any, status: Any, delete_job: bool) -> None:
            query = "procrastinate_finish_job_v1(own.id, %(status)s, %(delete_job)s)"
            await end(query, job, status=status.value, delete_job=delete_job)

        async def retry_job(
            self,
            job: Any,
            retry_at: datetime | None = None,
            priority: int | None = None,
            queue: str | None = None,
            lock: str | None = None,
        ) -> None:
            when = "COALESCE(%(at)s::timestamptz, now())"
            if retry_at == PARKED:  # unless it was told to go on, or to end, meanwhile
                rests = "own.args -> 'order' ->> 'kind' = 'pause'"
                when = f"CASE WHEN {rests} THEN %(at)s::timestamptz ELSE now() END"
            query = f"procrastinate_retry_job_v2(own.id, {when}, NULL, NULL, NULL)"
            await end(query, job, at=retry_at)

    return _Jobs(app.connector)


def if_still_with(call: str) -> Any:
    """Return a query that makes a call for a job that still runs at a worker.

    A worker that was stopped and woken must not end what somebody else has begun since.
    """
    return (
        f"SELECT {call} FROM (SELECT id, args, attempts FROM procrastinate_jobs "
        "WHERE id = %(job_id)s AND status = 'doing' "
        "AND worker_id IS NOT DISTINCT FROM %(worker_id)s FOR UPDATE) AS own"
    )
