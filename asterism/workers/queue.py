"""The queue: procrastinate's tables in the database of the threads."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from asterism.errors import ConfigurationError, StorageError
from asterism.postgres.connecting import Address
from asterism.postgres.schema import has_queue
from asterism.storage import is_postgres
from asterism.workers.work import Work

if TYPE_CHECKING:
    from procrastinate import App

NAME = "asterism"
"""The name of the queue."""
TASK = "asterism.go_on"
"""The name of the one task in it."""
PATIENCE = 90.0
"""Seconds for which the end of a job is kept where the database is gone."""


@dataclass(frozen=True, kw_only=True)
class Queued:
    """Where a request stands."""

    thread: str
    job: int
    new: bool
    """False where a request with its key was queued before."""


async def enqueue(
    url: str,
    graph: str,
    request: str,
    *,
    model: str,
    thread: str | None = None,
    priority: int = 0,
    key: str | None = None,
) -> Queued:
    """Put a request into the queue.

    Args:
        url: A Postgres database that was migrated.
        graph: A shipped graph, or `module:attribute`, as workers can import it.
        request: What the user says.
        model: The model of the graph.
        thread: Go on with this conversation; otherwise a new one.
        priority: Higher comes first; requests of one thread stay in their order.
        key: Makes it safe to ask twice: the second time, the first request is returned.

    Raises:
        ConfigurationError: The database is no Postgres, or a package is missing.
        StorageError: The database cannot be used, or has no queue.
    """
    if not request.strip():
        raise ConfigurationError("The request is empty.")
    name = thread or (hashlib.sha256(key.encode()).hexdigest() if key else uuid.uuid4().hex)[:16]
    work = Work(key=key or uuid.uuid4().hex, thread=name, graph=graph, model=model, request=request)
    async with open_queue(url) as queue:
        return await queue.put(work, priority)


async def enqueue_answers(
    url: str, thread: str, answers: dict[str, Any], *, graph: str, model: str, priority: int = 0
) -> Queued:
    """Put checked answers to open questions into the queue; each question is answered once."""
    key = f"answer:{thread}:{','.join(sorted(answers))}"
    work = Work(key=key, thread=thread, graph=graph, model=model, answers=answers)
    async with open_queue(url) as queue:
        return await queue.put(work, priority)


class Queue:
    """The queue of a database."""

    def __init__(self, address: Address, app: "App") -> None:
        self._address = address
        self.app = app

    async def put(self, work: Work, priority: int = 0) -> Queued:
        """Queue a piece of work, unless its key was queued before."""
        from procrastinate.exceptions import UniqueViolation

        deferrer = self.app.configure_task(TASK, queue=NAME, lock=work.thread, priority=priority)
        try:
            job = await deferrer.defer_async(**work.model_dump(mode="json", exclude_none=True))
        except UniqueViolation:
            found = await self.app.connector.execute_query_one_async(
                "SELECT id, lock FROM procrastinate_jobs "
                "WHERE task_name = %(task)s AND args ->> 'key' = %(key)s",
                task=TASK,
                key=work.key,
            )
            return Queued(thread=found["lock"], job=found["id"], new=False)
        return Queued(thread=work.thread, job=job, new=True)

    async def note(self, job: Any, error: str) -> None:
        """Keep what went wrong with a job that is still ours."""
        await self.app.connector.execute_query_async(
            "UPDATE procrastinate_jobs SET args = args || jsonb_build_object('error', "
            "%(error)s::text) WHERE id = %(id)s AND worker_id = %(worker)s",
            error=error,
            id=job.id,
            worker=job.worker_id,
        )

    async def rescue(self, silence: float, most: int) -> int:
        """Put the jobs of workers that were silent for too long back; return how many.

        Whose job has been put back too often is a job that kills its workers: it fails.
        """
        stalled = await self.app.job_manager.get_stalled_jobs(
            queue=NAME, task_name=TASK, seconds_since_heartbeat=silence
        )
        count = 0
        for job in stalled:
            if job.attempts >= most:
                ending = "procrastinate_finish_job_v1(own.id, 'failed', false)"
            else:
                ending = "procrastinate_retry_job_v2(own.id, now(), NULL, NULL, NULL)"
            rows = await self.app.connector.execute_query_all_async(
                _if_still_with(ending), job_id=job.id, worker_id=job.worker_id
            )
            count += len(rows)
        return count


@asynccontextmanager
async def open_queue(url: str) -> AsyncGenerator[Queue]:
    """Open the queue of a database.

    Raises:
        ConfigurationError: The database is no Postgres, or a package is missing.
        StorageError: The database cannot be used, or has no queue.
    """
    if not is_postgres(url):
        raise ConfigurationError(
            "A queue needs a Postgres database: --db postgresql://user:password@host/name."
        )
    try:
        from procrastinate import App, PsycopgConnector
        from procrastinate.exceptions import ConnectorException
    except ImportError as error:
        raise ConfigurationError(
            "Workers need packages: pip install 'asterism[workers]'."
        ) from error
    address = Address(url)
    with address.faults(), address.connect() as connection:
        if not has_queue(connection):
            raise StorageError(
                f"The database {address.shown!r} has no queue. Run once: asterism migrate --db URL"
            )
    app = App(connector=PsycopgConnector(conninfo=address.conninfo, min_size=1, max_size=4))
    app.job_manager = _managed(app)
    try:
        async with app.open_async():
            yield Queue(address, app)
    except ConnectorException as error:
        raise address.error(error.__cause__ or error) from error


def _managed(app: "App") -> Any:
    """Make a manager that ends a job only while it is ours, and waits for the database."""
    from procrastinate.exceptions import ConnectorException
    from procrastinate.manager import JobManager

    async def end(query: str, job: Any, **values: Any) -> None:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + PATIENCE, 0.1
        while True:
            try:
                await app.connector.execute_query_all_async(
                    _if_still_with(query), job_id=job.id, worker_id=job.worker_id, **values
                )
                return
            except ConnectorException:
                if loop.time() > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2)

    class _Jobs(JobManager):
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
            query = f"procrastinate_retry_job_v2(own.id, {when}, NULL, NULL, NULL)"
            await end(query, job, at=retry_at)

    return _Jobs(app.connector)


def _if_still_with(call: str) -> Any:
    """Return a query that makes a call for a job that still runs at a worker.

    A worker that was stopped and woken must not end what somebody else has begun since.
    """
    return (
        f"SELECT {call} FROM (SELECT id FROM procrastinate_jobs WHERE id = %(job_id)s "
        "AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %(worker_id)s FOR UPDATE) AS own"
    )
