"""A child: a run of a graph on a thread, with its state through all attempts."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.core.continuation import Graph
from asterism.core.thread_lease import Release
from asterism.core.values import describe_error, log_failure
from asterism.events import SupervisionEventType as Type
from asterism.supervision.attempt import ChildAttempt, detached_context
from asterism.supervision.child_records import Recorder
from asterism.supervision.config import SupervisorConfig
from asterism.supervision.quota_watchdog import QuotaWatchdog
from asterism.supervision.quotas import AgentQuota, Limit
from asterism.supervision.restart_policy import (
    GO_ON,
    AttemptOutcome,
    ChildCommand,
    NextState,
    decide_next_state,
    strongest_command,
)
from asterism.supervision.status import (
    ENDED,
    TRANSITIONS,
    ChildStatus,
    SupervisedAgent,
    next_status,
)
from asterism.supervision.usage_monitor import ChildUsage


class ChildHost(Protocol):
    """What a member needs of its supervisor."""

    config: SupervisorConfig
    clock: Callable[[], float]

    def tell(self, type: Type, child: "ChildState", facts: Mapping[str, Any]) -> None:
        """Emit an event."""
        ...

    def review_verdict(self, child: "ChildState", verdict: NextState) -> NextState:
        """Count a restart that the child itself is the cause of, or decide otherwise."""
        ...

    def record_end(self, child: "ChildState") -> None:
        """Take note that a child has ended."""
        ...


@dataclass(eq=False, kw_only=True)
class ChildState:
    """A run of a graph on a thread, as its supervisor knows it."""

    id: str
    name: str
    thread_id: str
    graph: Graph
    saver: BaseCheckpointSaver[Any]
    request: Mapping[str, Any] | None
    """The input that begins it. None: it was begun by another supervisor."""
    config: RunnableConfig
    """What its runs are given."""
    metadata: Mapping[str, Any]
    gauge: ChildUsage
    host: ChildHost
    status: ChildStatus = ChildStatus.PENDING
    attempts: int = 0
    retries: int = 0
    """How often it was restarted on its own account."""
    order: ChildCommand | None = None
    asks: Limit | None = None
    """The quota that it asks to have raised, while it rests for that."""
    questions: tuple[Mapping[str, str], ...] = ()
    reason: str = ""
    error: BaseException | None = None
    result: Any = None
    abandoned: bool = False
    started_at: float = 0.0
    finished_at: float = 0.0
    release: Release | None = None
    """Gives its thread back."""
    _changed: "asyncio.Future[None] | None" = None

    def facts(self) -> SupervisedAgent:
        """Return what is known of it now."""
        return SupervisedAgent(
            id=self.id,
            name=self.name,
            thread_id=self.thread_id,
            status=self.status,
            attempt=self.attempts,
            usage=self.gauge.usage(),
            doing=self.gauge.doing,
            silent_seconds=self.gauge.silence() if self.status is ChildStatus.RUNNING else None,
            reason=self.reason,
            asks=self.asks,
            questions=self.questions,
            error=self.error,
            abandoned=self.abandoned,
            metadata=self.metadata,
            started_at=self.started_at,
            finished_at=self.finished_at,
            result=self.result if self.status is ChildStatus.COMPLETED else None,
        )

    def adoption_facts(self) -> dict[str, Any]:
        """Return what another supervisor has to know to adopt it."""
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status.value,
            "reason": self.reason,
            "retries": self.retries,
            "quota": self.gauge.quota.as_json(),
            "usage": self.gauge.usage().as_json(),
            "metadata": dict(self.metadata),
        }

    async def change(self, timeout: float | None) -> None:
        """Wait until its state changes, but not longer than some seconds."""
        if self._changed is None or self._changed.done():
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._changed}, timeout=timeout)

    def wake(self) -> None:
        """Let those who wait for a change look again."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def move(self, verdict: NextState) -> None:
        """Change its state, and tell."""
        self.status = next_status(self.status, verdict.event, self.id)
        if self.status is ChildStatus.RUNNING:
            self.gauge.start()
            self.started_at = self.started_at or time.time()
        else:
            self.gauge.stop()
        if self.status in ENDED:
            self.finished_at = time.time()
        self.reason, self.asks, self.questions = verdict.reason, verdict.asks, verdict.questions
        self.host.tell(verdict.event, self, self._change_facts(verdict))
        self.wake()

    def _change_facts(self, verdict: NextState) -> dict[str, Any]:
        """Return the facts of a change of its state."""
        running = self.status is ChildStatus.RUNNING
        facts: dict[str, Any] = {"attempt": self.attempts + running}
        if verdict.reason:
            facts["reason"] = verdict.reason
        if verdict.asks:
            facts["asks"] = verdict.asks
        if verdict.questions:
            facts["questions"] = verdict.questions
        if self.abandoned:
            facts["abandoned"] = True
        return facts if running else {**facts, **self.gauge.usage().as_json()}


_log = logging.getLogger(__name__)


@dataclass(eq=False, kw_only=True)
class Child(ChildState):
    """A member that is kept alive."""

    watch: QuotaWatchdog = field(init=False)
    on_heartbeat: Callable[[], Awaitable[object]] | None = None
    """Is awaited every `heartbeat_interval`; unless it fails, that is a sign of life."""
    _recorder: Recorder = field(init=False)
    _attempt: ChildAttempt | None = None
    _life: "asyncio.Task[None] | None" = None
    _wake: "asyncio.Future[None] | None" = None
    _started: float = float("-inf")

    def __post_init__(self) -> None:
        config = self.host.config
        action = "killed" if config.auto_kill_on_quota else "asked"
        self.watch = QuotaWatchdog(self.gauge, self, action, config.monitor_interval)
        self._recorder = Recorder(self.saver, self.thread_id, self.adoption_facts)
        self.gauge.meter.watch(lambda _: self.watch.look_soon())

    def at_work(self) -> bool:
        """Whether something is done for it: an attempt, a rest before one, a last record."""
        return self._life is not None and not self._life.done()

    async def wait_until_settled(self) -> None:
        """Wait until it rests or has ended, and everything that is kept of it is stored."""
        if self._life is not None:
            await asyncio.wait({self._life})

    # ---- orders

    def start(self, given: Any = GO_ON) -> None:
        """Begin it, or go on with it after a rest."""
        loop = asyncio.get_running_loop()
        self._life = loop.create_task(
            self._live(given), context=detached_context(), name=f"life {self.id}"
        )

    def send_command(self, order: ChildCommand) -> None:
        """Give it an order; it is carried out where it is at work or at rest."""
        rests = self.status is ChildStatus.PAUSED
        if self.status in ENDED or (rests and order.kind != "kill"):
            return
        self.order = strongest_command(order, self.order)
        if self._attempt is not None and order.kind == "pause" and not order.at_once:
            self._attempt.drain(order.reason)
        elif self._attempt is not None:
            self._attempt.cancel()
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        if rests:
            self._when_settled(self._carry_out)

    def _when_settled(self, do: Callable[[], None]) -> None:
        if self._life is None:
            do()
        else:
            self._life.add_done_callback(lambda _: do())

    def _carry_out(self) -> None:
        if self.order is not None and self.status is ChildStatus.PAUSED:
            self.start()

    def raise_quota(self, quota: AgentQuota) -> None:
        """Give it other limits; one that is about to rest for the old ones goes on."""
        self.gauge.quota = quota
        if self.order is not None and self.order.asks is not None:
            self.order = ChildCommand(kind="go_on", reason=f"{self.order.asks} was raised")
        self.watch.restart_limits()

    # ---- what the watch tells

    def tell(self, type: Type, **facts: object) -> None:
        """Emit an event."""
        self.host.tell(type, self, facts)
        if type is Type.HEARTBEAT:
            self._recorder.soon()

    def exceeds(self, limit: Limit, said: str) -> None:
        """Kill it, or let it ask for more."""
        if self.host.config.auto_kill_on_quota:
            self.send_command(ChildCommand(kind="kill", reason=said))
        else:
            self.send_command(ChildCommand(kind="pause", reason=said, asks=limit))

    def on_heartbeat_lost(self, said: str) -> None:
        """Restart it, or stop it."""
        kind: Any = "restart" if self.host.config.on_hang == "restart" else "kill"
        self.send_command(ChildCommand(kind=kind, reason=said, own=True))

    # ---- life

    def rest(self, reason: str, questions: tuple[Mapping[str, str], ...]) -> None:
        """Rest before the first attempt."""
        self.move(NextState(event=Type.PAUSED, reason=reason, questions=questions))

    def resume(self, given: Any, release: Release) -> None:
        """Go on after a rest."""
        self.release = release
        self.move(NextState(event=Type.RESUMED))
        self.start(given)

    async def _live(self, given: Any) -> None:
        """Make attempts until it rests or ends."""
        verdict = NextState(event=Type.STARTED)
        pulse = None if self.on_heartbeat is None else asyncio.create_task(self._pulse())
        starts = self.status is ChildStatus.PENDING
        try:
            while not self._obeys():
                if starts:
                    self.gauge.restart(verdict.restarts)
                    self.move(verdict)
                outcome = await self._try(given)
                verdict = decide_next_state(outcome, self._take_command())
                if verdict.own:
                    verdict = self.host.review_verdict(self, verdict)
                given, starts = GO_ON, True
                if verdict.event is not Type.STARTED:
                    self.move(verdict)
                    break
                await self._cool_down(verdict)
        except asyncio.CancelledError:
            self._give_up("its event loop was shut down", Type.CANCELLED)
            raise
        except BaseException as error:
            _log.exception("The supervisor could not keep the child %s.", self.id)
            self._give_up(describe_error(error), Type.FAILED)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise  # it did not come from the child, whose own end with it
        finally:
            if pulse is not None:
                pulse.cancel()
            self.watch.end()
            try:
                await self._recorder.last()
            finally:
                self._leave()

    async def _pulse(self) -> None:
        """Ask every `heartbeat_interval` whether it is alive."""
        ask = cast(Callable[[], Awaitable[object]], self.on_heartbeat)
        while True:
            await asyncio.sleep(self.gauge.quota.heartbeat_interval)
            try:
                await ask()
            except Exception as error:  # noqa: BLE001 - no sign of life, which is the watch's affair
                log_failure(_log, "on_heartbeat of the child %s failed.", self.id, error=error)
            else:
                self.watch.beat()

    def _obeys(self) -> bool:
        """Rest or end, where that was ordered while no attempt was under way."""
        order = self._take_command()
        if order is None or order.kind in ("go_on", "restart"):
            return False
        event = order.event if order.kind == "kill" else Type.PAUSED
        self.move(NextState(event=event, reason=order.reason, asks=order.asks))
        return True

    def _take_command(self) -> ChildCommand | None:
        order, self.order = self.order, None
        return order

    async def _try(self, given: Any) -> AttemptOutcome:
        """Make an attempt."""
        attempt = self._attempt = ChildAttempt(
            graph=self.graph,
            config=self.config,
            request=self.request,
            child_id=self.id,
            gauge=self.gauge,
            watcher=self.watch,
            clock=self.host.clock,
        )
        self.attempts += 1
        self._started = self.host.clock()
        self.watch.begin()
        self._recorder.soon()
        try:
            config = self.host.config
            isolated = config.isolation == "thread"
            outcome = await attempt.run(given, config.grace, isolated=isolated)
        finally:
            self.watch.rest()
            self._attempt, self.abandoned = None, attempt.abandoned
            self.request = None if attempt.begun else self.request
        if outcome.kind == "drained":
            self.watch.check_quotas()  # it may have stopped because a call was refused
        self.error, self.result = outcome.error, outcome.values
        return outcome

    async def _cool_down(self, verdict: NextState) -> None:
        """Wait until it may start again, or an order comes."""
        quota, config = self.gauge.quota, self.host.config
        self.reason = verdict.reason
        own = quota.cooldown_period
        until = self._started + (config.cooldown_period if own is None else own)
        delay = until - self.host.clock()
        delay = max(delay, quota.retry_delay) if verdict.own else delay
        until = self.host.clock() + delay
        while (left := until - self.host.clock()) > 0 and not self._is_ordered():
            self._wake = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._wake}, timeout=left)
            self._wake = None

    def _is_ordered(self) -> bool:
        """Whether it has an order, other than what it rests for."""
        if self.order is not None and self.order.kind in ("restart", "go_on"):
            self.order = None
        return self.order is not None

    def _give_up(self, reason: str, event: Type) -> None:
        if self.status not in ENDED:
            known = event in TRANSITIONS[self.status]
            self.move(NextState(event=event if known else Type.KILLED, reason=reason))

    def _leave(self) -> None:
        """Give its thread back, and be no child any more where it has ended."""
        if self.release is not None:
            self.release()
            self.release = None
        if self.status in ENDED:
            self.host.record_end(self)
