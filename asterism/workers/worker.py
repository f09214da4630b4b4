"""A worker: takes work from the queue, so much at once, until it is told to stop."""

import asyncio
import logging
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from asterism.errors import (
    AbandonedError,
    AnswerError,
    ConfigurationError,
    InvalidRequestError,
    StorageError,
    ThreadBusyError,
    UnknownParticipantError,
    WorkflowBuildError,
)
from asterism.graphs.catalog import open_graph
from asterism.postgres.lanes import LEASE
from asterism.postgres.saver import open_saver
from asterism.redaction import describe_error
from asterism.runs import Graph
from asterism.serializers import serializer
from asterism.workers.queue import NAME, TASK, Queue, open_queue
from asterism.workers.work import Work, perform, read_work

CONCURRENCY = 10
"""How many runs a worker drives at once."""
MOST_TRIES = 8
"""How often a job is tried before it has failed."""

HOPELESS = (
    AnswerError,
    ConfigurationError,
    InvalidRequestError,
    UnknownParticipantError,
    WorkflowBuildError,
)
"""Failures that come again every time."""
NOT_ITS_FAULT = (AbandonedError, GraphDrained, StorageError, asyncio.CancelledError)
"""What a job is stopped by that has done nothing wrong: it goes back into the queue."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of a job, for whoever watches."""

    thread: str
    outcome: str
    """How the thread stands, or `"stopped"`, `"retry"`, `"failed"`."""
    error: str | None = None


def retry_in(error: BaseException, tries: int, lease: float) -> float | None:
    """Return in how many seconds a job is tried again, or None where it has failed."""
    if isinstance(error, HOPELESS):
        return None
    if isinstance(error, ThreadBusyError):  # its last worker may be stopped, and have the lease
        return lease / 2
    if isinstance(error, NOT_ITS_FAULT):
        return 0.0
    return None if tries + 1 >= MOST_TRIES else float(2**tries)


class Worker:
    """Runs what stands in the queue of a database."""

    def __init__(
        self,
        saver: BaseCheckpointSaver[Any],
        queue: Queue,
        *,
        lease: float = LEASE,
        on_done: Callable[[Done], None] | None = None,
    ) -> None:
        self._saver = saver
        self._queue = queue
        self._lease = lease
        self._on_done = on_done or _ignore
        self._graphs: dict[tuple[str, str], Graph] = {}
        self._controls: set[RunControl] = set()
        self._stopping = False
        self._taken = 0
        self._running: asyncio.Task[None] | None = None
        queue.app.task(name=TASK, queue=NAME, retry=_strategy(lease), pass_context=True)(self._job)

    async def run(self, concurrency: int = CONCURRENCY, *, wait: bool = True) -> None:
        """Work until `stop` is called; `wait=False`: until the queue is empty.

        A database that is gone is waited for.
        """
        rescues = asyncio.ensure_future(self._rescue())
        try:
            while not self._stopping:
                before = self._taken
                await self._work(concurrency, wait)
                if not wait and self._taken == before:
                    break
        finally:
            rescues.cancel()

    def stop(self) -> None:
        """Take no more work, and put what runs back at its next step; again: at once."""
        if self._stopping:
            self._cancel()
            return
        self._stopping = True
        for control in self._controls:
            control.request_drain("the worker stops")
        self._cancel()

    def _cancel(self) -> None:
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
        control = RunControl()
        self._controls.add(control)
        if self._stopping:
            control.request_drain("the worker stops")
        try:
            outcome = await perform(work, self._graph(work), control)
        except BaseException as error:
            await self._failed(context.job, work, error)
            raise
        finally:
            self._controls.discard(control)
        self._on_done(Done(thread=work.thread, outcome=outcome))
        return outcome

    async def _failed(self, job: Any, work: Work, error: BaseException) -> None:
        again = retry_in(error, job.attempts, self._lease) is not None
        outcome = "stopped" if isinstance(error, NOT_ITS_FAULT) else "retry" if again else "failed"
        said = None if outcome == "stopped" else describe_error(error)
        if said is not None:
            with suppress(Exception):
                await self._queue.note(job, said)
        self._on_done(Done(thread=work.thread, outcome=outcome, error=said))

    def _graph(self, work: Work) -> Graph:
        place = (work.graph, work.model)
        if place not in self._graphs:
            self._graphs[place] = open_graph(work.graph, model=work.model, checkpointer=self._saver)
        return self._graphs[place]

    async def _rescue(self) -> None:
        """Put back what workers have left that are gone or stopped."""
        while True:
            try:
                if count := await self._queue.rescue(self._lease, MOST_TRIES):
                    _log.warning("%d runs of silent workers go on elsewhere", count)
            except Exception as error:  # noqa: BLE001 - the next time may do
                _log.warning("no rescue: %s", describe_error(error))
            await asyncio.sleep(self._lease / 2)


async def run_worker(
    url: str,
    *,
    concurrency: int = CONCURRENCY,
    lease: float = LEASE,
    wait: bool = True,
    key: bytes | None = None,
    on_done: Callable[[Done], None] | None = None,
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
        on_done: Is told what came of each job.

    Raises:
        ConfigurationError: The database is no Postgres, or a package is missing.
        StorageError: The database cannot be used, or was not migrated.
    """
    async with open_queue(url) as queue:
        with open_saver(url, serde=serializer(key), lease=lease) as saver:
            worker = Worker(saver, queue, lease=lease, on_done=on_done)
            with _stopped_by_signals(worker):
                await worker.run(concurrency, wait=wait)


@contextmanager
def _stopped_by_signals(worker: Worker) -> Generator[None]:
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


def _ignore(done: Done) -> None:
    """Watch nothing."""


def _strategy(lease: float) -> Any:
    """Say to the queue when a job is tried again."""
    from procrastinate import BaseRetryStrategy, RetryDecision

    class _Strategy(BaseRetryStrategy):
        def get_retry_decision(self, *, exception: BaseException, job: Any) -> Any:
            pause = retry_in(exception, job.attempts, lease)
            if pause is None:
                return None
            return RetryDecision(retry_in={"milliseconds": int(pause * 1000)})

    return _Strategy()
