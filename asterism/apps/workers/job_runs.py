"""The run of a job as a child of its worker, and the next state of a job that did not complete."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.apps.workers.job import JOB_KEY, NOTHING, JobArguments, next_input
from asterism.apps.workers.job_manager import PARKED
from asterism.core.continuation import Graph
from asterism.core.steering import SteeringMessage
from asterism.core.sync_async import arun_steps
from asterism.errors import (
    AbandonedError,
    AnswerError,
    ChildFailedError,
    ChildKilledError,
    ConfigurationError,
    InvalidRequestError,
    StorageError,
    ThreadBusyError,
    UnknownParticipantError,
    WorkflowBuildError,
)
from asterism.events import BUS, EventBus
from asterism.events import SupervisionEventType as Type
from asterism.graphs.waiting_messages import find_waiting
from asterism.graphs.workflow import Workflow
from asterism.limits.prices import DEFAULT_PRICES
from asterism.limits.usage_callbacks import UsageMeter
from asterism.supervision.child import Child, ChildState
from asterism.supervision.child_records import read_record
from asterism.supervision.config import SupervisorConfig
from asterism.supervision.quotas import Limit
from asterism.supervision.restart_policy import CHILD, ChildCommand, NextState, read_outcome
from asterism.supervision.status import ENDED, ChildStatus
from asterism.supervision.usage_monitor import ChildUsage

NOT_ITS_FAULT = (AbandonedError, StorageError)
"""What a run breaks off by that has done nothing wrong."""


class RequeueJobError(Exception):
    """Says to the queue that the rest of a job is for later."""

    def __init__(
        self, reason: str, seconds: float | None, *, failed: bool = False, asks: Limit | None = None
    ) -> None:
        super().__init__(reason)
        self.seconds = seconds
        """In how many seconds it is taken up again; None: when somebody says so."""
        self.failed = failed
        """Whether something went wrong."""
        self.asks: Limit | None = asks
        """The quota that is to be raised before."""


@dataclass(eq=False, kw_only=True)
class QueuedChild(Child):
    """A child whose thread goes from worker to worker."""

    work: JobArguments
    again: float | None = None
    """It rests because its work is handed back, to be taken up in so many seconds."""
    over: str = ""
    """How the latest run of its thread has ended; its work may be over with that."""

    def begin(self, given: Any) -> None:
        """Begin it, or go on with what another worker or an answer has left to it."""
        if self.status is ChildStatus.PENDING:
            facts = {"thread_id": self.thread_id, "quotas": self.gauge.quota.as_json()}
            self.host.tell(Type.SPAWNED, self, {**facts, "metadata": dict(self.metadata)})
        else:
            self.move(NextState(event=Type.RESUMED))
        self.start(given)

    def follow(self, work: JobArguments) -> None:
        """Do what its job says by now; before it begins, that is only noted."""
        self.work = work
        if not self.at_work():
            return
        if work.order is not None:
            self.again = 0.0  # in case that the order is taken back before it is obeyed
            self.send_command(ChildCommand(kind=work.order.kind, reason=work.order.reason))
        if (quota := work.quota(self.gauge.quota.as_json())) != self.gauge.quota:
            self.raise_quota(quota)

    def hand_back(self, reason: str, *, at_once: bool = False) -> None:
        """Stop at its next step, for another worker to go on."""
        self.again = 0.0
        self.send_command(ChildCommand(kind="pause", reason=reason, at_once=at_once))

    def outcome(self) -> str:
        """Return how it stands when it has settled.

        Raises:
            HandBackError: Its job is to be taken up again.
            ChildFailedError: It failed, and is not tried again.
            ChildKilledError: It was stopped for good.
        """
        if self.status is ChildStatus.KILLED:
            raise ChildKilledError(self.reason, child_id=self.id, reason=self.reason)
        if self.status is ChildStatus.FAILED:
            raise ChildFailedError(self.reason, child_id=self.id, reason=self.reason)
        if self.status is ChildStatus.COMPLETED:
            return "completed"
        if self.status is not ChildStatus.PAUSED:
            said = f"its run broke off while it was {self.status}"
            raise ChildFailedError(said, child_id=self.id, reason=said)
        if self.questions or (self.again is None and self.asks is None):
            return "waiting"
        if self.asks is not None or self.work.order is not None:
            raise RequeueJobError(self.reason, None, asks=self.asks)
        raise RequeueJobError(self.reason, self.again, failed=self.error is not None)


async def _waiting(child: QueuedChild) -> Sequence[SteeringMessage]:
    """Return the messages that no run of a thread has taken in."""
    if not isinstance(child.graph, Workflow):
        return ()
    return await arun_steps(find_waiting(child.graph, child.thread_id))


class WorkerChildHost:
    """The host of a worker's children: it restarts none, but hands what failed back.

    Args:
        saver: Where their threads are stored.
        bus: Where it is told what happens to them.
        config: How they are kept.
    """

    def __init__(
        self, saver: BaseCheckpointSaver[Any], bus: EventBus, config: SupervisorConfig
    ) -> None:
        self.bus, self.config = bus, config
        self.clock: Callable[[], float] = time.monotonic
        self._saver = saver

    async def child(self, work: JobArguments, graph: Graph) -> QueuedChild:
        """Make a child for a piece of work; what it has used before goes with its thread."""
        known = await read_record(self._saver, work.thread)
        metadata: Any = known.get("metadata") or {}
        over = str(known["status"]) if known.get("status") in ENDED else ""
        if over and metadata.get(JOB_KEY) != work.key:
            known, metadata = {}, {}  # that was an earlier request
        quota = work.quota(known.get("quota") or {})
        meter = UsageMeter(DEFAULT_PRICES, clock=self.clock)
        return QueuedChild(
            id=work.thread,
            name=work.graph[:100],
            thread_id=work.thread,
            graph=graph,
            saver=self._saver,
            request=None,
            config={
                "configurable": {"thread_id": work.thread, BUS: self.bus},
                "metadata": {**work.facts, CHILD: work.thread},
            },
            metadata=metadata or work.facts,
            gauge=ChildUsage(quota, meter, self.clock, known.get("usage")),
            host=self,
            retries=int(known.get("retries") or 0),
            status=ChildStatus.PAUSED if known else ChildStatus.PENDING,
            work=work,
            over=over,
        )

    async def run_child(self, child: QueuedChild) -> str:
        """Drive a child as far as it goes, and return how it stands; see `outcome`."""
        snapshot = await child.graph.aget_state(child.work.config, subgraphs=True)
        given, order = next_input(child.work, snapshot), child.work.order
        if given is NOTHING and await _waiting(child):
            given = None  # messages came into a run that was over
        if given is NOTHING and child.over:
            return child.over  # its job was begun again because its end was lost
        if order is not None and order.kind == "pause":
            raise RequeueJobError(order.reason, None)
        if child.again is not None:
            raise RequeueJobError("its worker stops", child.again)
        if order is not None:
            child.order = ChildCommand(kind="kill", reason=order.reason)
        child.gauge.quota = child.work.quota(child.gauge.quota.as_json())
        child.begin(read_outcome(child.graph, snapshot) if given is NOTHING else given)
        try:
            await child.wait_until_settled()
        except asyncio.CancelledError:
            child.hand_back("its worker was stopped", at_once=True)
            await child.wait_until_settled()
            raise
        outcome = child.outcome()
        if outcome == "completed" and not all(message.to for message in await _waiting(child)):
            raise RequeueJobError("a message came as its run ended", 0.0)
        return outcome

    # ---- what a child asks of it

    def tell(self, type: Type, child: ChildState, facts: Any) -> None:
        """Emit an event."""
        self.bus.emit(type, child.id, {"name": child.name, **facts})

    def review_verdict(self, child: ChildState, verdict: NextState) -> NextState:
        """Hand back what failed, to be tried again later and elsewhere, unless it did too often."""
        child, quota = cast(QueuedChild, child), child.gauge.quota
        if isinstance(child.error, NOT_ITS_FAULT):
            child.again = 0.0
        elif child.retries >= quota.max_retries:
            said = f"{verdict.reason}; it was tried {child.retries + 1} times"
            return NextState(event=Type.FAILED, reason=said)
        else:
            child.again = quota.retry_delay * 2**child.retries
            child.retries += 1
        return NextState(event=Type.PAUSED, reason=verdict.reason)

    def record_end(self, child: ChildState) -> None:
        """Its job ends as well."""


MOST_TRIES = 8
"""How often a job is tried that fails before its run begins, or kills its workers."""

HOPELESS = (
    AnswerError,
    ChildFailedError,
    ChildKilledError,
    ConfigurationError,
    InvalidRequestError,
    UnknownParticipantError,
    WorkflowBuildError,
)
"""Failures that come again every time, and ends that are for good."""


def requeue_delay(error: BaseException, tries: int, lease: float) -> float | None:
    """Return in how many seconds a job is tried again, or None where it is over."""
    if isinstance(error, RequeueJobError):
        return error.seconds
    if isinstance(error, HOPELESS):
        return None
    if isinstance(error, ThreadBusyError):  # its last worker may be stopped, and have the lease
        return lease / 2
    if isinstance(error, (*NOT_ITS_FAULT, asyncio.CancelledError)):
        return 0.0
    return None if tries + 1 >= MOST_TRIES else float(2**tries)


def outcome_of_failure(error: BaseException, *, again: bool) -> str:
    """Say in a word what came of a job that did not come to its end."""
    if isinstance(error, ChildKilledError):
        return "killed"
    if isinstance(error, RequeueJobError) and error.seconds is None:
        return "paused"
    handed = isinstance(error, RequeueJobError) and not error.failed
    if handed or isinstance(error, (*NOT_ITS_FAULT, asyncio.CancelledError)):
        return "stopped"
    return "retry" if again else "failed"


def strategy(lease: float) -> Any:
    """Say to the queue when a job is tried again."""
    from procrastinate import BaseRetryStrategy, RetryDecision

    class _Strategy(BaseRetryStrategy):
        def get_retry_decision(self, *, exception: BaseException, job: Any) -> Any:
            pause = requeue_delay(exception, job.attempts, lease)
            if pause is None and isinstance(exception, RequeueJobError):
                return RetryDecision(retry_at=PARKED)
            if pause is None:
                return None
            return RetryDecision(retry_in={"milliseconds": int(pause * 1000)})

    return _Strategy()
