"""`AgentSupervisor`: spawns children, watches them, and ends them on SIGTERM."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from asterism.core.continuation import Graph, is_graph
from asterism.core.interrupts import answer_command, apending_requests
from asterism.errors import (
    AnswerError,
    ChildFailedError,
    ChildKilledError,
    ChildPausedError,
    ChildStateError,
    ChildTimeoutError,
    ConfigurationError,
)
from asterism.events import EventBus, Handler
from asterism.events import SupervisionEventType as Type
from asterism.limits.prices import DEFAULT_PRICES, PriceTable
from asterism.supervision.agent_loops import create_loop_graph
from asterism.supervision.attempt import run_detached
from asterism.supervision.child import Child
from asterism.supervision.children import ChildRegistry, EndedChild
from asterism.supervision.config import SupervisorConfig, validate_child_name
from asterism.supervision.quotas import AgentQuota, AgentQuotaUsage
from asterism.supervision.restart_policy import GO_ON, ChildCommand
from asterism.supervision.spawn import Spawner, Spec, take_child_lease
from asterism.supervision.status import (
    ENDED,
    AgentProgress,
    ChildStatus,
    SupervisedAgent,
    next_status,
)


def on_signal(
    number: signal.Signals, stop: Callable[[bool], Coroutine[Any, Any, Any]]
) -> Callable[[], None]:
    """Stop what the running loop does when the process is told to end.

    Args:
        number: How it is told: `SIGTERM`, or `SIGINT` from the keyboard.
        stop: Is awaited at each signal, and told whether it is not the first.

    Returns:
        What puts back the handler that was there.
    """
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[Any]] = []

    def told() -> None:
        stopping.append(loop.create_task(stop(bool(stopping))))

    def handler(number: int, frame: object) -> None:  # a loop's own handlers need Unix
        if not loop.is_closed():
            loop.call_soon_threadsafe(told)

    before = signal.signal(number, handler)

    def remove() -> None:
        if signal.getsignal(number) is handler:
            signal.signal(number, before)

    return remove


class ChildId(str):
    """The id of a child: a text, which is its own `id` too."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """The text."""
        return str(self)


class AgentSupervisor:
    """Keeps children: runs of graphs, each on a thread of its own, with quotas.

    It is used from one event loop. The death of a child harms neither the supervisor nor the
    other children. Where there is no child of the given id, its methods raise
    `UnknownChildError`; where it cannot be done in the state of the child, `ChildStateError`.

    Example:
        ```python
        supervisor = AgentSupervisor(SupervisorConfig(max_children=10), on_event=print)
        quotas = AgentQuota(max_duration_seconds=600, max_cost_usd=2)
        child_id = await supervisor.spawn("trip", "Plan a trip", workflow, quotas)
        result = await supervisor.await_child(child_id)
        ```

    Args:
        config: How children are kept.
        on_event: Is told every event of its children and of the supervisors below it: a sync
            or async function of a `SupervisionEvent`. What it raises is listed in
            `bus.failures()`.
        bus: Where events are told. None: a bus of its own.
        clock: The time in seconds.
        prices: What tokens cost.
    """

    def __init__(
        self,
        config: SupervisorConfig | None = None,
        on_event: Handler | None = None,
        *,
        bus: EventBus | None = None,
        clock: Callable[[], float] = time.monotonic,
        prices: PriceTable = DEFAULT_PRICES,
    ) -> None:
        self.config = config or SupervisorConfig()
        """How children are kept."""
        kept = self.config.event_history_size if self.config.log_events else 0
        self.bus = bus or EventBus(history=kept)
        """Where events are told."""
        self._clock = clock
        self._family = ChildRegistry(self.config, self.bus, clock)
        self._spawner = Spawner(self._family, prices)
        if on_event is not None:
            self.bus.on(None, on_event, where=self._family.is_of_ours)

    async def __aenter__(self) -> Self:
        """Keep children until the block ends."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until nobody is at work; after an error, kill who is."""
        if kind is None:
            await self.settled()
        await self.shutdown(0)

    # ---- taking on

    async def spawn(
        self,
        name: str,
        task: str | Mapping[str, Any] = "",
        graph: Graph | None = None,
        quotas: AgentQuota | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        loop_factory: Callable[[], Any] | None = None,
        agent_loop: Any = None,
        on_heartbeat: Callable[[], Awaitable[object]] | None = None,
        thread_id: str | None = None,
        config: RunnableConfig | None = None,
    ) -> ChildId:
        """Spawn a child: a run of a graph on a thread, or of a loop of one's own.

        A loop is an object with `run(task)`, or `run(task, session_id)`. What it returns, or the
        `output` of that, is the result; its `cost_usd` and `tokens_used` count. It is given an
        `on_iteration(number, tool_results)`: where it awaits that, it can be paused, and begins
        again with the same session when it goes on.

        Args:
            name: What it is called; several may have the same name.
            task: What it is to do: a text, or the input of the graph.
            graph: A workflow, or any LangGraph graph; without a checkpointer, its thread is kept
                in memory.
            quotas: What it may use. None: as the config has it.
            metadata: What else is to be known of it, as plain JSON values.
            loop_factory: Makes a loop for each attempt, instead of a graph.
            agent_loop: A loop, instead of a graph.
            on_heartbeat: Is awaited every `heartbeat_interval`; unless it fails, that is a sign
                of life.
            thread_id: The thread that it runs on. None: one that is called as the child.
            config: What else its runs are given: callbacks, tags, `configurable`.

        Returns:
            The id of the child.

        Raises:
            SpawnRefusedError: There are enough children, or the supervisor is shut down.
            ConfigurationError: An argument cannot be used.
            InvalidRequestError: The task is none.
            ThreadBusyError: A child is at work on the thread already.
        """
        given: object = task
        if graph is None or loop_factory is not None or agent_loop is not None:
            graph, given = create_loop_graph(name, graph, loop_factory, agent_loop), {"task": task}
        elif is_graph(graph) and graph.checkpointer is None:
            graph = graph.copy({"checkpointer": InMemorySaver()})
        spec = Spec(name=name, graph=graph, quotas=quotas, metadata=metadata, beat=on_heartbeat)
        return ChildId((await self._spawner.spawn(given, spec, thread_id, config)).id)

    async def adopt(
        self,
        thread_id: str,
        graph: Graph,
        *,
        name: str | None = None,
        quotas: AgentQuota | None = None,
        metadata: Mapping[str, Any] | None = None,
        config: RunnableConfig | None = None,
    ) -> str:
        """Take on a child whose thread was left unfinished, here or in another process.

        It is paused; `resume_child` goes on with it. What it has used goes with it.

        Args:
            thread_id: The thread.
            graph: Its graph, with the checkpointer that holds the thread.
            name: What it is called. None: as before.
            quotas: What it may use, in all. None: as before.
            metadata: What else is to be known of it. None: as before.
            config: What else its runs are given.

        Returns:
            The id of the child.

        Raises:
            SpawnRefusedError: There are enough children, or the supervisor is shut down.
            UnknownChildError: Nothing is stored on the thread.
            NothingPendingError: Nothing is unfinished there.
            ThreadBusyError: A child is at work there.
        """
        spec = Spec(name=name, graph=graph, quotas=quotas, metadata=metadata)
        return (await self._spawner.adopt(thread_id, spec, config)).id

    def attach(self, name: str, supervisor: "AgentSupervisor") -> None:
        """Put another supervisor below this one.

        Its children count in `aggregate_progress`, their events are told here too, a shutdown
        reaches it, and when it gives up on a child, this one decides whether there is another
        try.

        Raises:
            ConfigurationError: The name is taken, or the other one is below a supervisor
                already, or above this one.
        """
        below = supervisor._family
        if validate_child_name(name) in self._family.below:
            raise ConfigurationError(f"{name!r} is attached already; choose another name.")
        if below.above is not None or self._family in below.families():
            raise ConfigurationError(
                f"{name!r} cannot be attached: it is below a supervisor already, or above this one."
            )
        self._family.attach(name, below)

    # ---- orders

    async def pause_child(self, child_id: str) -> bool:
        """Let a child rest at its next step boundary, with its state saved.

        Returns:
            Whether it rests then; one that has ended before stays as it is.
        """
        found = self._family.child(child_id)
        if not isinstance(found, Child):
            return False
        found.send_command(ChildCommand(kind="pause", reason="it was told to pause"))
        await found.wait_until_settled()
        return _rests(found)

    async def resume_child(self, child_id: str, answers: Any = None) -> bool:
        """Let a child go on that rests.

        Args:
            child_id: The child.
            answers: For one that waits for a person: one value, or `{id: value}`, as in
                `asterism.resume`.

        Returns:
            Whether it rested; one that is at work or has ended stays as it is.

        Raises:
            ChildStateError: It has a quota used up; then `raise_quota`.
            AnswerError: It waits for an answer, or the answer cannot be used.
            ThreadBusyError: Another child is at work on its thread.
        """
        found = self._family.child(child_id)
        if not isinstance(found, Child) or not _rests(found):
            return False
        await found.wait_until_settled()
        used = found.gauge.usage()
        if spent := used.exceeded() if found.asks is None else used.spent():
            raise ChildStateError(
                f"The child {found.id!r} has used up {' and '.join(spent)}, so it cannot go on; "
                f"raise_quota(child_id, {spent[0]}=...) lets it."
            )
        pending = await run_detached(apending_requests(found.graph, found.config))
        if pending and answers is None:
            asked = "; ".join(repr(request.prompt) for request in pending)
            raise AnswerError(
                f"The child {found.id!r} waits for a person: {asked}. Answer with "
                "resume_child(child_id, answer)."
            )
        given = GO_ON if answers is None else answer_command(pending, answers)
        if not _rests(found):  # somebody else was faster
            return False
        found.resume(given, take_child_lease(found))
        return True

    async def kill_child(self, child_id: str, reason: str = "it was told to stop") -> bool:
        """Stop a child at once and for good; what it has stored stays.

        Returns:
            Whether it was stopped by this; one that has ended before stays as it is.
        """
        found = self._family.child(child_id)
        if not isinstance(found, Child) or found.status in ENDED:
            return False
        await _kill(found, reason)
        return self.status(child_id) is ChildStatus.KILLED

    async def raise_quota(self, child_id: str, **limits: Any) -> AgentQuota:
        """Raise limits of a child; one that asks for it goes on, and repeats nothing.

        Args:
            child_id: The child.
            limits: New values of `max_duration_seconds`, `max_cost_usd`, `max_tokens` and
                `max_iterations`. None: as much as it likes.

        Returns:
            The new quota.

        Raises:
            ConfigurationError: A limit cannot be used, or is used up already.
        """
        child = self._child_for(child_id, Type.KILLED)
        quota = child.gauge.quota.raised(**limits)
        used = replace(child.gauge.usage(), quota=quota)
        for name in used.spent():
            if name in limits:
                raise ConfigurationError(
                    f"{name}={limits[name]!r} is used up already ({used.used(name)} are used). "
                    "Raise it further."
                )
        child.raise_quota(quota)
        if child.status is ChildStatus.PAUSED and child.asks is not None and not used.spent():
            await child.wait_until_settled()
            self._child_for(child_id, Type.RESUMED).resume(GO_ON, take_child_lease(child))
        return quota

    async def await_child(self, child_id: str, timeout: float | None = None) -> Any:
        """Wait until a child has ended.

        Args:
            child_id: The child.
            timeout: Seconds after which it is killed. None: for as long as it takes.

        Returns:
            The output of its graph.

        Raises:
            ChildFailedError: It failed; the cause is what it raised last.
            ChildKilledError: It was killed.
            ChildTimeoutError: It was not over in time, and was killed.
            ChildPausedError: It rests, and the supervisor is shut down.
        """
        found = self._family.child(child_id)
        until = None if timeout is None else self._clock() + timeout
        while isinstance(found, Child) and found.status not in ENDED:
            if self._family.closed and found.status is ChildStatus.PAUSED:
                raise ChildPausedError(
                    f"The child {child_id!r} rests ({found.reason}), and its supervisor is shut "
                    f"down. Another one can adopt it: adopt({found.thread_id!r}, graph).",
                    child_id=child_id,
                    reason=found.reason,
                )
            left = None if until is None else until - self._clock()
            if left is not None and left <= 0:
                said = f"it was not over within {timeout:g} s"
                await _kill(found, said)
                words = f"The child {child_id!r} was killed: {said}."
                raise ChildTimeoutError(words, child_id=child_id, reason=said)
            await found.change(left)
        if isinstance(found, Child):
            await found.wait_until_settled()  # its thread is free then
        facts = self.child(child_id)
        if facts.status is not ChildStatus.COMPLETED:
            failed = facts.status is ChildStatus.FAILED
            kind, word = (
                (ChildFailedError, "failed") if failed else (ChildKilledError, "was killed")
            )
            said = f"The child {facts.id!r} {word}: {facts.reason}."
            raise kind(said, child_id=facts.id, reason=facts.reason) from facts.error
        return found.result

    # ---- reading

    async def get_child(self, child_id: str) -> SupervisedAgent | None:
        """Return what is known of a child now; None: there is none of this id."""
        return self.child(child_id) if self._family.knows(child_id) else None

    async def list_children(self) -> list[SupervisedAgent]:
        """Return what is known of every child, those that have ended first."""
        return self.children()

    def child(self, child_id: str) -> SupervisedAgent:
        """Return what is known of a child now."""
        return self._family.facts_of(child_id)

    def status(self, child_id: str) -> ChildStatus:
        """Return how a child stands."""
        return self.child(child_id).status

    def usage(self, child_id: str) -> AgentQuotaUsage:
        """Return what a child has used."""
        return self.child(child_id).usage

    def children(self) -> list[SupervisedAgent]:
        """Return what is known of every child, those that have ended first."""
        return self._family.facts()

    def aggregate_progress(self) -> AgentProgress:
        """Add up how far all children are, with those of the supervisors below.

        Returns:
            The sum, which is a mapping too, and may be awaited.
        """
        return self._family.progress()

    # ---- the end

    async def settled(self) -> None:
        """Wait until every child has ended or rests, here and below."""
        await self._family.wait_until_settled()

    async def shutdown(self, timeout: float = 10.0, *, pause: bool = False) -> AgentProgress:
        """Take no more children, let those at work finish or pause, then kill them.

        Children that rest stay as they are; another supervisor can adopt them.

        Args:
            timeout: Seconds until those that are still at work are killed.
            pause: Whether they rest at their next step boundary rather than finish.

        Returns:
            How all of them stand.
        """
        await self._family.close(timeout, pause=pause)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.bus.drained(), timeout=1.0)
        return self.aggregate_progress()

    def install_sigterm(self, timeout: float = 10.0) -> Callable[[], None]:
        """Shut down when the process is told to end: pause the children, at a second word kill.

        Args:
            timeout: Seconds until those that are still at work are killed.

        Returns:
            What takes the handler away again.
        """
        return on_signal(signal.SIGTERM, lambda n: self.shutdown(0 if n else timeout, pause=True))

    def _child_for(self, child_id: str, event: Type) -> Child:
        """Return a child to which an event can happen in its state."""
        found = self._family.child(child_id)
        status = found.facts.status if isinstance(found, EndedChild) else found.status
        next_status(status, event, child_id)
        return cast(Child, found)  # to one that has ended, nothing happens


def _rests(child: Child) -> bool:
    return child.status is ChildStatus.PAUSED


async def _kill(child: Child, reason: str) -> None:
    child.send_command(ChildCommand(kind="kill", reason=reason))
    while child.status not in ENDED:
        await child.change(None)
    await child.wait_until_settled()
