"""An attempt: one run of a child's graph that can be stopped, and abandoned if it must be."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from contextvars import Context, ContextVar, copy_context
from decimal import Decimal
from typing import Any, Self, TypeVar
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs, var_child_runnable_config
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from asterism.core.continuation import Graph
from asterism.core.sync_async import running_loop
from asterism.core.thread_lease import WriteFence
from asterism.limits.rate_limits import on_queue_change
from asterism.supervision.child_threads import CREW, ChildThreads, in_task, in_thread, wrap_escape
from asterism.supervision.quota_watchdog import QuotaWatchdog
from asterism.supervision.restart_policy import GO_ON, AttemptOutcome, read_next_input, read_outcome
from asterism.supervision.usage_monitor import ChildUsage

T = TypeVar("T")


POLL = 0.005
"""Seconds between two looks whether what was stopped is gone."""


class _CallsOnly(BaseCallbackHandler):
    """Is told of calls; the stream of the run tells of steps."""

    raise_error = True

    def __init__(self, attempt: "ChildAttempt") -> None:
        self._attempt = attempt

    def __deepcopy__(self, memo: Any) -> Self:
        """Stay the one that it is: servers copy the configs of runs."""
        return self

    @property
    def ignore_chain(self) -> bool:
        """Whether it is not told of steps."""
        return True


class QuotaCallbackHandler(_CallsOnly):
    """Tells an attempt of its calls, in the thread that makes them."""

    run_inline = True

    def on_chat_model_start(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
        """Let a model be called, or not."""
        if running_loop() is None:
            self._attempt.calls_model(run_id)

    on_llm_start = on_chat_model_start

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a piece of an answer that says something."""
        if token:
            self._attempt.streams(run_id)
        else:
            self._attempt.beat()

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Hear that a model has answered."""
        self._attempt.record_answer(run_id, whole=True)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Hear that a model call has failed."""
        self._attempt.record_answer(run_id, whole=False)

    def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
        """Let a tool be used, or not."""
        self._attempt.uses_tool()

    def on_tool_end(self, *args: Any, **kwargs: Any) -> None:
        """Hear that something else has happened, which is a sign of life."""
        self._attempt.beat()

    on_tool_error = on_retriever_start = on_retriever_end = on_custom_event = on_tool_end


class AsyncQuotaCallbackHandler(_CallsOnly, AsyncCallbackHandler):
    """Lets async model calls be made, or not.

    LangChain leaves coroutines behind that nobody awaits where an inline handler refuses one.
    """

    @property
    def ignore_chat_model(self) -> bool:
        """Whether the call is a sync one, of which the other handler is told."""
        return running_loop() is None

    @property
    def ignore_llm(self) -> bool:
        """Whether the call is a sync one, of which the other handler is told."""
        return running_loop() is None

    async def on_chat_model_start(self, *args: Any, run_id: UUID, **kwargs: Any) -> None:
        """Let a model be called, or not."""
        self._attempt.calls_model(run_id)

    on_llm_start = on_chat_model_start


class ChildAttempt:
    """One run of a child's graph."""

    def __init__(
        self,
        *,
        graph: Graph,
        config: RunnableConfig,
        request: Mapping[str, Any] | None,
        child_id: str,
        gauge: ChildUsage,
        watcher: QuotaWatchdog,
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
