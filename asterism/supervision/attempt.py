"""An attempt: one run of a child's graph that can be stopped, and abandoned if it must be."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing, suppress
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs, var_child_runnable_config
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from asterism.core.continuation import Graph
from asterism.core.thread_lease import WriteFence
from asterism.limits.rate_limits import on_queue_change
from asterism.supervision.child_threads import (
    CREW,
    ChildThreads,
    install_thread_executor,
    wrap_escape,
)
from asterism.supervision.restart_policy import GO_ON, AttemptOutcome, read_next_input, read_outcome
from asterism.supervision.usage_monitor import (
    AsyncQuotaCallbackHandler,
    ChildUsage,
    QuotaCallbackHandler,
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Drive(Generic[T]):
    """A coroutine that is being driven."""

    done: "asyncio.Future[T]"
    """Its result, in the loop of the supervisor."""
    cancel: Callable[[], None]
    """Cancels it, as often as one likes."""


def in_task(coroutine: Coroutine[Any, Any, T], context: Context, name: str) -> Drive[T]:
    """Drive a coroutine beside the supervisor: what blocks in it blocks everybody."""
    loop = asyncio.get_running_loop()
    install_thread_executor(loop)
    task = loop.create_task(coroutine, context=context, name=name)
    _held.add(task)  # one that does not let itself be cancelled is left alone, not lost
    task.add_done_callback(_held.discard)
    return Drive(done=task, cancel=lambda: _cancel(task))


def in_thread(coroutine: Coroutine[Any, Any, T], context: Context, name: str) -> Drive[T]:
    """Drive a coroutine in a loop and a thread of its own: what blocks in it blocks nobody."""
    result: Future[T] = Future()
    own = asyncio.new_event_loop()
    install_thread_executor(own)
    task = own.create_task(coroutine, context=context, name=name)

    def drive() -> None:
        result.set_running_or_notify_cancel()
        with asyncio.Runner(loop_factory=lambda: own) as runner:
            try:
                value = runner.get_loop().run_until_complete(task)
            except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
                result.set_exception(error)
            else:
                result.set_result(value)

    def cancel() -> None:
        with suppress(RuntimeError):  # it is over, and its loop closed
            own.call_soon_threadsafe(_cancel, task)

    threading.Thread(target=drive, name="child", daemon=True).start()
    return Drive(done=asyncio.wrap_future(result), cancel=cancel)


def _cancel(task: "asyncio.Task[Any]") -> None:
    """Cancel a task once: a second time would break off the engine's own clearing up."""
    if not task.cancelling():
        task.cancel()


_held: set["asyncio.Task[Any]"] = set()


POLL = 0.005
"""Seconds between two looks whether what was stopped is gone."""


class Watcher(Protocol):
    """Is told what an attempt does."""

    def beat(self) -> None:
        """It made progress; told from any thread."""
        ...

    def advance(self, step: str) -> None:
        """A step of its own graph is done; told from any thread."""
        ...

    def waits(self, begins: bool) -> None:
        """A call of it begins to wait for its turn, or does so no more; told from any thread."""
        ...

    def look_soon(self, *, refused: bool = False) -> None:
        """It used something, or was refused to; told from any thread."""
        ...


class ChildAttempt:
    """One run of a child's graph.

    Args:
        graph: The graph.
        config: Its thread and what else the run is given.
        request: What it is begun with, where it was not begun before.
        child_id: The child.
        gauge: Measures what it uses.
        watcher: Is told what it does.
        clock: The time in seconds.
    """

    def __init__(
        self,
        *,
        graph: Graph,
        config: RunnableConfig,
        request: Mapping[str, Any] | None,
        child_id: str,
        gauge: ChildUsage,
        watcher: Watcher,
        clock: Callable[[], float],
    ) -> None:
        self._child_id = child_id
        self._request = request
        self._gauge = gauge
        self._watcher = watcher
        self._clock = clock
        self._control = RunControl()
        self._fence = WriteFence()
        self._crew = ChildThreads()
        self._over = False
        self._stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outer = CURRENT.get()
        self.begun = False
        """Whether its graph has done something."""
        self.abandoned = False
        """Whether something of it still runs that cannot be stopped."""
        self.inner: list[Callable[[], None]] = []
        """Kill the children that were spawned in it."""
        self._graph = graph.copy({"checkpointer": self._fence.saver(graph.checkpointer)})
        handlers: Any = self.handlers()
        self._config = merge_configs(config, {"callbacks": handlers})

    def handlers(self) -> Sequence[BaseCallbackHandler]:
        """Return what hears of its calls: first the guards, which may refuse them."""
        around: list[ChildAttempt] = [self]
        while (outer := around[-1]._outer) is not None:
            around.append(outer)
        guards = [
            guard(attempt)
            for attempt in around
            for guard in (QuotaCallbackHandler, AsyncQuotaCallbackHandler)
        ]
        return [*guards, *(h for attempt in around for h in attempt._gauge.meter.handlers)]

    # ---- orders

    def drain(self, reason: str) -> None:
        """Stop at the next step boundary."""
        self._control.request_drain(reason)

    def cancel(self) -> None:
        """Stop at once."""
        self._over = True
        if not self._stop.done():
            self._stop.set_result(None)

    # ---- what the guard tells, from any thread

    def beat(self) -> None:
        """Pass a sign of life on, to those around it too."""
        if not self._over:
            self._watcher.beat()
            if self._outer is not None:
                self._outer.beat()

    def waits(self, begins: bool) -> None:
        """Note that a call begins to wait for its turn, or does so no more."""
        self._watcher.waits(begins)
        if self._outer is not None:
            self._outer.waits(begins)

    def calls_model(self, call: UUID) -> None:
        """Let a model be called, unless a quota is used up."""
        spent = self._gauge.enters()
        if spent:
            self._watcher.look_soon(refused=True)
        if spent or self._over:
            self._gauge.meter.forget(call)
            said = f"{spent[0]} is used up" if spent else "the attempt was given up"
            raise GraphDrained(said)
        self.beat()

    def uses_tool(self) -> None:
        """Let a tool be used, unless the attempt was given up."""
        if self._over:
            raise GraphDrained("the attempt was given up")
        self.beat()

    def iterates(self, iteration: int) -> None:
        """Note a round of a loop, unless it is to stop here."""
        self._gauge.report(iteration=iteration)
        self._watcher.advance(f"round {iteration}")
        self._watcher.look_soon()
        if self._over or self._control.drain_requested or self._gauge.usage().exceeded():
            raise GraphDrained(self._control.drain_reason or "the attempt was given up")
        self.beat()

    def reports(self, tokens: int, cost_usd: Decimal) -> None:
        """Note what a loop says that it took."""
        self._gauge.report(tokens=tokens, cost_usd=cost_usd)
        self._watcher.look_soon()

    def streams(self, call: UUID) -> None:
        """Count a piece of an answer."""
        self._gauge.streams(call)
        if self._gauge.quota.max_tokens is not None:
            self._watcher.look_soon()
        self.beat()

    def record_answer(self, call: UUID, *, whole: bool) -> None:
        """Leave a call to the meter, which is told next."""
        self._gauge.record_answer(call, whole=whole)
        self.beat()

    # ---- the run

    async def run(self, given: Any, grace: float, *, isolated: bool = False) -> AttemptOutcome:
        """Run until the graph stops or is stopped.

        Args:
            given: The answers of a person, or `GO_ON`.
            grace: Seconds to clear up in when it is stopped at once.
            isolated: Whether it has an event loop and a thread of its own.
        """
        start = in_thread if isolated else in_task
        drive = start(self._drive(given), self._inside(), f"child {self._child_id}")
        try:
            either: set[asyncio.Future[Any]] = {drive.done, self._stop}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not drive.done.done():
                drive.cancel()
            await self._wait_until_clear(drive.done, grace)
        finally:
            self._over = True
            drive.cancel()
            self._crew.close()
            self._fence.close()
            self._stop.cancel()
        self.abandoned = not drive.done.done() or self._crew.busy() > 0
        outcome = _outcome(drive.done)
        if outcome.kind not in ("completed", "asks", "drained"):
            for kill in self.inner:
                kill()
        return outcome

    async def _wait_until_clear(self, done: "asyncio.Future[AttemptOutcome]", grace: float) -> None:
        """Wait until nothing of the run is left, but not for long."""
        until = self._clock() + grace
        if not done.done():
            await asyncio.wait({done}, timeout=grace)
        while (self._crew.busy() or self._fence.busy()) and self._clock() < until:
            await asyncio.sleep(POLL)

    async def _drive(self, given: Any) -> AttemptOutcome:
        graph, config = self._graph, self._config
        try:
            if given is GO_ON:
                given = await read_next_input(graph, config, self._request, self._child_id)
            if isinstance(given, AttemptOutcome):
                return given
            parts: Any = graph.astream(
                given,
                config,
                stream_mode=["tasks", "custom"],
                subgraphs=True,
                control=self._control,
                durability="sync",
            )
            async with aclosing(parts):
                async for path, mode, payload in parts:
                    self._heard(path, mode, payload)
            return read_outcome(graph, await graph.aget_state(config, subgraphs=True))
        except GraphDrained as drained:
            return AttemptOutcome(kind="drained", reason=drained.reason)
        except Exception as error:  # noqa: BLE001 - the supervisor judges it
            return AttemptOutcome(kind="crashed", error=wrap_escape(error))

    def _heard(self, path: tuple[str, ...], mode: str, payload: Any) -> None:
        if self._over:
            return
        self.begun = True
        if mode == "tasks":
            if self._gauge.step(path, payload):
                self._watcher.advance(str(payload.get("name")))
            if not path and self._gauge.quota.max_iterations is not None:
                self._watcher.look_soon()
        self.beat()

    def _inside(self) -> Context:
        """Copy the context for the run: it is a run of its own, with its own threads."""
        context = detached_context()
        context.run(CREW.set, self._crew)
        context.run(on_queue_change.set, self.waits)
        context.run(CURRENT.set, self)
        return context


def _outcome(done: "asyncio.Future[AttemptOutcome]") -> AttemptOutcome:
    """Return what came of a run; of one that is not over, that it was stopped."""
    if not done.done():
        if not isinstance(done, asyncio.Task):  # a run is cancelled once, by its drive
            done.cancel()
        return AttemptOutcome(kind="cancelled")
    try:
        return done.result()
    except asyncio.CancelledError:
        return AttemptOutcome(kind="cancelled")
    except BaseException as error:  # noqa: BLE001 - the supervisor judges it
        return AttemptOutcome(kind="crashed", error=wrap_escape(error))


def detached_context() -> Context:
    """Copy the context without the run around it, whose thread would be taken for one's own."""
    context = copy_context()
    context.run(var_child_runnable_config.set, None)
    return context


async def run_detached(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await something apart from the run around it."""
    return await asyncio.get_running_loop().create_task(coroutine, context=detached_context())


CURRENT: ContextVar[ChildAttempt | None] = ContextVar("attempt", default=None)
"""The attempt that the code at hand belongs to."""
