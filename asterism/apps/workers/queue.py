"""The queue: procrastinate's tables in the database of the threads."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from asterism.apps.workers.job import JobArguments, JobCommand, read_work
from asterism.apps.workers.job_manager import PARKED, if_still_with, with_lease_checked_endings
from asterism.errors import ConfigurationError, StorageError
from asterism.storage.open import is_postgres
from asterism.storage.postgres.connection import Address
from asterism.storage.postgres.schema import has_queue
from asterism.supervision.quotas import AgentQuota

if TYPE_CHECKING:
    from procrastinate import App

NAME = "asterism"
"""The name of the queue."""
TASK = "asterism.go_on"
"""The name of the one task in it."""
_NEWS = f"procrastinate_queue_v1#{NAME}"
"""The channel on which the library tells its workers to look for work."""
ORDERS = "asterism_orders"
"""The channel on which workers are told that the work on a thread was changed."""

_HOLD = "SELECT pg_advisory_lock(hashtextextended('asterism worker ' || %s::bigint, 0))"
_VANISHED: Any = """
SELECT id, worker_id FROM procrastinate_jobs job,
    hashtextextended('asterism worker ' || worker_id, 0) AS key
WHERE task_name = %(task)s AND status = 'doing' AND worker_id IS DISTINCT FROM %(own)s
AND NOT EXISTS (
    SELECT FROM pg_locks lock WHERE lock.locktype = 'advisory' AND lock.granted
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND lock.classid::bigint = (key >> 32 & 4294967295) AND lock.objid::bigint = (key & 4294967295)
)
"""


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
    model: str | None = None,
    thread: str | None = None,
    priority: int = 0,
    key: str | None = None,
    quotas: Mapping[str, Any] | None = None,
) -> Queued:
    """Put a request into the queue.

    Args:
        url: A Postgres database that was migrated.
        graph: A shipped graph, or `module:attribute`, as workers can import it.
        request: What the user says.
        model: The model that the graph is built with. None: its own.
        thread: Go on with this conversation; otherwise a new one.
        priority: Higher comes first; requests of one thread stay in their order.
        key: Makes it safe to ask twice: the second time, the first request is returned.
        quotas: What the run may use, as fields of `AgentQuota`.

    Raises:
        ConfigurationError: The database is no Postgres, a package is missing, or a quota cannot
            be used.
        StorageError: The database cannot be used, or has no queue.
    """
    if not request.strip():
        raise ConfigurationError("The request is empty.")
    name = thread or (hashlib.sha256(key.encode()).hexdigest() if key else uuid.uuid4().hex)[:16]
    work = JobArguments(
        key=key or uuid.uuid4().hex,
        thread=name,
        graph=graph,
        model=model,
        request=request,
        quotas=validate_quotas(quotas),
    )
    async with open_queue(url) as queue:
        return await queue.put(work, priority)


async def enqueue_answers(
    url: str,
    thread: str,
    answers: dict[str, Any],
    *,
    graph: str,
    model: str | None,
    priority: int = 0,
) -> Queued:
    """Put checked answers to open questions into the queue; each question is answered once."""
    key = f"answer:{thread}:{','.join(sorted(answers))}"
    work = JobArguments(key=key, thread=thread, graph=graph, model=model, answers=answers)
    async with open_queue(url) as queue:
        return await queue.put(work, priority)


def validate_quotas(quotas: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return quotas as plain JSON.

    Raises:
        ConfigurationError: There is no such quota, or a value is not allowed.
    """
    if not quotas:
        return None
    known = [part.name for part in fields(AgentQuota)]
    if strange := [name for name in quotas if name not in known]:
        raise ConfigurationError(
            f"There is no quota {strange[0]!r}. Allowed: {', '.join(sorted(known))}."
        )
    checked = AgentQuota(**quotas).as_json()
    return {name: checked[name] for name in quotas}


class Queue:
    """The queue of a database."""

    def __init__(self, address: Address, app: "App") -> None:
        self.address = address
        self.app = app
        self.worker: int | None = None
        """The number of the worker that this process is."""
        self._presence: Any = None
        self._connecting = asyncio.Lock()
        app.job_manager = with_lease_checked_endings(app, self._register)

    async def _register(self, worker: int) -> None:
        async with self._connecting:
            await self.close()
            self.worker, self._presence = worker, None
        await self.hold_presence()

    async def hold_presence(self) -> None:
        """Hold the lock by which others see that this worker lives: it ends with its session."""
        from psycopg import AsyncConnection

        async with self._connecting:
            if self._presence is not None and not self._presence.closed:
                await self._presence.execute("SELECT 1")
            elif self.worker is not None:
                connect = AsyncConnection[Any].connect
                self._presence = await connect(self.address.conninfo, autocommit=True)
                await self._presence.execute(_HOLD, (self.worker,))

    async def close(self) -> None:
        """Give the lock back."""
        if self._presence is not None:
            await self._presence.close()

    async def put(self, work: JobArguments, priority: int = 0) -> Queued:
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

    async def set_job_facts(self, job: Any, **facts: Any) -> None:
        """Keep what there is to know of a job that is still ours."""
        await self.app.connector.execute_query_async(
            "UPDATE procrastinate_jobs SET args = args || %(facts)s "
            "WHERE id = %(id)s AND worker_id = %(worker)s",
            facts=facts,
            id=job.id,
            worker=job.worker_id,
        )

    async def set_command(self, thread: str, order: JobCommand | None) -> bool:
        """Give the work on a thread an order, or take the last one back; whether there is work.

        It stands with the work, wherever that is taken up; who is at it is told.
        """
        given = {"order": order.model_dump(mode="json", exclude_none=True)} if order else {}
        return await self._change(
            thread,
            "(args - 'order') || %(given)s",
            "%(due)s::timestamptz",
            given=given,
            due=PARKED if order is not None and order.kind == "pause" else None,
        )

    async def raise_quota(self, thread: str, quotas: Mapping[str, Any]) -> bool:
        """Give the work on a thread other quotas; what rests for one of them goes on."""
        asks = "args -> 'order' ->> 'asks' = ANY(%(names)s)"
        together = "COALESCE(args -> 'quotas', '{}') || %(quotas)s"
        return await self._change(
            thread,
            f"CASE WHEN {asks} THEN args - 'order' ELSE args END "
            f"|| jsonb_build_object('quotas', {together})",
            f"CASE WHEN {asks} THEN NULL ELSE scheduled_at END",
            quotas=validate_quotas(quotas),
            names=list(quotas),
        )

    async def _change(self, thread: str, arguments: str, when: str, **values: Any) -> bool:
        query = (
            f"WITH changed AS (UPDATE procrastinate_jobs SET args = {arguments}, "
            f"scheduled_at = CASE status WHEN 'todo' THEN {when} ELSE scheduled_at END "
            "WHERE task_name = %(task)s AND lock = %(thread)s AND status IN ('todo', 'doing') "
            "RETURNING id) SELECT pg_notify(%(channel)s, %(thread)s), pg_notify(%(news)s, "
            "json_build_object('type', 'job_inserted', 'job_id', id)::text) FROM changed"
        )
        rows = await self.app.connector.execute_query_all_async(
            cast(Any, query), task=TASK, thread=thread, channel=ORDERS, news=_NEWS, **values
        )
        return bool(rows)

    async def work(self, jobs: Collection[int]) -> dict[int, JobArguments]:
        """Return what jobs say now, by their ids."""
        rows = await self.app.connector.execute_query_all_async(
            "SELECT id, args FROM procrastinate_jobs WHERE id = ANY(%(jobs)s)", jobs=list(jobs)
        )
        return {row["id"]: read_work(row["args"]) for row in rows}

    async def vanished(self) -> dict[int, int | None]:
        """Return the jobs whose workers' sessions are gone, each with its worker."""
        rows = await self.app.connector.execute_query_all_async(
            _VANISHED, task=TASK, own=self.worker
        )
        return {row["id"]: row["worker_id"] for row in rows}

    async def rescue(self, silence: float, most: int) -> int:
        """Put the jobs of workers that were silent for too long back; return how many.

        Whose job has been put back too often is a job that kills its workers: it fails.
        """
        stalled = await self.app.job_manager.get_stalled_jobs(
            queue=NAME, task_name=TASK, seconds_since_heartbeat=silence
        )
        return await self.put_back({cast(int, job.id): job.worker_id for job in stalled}, most)

    async def put_back(self, jobs: Mapping[int, int | None], most: int) -> int:
        """Put jobs back that their workers have left, and tell workers to look for work."""
        ending = (
            "CASE WHEN own.attempts >= %(most)s "
            "THEN procrastinate_finish_job_v1(own.id, 'failed', false)::text "
            "ELSE procrastinate_retry_job_v2(own.id, now(), NULL, NULL, NULL)::text END, "
            "pg_notify(%(news)s, json_build_object('type', 'job_inserted', 'job_id', own.id)::text)"
        )
        count = 0
        for job, worker in jobs.items():
            rows = await self.app.connector.execute_query_all_async(
                if_still_with(ending), job_id=job, worker_id=worker, most=most, news=_NEWS
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
            "Workers need packages: pip install 'asterism-agents[workers]'."
        ) from error
    address = Address(url)
    with address.faults(), address.connect() as connection:
        if not has_queue(connection):
            raise StorageError(
                f"The database {address.shown!r} has no queue. Run once: asterism migrate --db URL"
            )
    connector = PsycopgConnector(
        conninfo=address.conninfo, min_size=1, max_size=4, configure=_at_once
    )
    app = App(connector=connector)
    queue = Queue(address, app)
    try:
        async with app.open_async():
            yield queue
    except ConnectorException as error:
        raise address.error(error.__cause__ or error) from error
    finally:
        await queue.close()


async def _at_once(connection: Any) -> None:
    """Commit each statement: a worker that is stopped before it commits would keep its locks."""
    await connection.set_autocommit(True)
