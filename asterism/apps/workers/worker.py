"""A worker: takes work from the queue, so much at once, until it is told to stop."""

import asyncio
import logging
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.apps.stored_threads import check_model_label
from asterism.apps.workers.event_relay import Relay
from asterism.apps.workers.job import JobArguments, JobCommand, read_work
from asterism.apps.workers.job_runs import (
    MOST_TRIES,
    QueuedChild,
    RequeueJobError,
    WorkerChildHost,
    outcome_of_failure,
    requeue_delay,
    strategy,
)
from asterism.apps.workers.queue import NAME, ORDERS, TASK, Queue, open_queue
from asterism.core.checkpoints import checkpoint_key
from asterism.core.continuation import Graph
from asterism.core.thread_lease import atake_lease, with_process_leases
from asterism.core.values import describe_error
from asterism.errors import ChildKilledError, ConfigurationError, ThreadBusyError
from asterism.events import EventBus
from asterism.graphs.catalog import allowed_graphs, check_named, open_graph
from asterism.graphs.migrations import version_of
from asterism.graphs.request_checks import is_at_rest
from asterism.storage.postgres.connection import notices
from asterism.storage.postgres.lease_connections import LEASE
from asterism.storage.postgres.saver import open_saver
from asterism.storage.serializers import serializer
from asterism.supervision.config import SupervisorConfig

CONCURRENCY = 10
"""How many runs a worker drives at once."""
LOOK_SECONDS = 0.7
"""Seconds between two looks whether other workers live."""
LOOKS = 3
"""How many looks in a row have to find the session of a worker gone: one whose connection was lost
connects again meanwhile."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What came of a job, for whoever watches."""

    thread: str
    outcome: str
    """`"completed"`, `"waiting"`, `"paused"`, `"stopped"`, `"retry"`, `"failed"` or `"killed"`."""
    error: str | None = None


class Worker:
    """Runs what stands in the queue of a database.

    Args:
        saver: The database.
        queue: Its queue.
        graphs: Graphs as `module:attribute` that jobs may name, besides those that are shipped
            and those of `asterism.toml`.
        lease: Seconds of silence after which this worker's runs go on elsewhere.
        config: How runs are kept.
        on_done: Is told what came of each job.
        bus: Where it is told what happens; all who listen at the database hear it as well.
        versions: Take no threads but those that these versions of their teams have stored. None:
            new ones, and those whose version their team has or has a migration from.
    """

    def __init__(
        self,
        saver: BaseCheckpointSaver[Any],
        queue: Queue,
        *,
        graphs: Sequence[str] = (),
        lease: float = LEASE,
        config: SupervisorConfig | None = None,
        on_done: Callable[[JobResult], None] | None = None,
        bus: EventBus | None = None,
        versions: Sequence[str] = (),
    ) -> None:
        self._versions = tuple(versions)
        self._named = allowed_graphs(graphs)
        bus = bus or EventBus(history=0)
        self._saver = saver
        self._within = with_process_leases(saver)
        self._queue = queue
        self._lease = lease
        self._on_done = on_done or _ignore
        self._relay = Relay(queue, bus)
        self._nursery = WorkerChildHost(self._within, bus, config or SupervisorConfig())
        self._graphs: dict[tuple[str, str | None, bool], asyncio.Future[Graph]] = {}
        self._children: dict[int, QueuedChild] = {}
        self._stopping = False
        self._taken = 0
        self._running: asyncio.Task[None] | None = None
        queue.app.task(name=TASK, queue=NAME, retry=strategy(lease), pass_context=True)(self._job)

    async def run(self, concurrency: int = CONCURRENCY, *, wait: bool = True) -> None:
        """Work until `stop` is called; `wait=False`: until the queue is empty.

        A database that is gone is waited for.
        """
        beside = [asyncio.ensure_future(work()) for work in (self._rescue, self._hear_orders)]
        relay = asyncio.ensure_future(self._relay.run())
        try:
            while not self._stopping:
                before = self._taken
                await self._work(concurrency, wait)
                if not wait and self._taken == before:
                    break
        finally:
            for work in beside:
                work.cancel()
            self._relay.stop()
            await asyncio.gather(*beside, relay, return_exceptions=True)

    def stop(self) -> None:
        """Take no more work, and put what runs back at its next step; again: at once."""
        if not self._stopping:
            self._stopping = True
            for child in self._children.values():
                child.hand_back("its worker stops")
        if self._running is not None:
            self._running.cancel()  # the library takes it as a wish, and waits for its jobs

    async def _work(self, concurrency: int, wait: bool) -> None:
        self._running = asyncio.ensure_future(
            self._queue.app.run_worker_async(
                queues=[NAME],
                name="asterism",
                concurrency=concurrency,
                wait=wait,
                install_signal_handlers=False,
                update_heartbeat_interval=self._lease / 3,
                stalled_worker_timeout=self._lease,
                fetch_job_polling_interval=max(1.0, self._lease / 6),
            )
        )
        try:
            await self._running
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        except Exception as error:  # the database is gone, or was
            if self._stopping or not wait:
                raise
            _log.warning("the queue cannot be used, trying again: %s", describe_error(error))
            await asyncio.sleep(1)

    async def _job(self, context: Any, /, **arguments: Any) -> str:
        self._taken += 1
        work = read_work(arguments)
        try:
            outcome = await self._run_with_lease(context.job, work)
        except BaseException as error:
            await self._record_failure(context.job, work, error)
            if isinstance(error, ChildKilledError):
                from procrastinate.exceptions import JobAborted

                raise JobAborted from error
            raise
        self._on_done(JobResult(thread=work.thread, outcome=outcome))
        return outcome

    async def _run_with_lease(self, job: Any, work: JobArguments) -> str:
        """Do a piece of work as the only one on its thread."""
        release = await atake_lease(self._saver, work.thread)
        if release is None:
            raise ThreadBusyError(f"The thread {work.thread!r} is being driven by somebody else.")
        try:
            graph = await self._graph(work)
            await self._check_version(work.thread, graph)
            child = await self._nursery.child(work, graph)
            self._children[job.id] = child
            self._follow(await self._queue.work([job.id]))  # an order may just have come
            if self._stopping:
                child.hand_back("its worker stops")
            return await self._nursery.run_child(child)
        finally:
            self._children.pop(job.id, None)
            await asyncio.to_thread(release)

    async def _check_version(self, thread: str, graph: Graph) -> None:
        """Leave a thread to others whose version is not here.

        Raises:
            RequeueJobError: It is not.
        """
        saved = await self._saver.aget_tuple(checkpoint_key(thread, ""))
        stored, own = version_of(saved), getattr(graph, "facts", None)
        if self._versions:
            fits = saved is not None and stored in self._versions
        else:
            known = () if own is None else ("", own.version, *own.migrations)
            is_new = saved is None or is_at_rest(saved)
            fits = is_new or not (own and own.version) or stored in known
        if not fits:
            raise RequeueJobError(
                f"the thread was stored by version {stored or '(none)'!r} of its team, which this "
                "worker does not have",
                self._lease,
            )

    async def _record_failure(self, job: Any, work: JobArguments, error: BaseException) -> None:
        again = requeue_delay(error, job.attempts, self._lease) is not None
        outcome = outcome_of_failure(error, again=again)
        said = describe_error(error) if outcome in ("retry", "failed") else None
        facts: dict[str, Any] = {} if said is None else {"error": said}
        if isinstance(error, RequeueJobError) and error.asks is not None:
            order = JobCommand(kind="pause", reason=str(error), asks=error.asks)
            facts["order"] = order.model_dump(mode="json")
        if facts:
            with suppress(Exception):
                await self._queue.set_job_facts(job, **facts)
        self._on_done(JobResult(thread=work.thread, outcome=outcome, error=said))

    async def _graph(self, work: JobArguments) -> Graph:
        """Open a graph once, aside: what it imports must not silence this worker."""
        place = (work.graph, check_model_label(work.model), work.request is None)
        check_named(work.graph, self._named)
        if place not in self._graphs:
            opening = asyncio.to_thread(self._open_graph, *place)
            self._graphs[place] = asyncio.ensure_future(opening)
        try:
            return await asyncio.shield(self._graphs[place])
        except Exception:
            self._graphs.pop(place, None)
            raise

    def _open_graph(self, graph: str, model: str | None, is_label: bool) -> Graph:
        try:
            return open_graph(graph, model=model, checkpointer=self._within, is_label=is_label)
        except Exception:
            raise
        except BaseException as error:  # it would end the worker
            said = f"The graph {graph!r} cannot be opened: {describe_error(error)}"
            raise ConfigurationError(said) from error

    async def _rescue(self) -> None:
        """Put back what workers have left that are gone or stopped."""
        looks: list[dict[int, int | None]] = []
        while True:
            try:
                await self._queue.hold_presence()
                looks = [*looks[1 - LOOKS :], await self._queue.vanished()]
                gone = looks[0] if len(looks) == LOOKS else {}
                always = {job: gone[job] for job in gone if all(job in look for look in looks)}
                count = await self._queue.put_back(always, MOST_TRIES)
                count += await self._queue.rescue(self._lease, MOST_TRIES)
                if count:
                    _log.warning("%d runs of workers that are gone go on elsewhere", count)
            except Exception as error:  # noqa: BLE001 - the next time may do
                looks = []
                _log.warning("no rescue: %s", describe_error(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _hear_orders(self) -> None:
        """Do what is ordered from elsewhere, as soon as it is told."""
        async with aclosing(notices(self._queue.address, ORDERS)) as told:
            async for thread in told:
                concerned = [
                    job
                    for job, child in self._children.items()
                    if thread in (None, child.thread_id)
                ]
                if not concerned:
                    continue
                try:
                    self._follow(await self._queue.work(concerned))
                except Exception as error:  # noqa: BLE001 - the connection's next gap asks again
                    _log.warning("an order was not read: %s", describe_error(error))

    def _follow(self, works: Mapping[int, JobArguments]) -> None:
        for job, work in works.items():
            if child := self._children.get(job):
                child.follow(work)


async def run_worker(
    url: str,
    *,
    concurrency: int = CONCURRENCY,
    lease: float = LEASE,
    wait: bool = True,
    key: bytes | Sequence[bytes] | None = None,
    graphs: Sequence[str] = (),
    config: SupervisorConfig | None = None,
    on_done: Callable[[JobResult], None] | None = None,
    bus: EventBus | None = None,
    versions: Sequence[str] = (),
) -> None:
    """Run what stands in the queue of a database, until SIGTERM or SIGINT.

    At the first signal, runs stop at their next step and go back into the queue; at the
    second, they are cut off, and go on from their last step wherever they are taken up.

    Args:
        url: A Postgres database that was migrated.
        concurrency: How many runs are driven at once.
        lease: Seconds of silence after which this worker's runs go on elsewhere.
        wait: Whether to wait for more when the queue is empty.
        key: What the values in the database are encrypted with.
        graphs: Graphs as `module:attribute` that jobs may name, besides those that are shipped
            and those of `asterism.toml`.
        config: How runs are kept; restarts are the queue's affair.
        on_done: Is told what came of each job.
        bus: Where it is told what happens.
        versions: As for `Worker`.

    Raises:
        ConfigurationError: The database is no Postgres, or a package is missing.
        StorageError: The database cannot be used, or was not migrated.
    """
    async with open_queue(url) as queue:
        with open_saver(url, serde=serializer(key), lease=lease) as saver:
            worker = Worker(
                saver,
                queue,
                graphs=graphs,
                lease=lease,
                config=config,
                on_done=on_done,
                bus=bus,
                versions=versions,
            )
            with _stop_on_signals(worker):
                await worker.run(concurrency, wait=wait)


@contextmanager
def _stop_on_signals(worker: Worker) -> Generator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    try:
        for number in numbers:
            loop.add_signal_handler(number, worker.stop)
    except NotImplementedError:  # Windows has no signal handlers in its event loop
        yield
        return
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _ignore(done: JobResult) -> None:
    """Watch nothing."""
