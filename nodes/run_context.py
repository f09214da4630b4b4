"""The objects that a run carries through its nodes: background visits, usage meter, event bus.

A step of the engine ends when all of its nodes have; so a plan whose tasks were nodes of one
step would wait for the slowest of each wave. Here they run beside the steps of one run of the
workflow, and each step takes in those that are done. They end with the run, at the latest.
Open it for run configs, RUN_STARTED and RUN_ENDED, and the names of runs in traces.
Tests: tests/graphs/test_plans.py, tests/graphs/test_events.py, tests/graphs/test_traces.py.
"""

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from decimal import Decimal
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context, var_child_runnable_config
from langchain_core.utils.uuid import uuid7
from langgraph.errors import GraphBubbleUp, GraphDrained

from asterism.core.messages import clean_text
from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.core.values import as_dict, describe_error
from asterism.events import BUS, CALLS, EventBus, EventScope, WorkflowEventType, emit, event_scope
from asterism.limits.budgets import Budget, BudgetScope, run_scope
from asterism.limits.prices import PriceTable
from asterism.limits.usage_callbacks import CallAdmission, MeteredCall, UsageMeter
from asterism.nodes.policies import VisitResult

if TYPE_CHECKING:
    from asterism.limits.contracts import RunContracts

STEPS_OF_FAILURE = 2
"""Engine steps that must be left, this one too, to store what failed before it is raised."""

PATIENCE = 0.01
"""Seconds that a step waits at most for visits that end soon after the first one, so that they
share it; it waits no longer than that one took."""

Visits = Mapping[str, Callable[[], Steps[VisitResult]]]
"""Visits to be started, by the name of the task."""

VisitOutcome = VisitResult | BaseException
"""The result of a visit, or what stopped it, as an interrupt does."""


class Closable(Protocol):
    """Something that lives as long as a run, such as a session with a server."""

    def close(self) -> Future[None]:
        """Begin to close it; the future ends when it is closed."""
        ...


C = TypeVar("C", bound=Closable)


class RunContext:
    """The visits of a plan that run at the moment."""

    def __init__(self) -> None:
        self.plan: Any = None
        """The `RunningPlan` that the plan runner keeps between its steps."""
        self.run_id: UUID = uuid7()
        """The run of the workflow, which is open for as long as they run."""
        self.end: Mapping[str, str] | None = None
        """The `status`, the `reason` and the `answer` that the run ended with, once it has."""
        self.failure: Exception | None = None
        """The error that ends the run in the step after the one that stored it."""
        self.taken: set[str] = set()
        """The ids of the steering messages that the history of the workflow holds by now."""
        self._threads: dict[str, Future[VisitResult]] = {}
        self._tasks: dict[str, asyncio.Task[VisitResult]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._kept: dict[Any, Closable] = {}

    def __deepcopy__(self, memo: Any) -> "RunContext":
        """Stay the one that it is: servers copy the configs of runs."""
        return self

    def __reduce__(self) -> Any:
        """Become a new one elsewhere: servers store the configs of runs."""
        return (RunContext, ())

    @property
    def names(self) -> list[str]:
        """The tasks whose visits run."""
        return [*self._threads, *self._tasks]

    def start_and_wait(self, visits: Visits, config: RunnableConfig) -> dict[str, VisitOutcome]:
        """Start visits in threads, and wait until at least one of all that run is done."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(10_000, thread_name_prefix="visit")
        for name, steps in visits.items():
            self._threads[name] = self._pool.submit(copy_context().run, run_visit, steps, config)
        begun = monotonic()
        wait(self._threads.values(), return_when=FIRST_COMPLETED)
        wait(self._threads.values(), min(monotonic() - begun, PATIENCE))
        done = [name for name, future in self._threads.items() if future.done()]
        return {name: _outcome(self._threads.pop(name)) for name in done}

    async def aadvance(self, visits: Visits, config: RunnableConfig) -> dict[str, VisitOutcome]:
        """Start visits as tasks, and wait until at least one of all that run is done."""
        for name, steps in visits.items():
            self._tasks[name] = asyncio.ensure_future(arun_visit(steps, config))
        await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        done = [name for name, task in self._tasks.items() if task.done()]
        return {name: _outcome(self._tasks.pop(name)) for name in done}

    def keep(self, key: Any, create: Callable[[], C]) -> C:
        """Return what is kept under a key until the run ends; it is created where it is not there.

        Threads may create it at once, so it must begin nothing before it is used.
        """
        if key not in self._kept:
            self._kept.setdefault(key, create())
        return cast(C, self._kept[key])

    def close(self) -> None:
        """Wait for the visits that still run: a thread cannot be stopped. Close what is kept."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._threads.clear()
        wait([kept.close() for kept in self._kept.values()])

    async def aclose(self) -> None:
        """Cancel the visits that still run, and close what is kept."""
        tasks = [*self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        closed = [asyncio.wrap_future(kept.close()) for kept in self._kept.values()]
        await asyncio.gather(*closed, return_exceptions=True)


def run_visit(steps: Callable[[], Steps[VisitResult]], config: RunnableConfig) -> VisitResult:
    """Make a visit in this thread, with a config for what it runs."""
    with set_config_context(config) as context:
        return context.run(run_steps, steps())


async def arun_visit(
    steps: Callable[[], Steps[VisitResult]], config: RunnableConfig
) -> VisitResult:
    """Make a visit, with a config for what it runs."""
    with set_config_context(config) as context:
        return await asyncio.get_running_loop().create_task(arun_steps(steps()), context=context)


def _outcome(done: Future[VisitResult] | asyncio.Task[VisitResult]) -> VisitOutcome:
    if done.cancelled():
        return asyncio.CancelledError()
    return done.exception() or done.result()


BACKGROUND = "asterism_background"
"""The config key under which a run of a workflow carries its background."""
METER = "asterism_meter"
"""The config key under which a run carries its meter, through all workflows in it."""


def background_of(config: RunnableConfig) -> RunContext:
    """Return the background of the run that a node belongs to."""
    background: RunContext = as_dict(config.get("configurable"))[BACKGROUND]
    return background


DEBUG = "__asterism_debug"
"""The key of a config under which a run is told to raise what participants raise."""


def is_debugged(config: RunnableConfig) -> bool:
    """Whether the exceptions of participants are raised rather than reported."""
    return bool(as_dict(config.get("configurable")).get(DEBUG))


def create_run_config(
    config: RunnableConfig | None,
    background: RunContext,
    *,
    prices: PriceTable,
    budget: Budget | None,
    contracts: "RunContracts | None" = None,
    gated: bool,
    events: EventBus | None,
    values: Mapping[str, Any],
    held: asyncio.AbstractEventLoop | None = None,
    debug: bool = False,
) -> RunnableConfig:
    """Give a run its background, and its meter; a workflow inside another shares that one's.

    Args:
        config: The config of the run.
        background: Its background.
        prices: What tokens cost.
        budget: What the run may take.
        contracts: What all runs of somebody may take together.
        gated: Whether it has any budget, for itself or for a participant.
        events: The bus that is told what happens. None: that of the workflow around it.
        values: The state of the run, where it goes on.
        held: The event loop that the run holds up, because it is a sync one.
        debug: Whether the exception of a participant is raised rather than reported.
    """
    configurable: dict[str, Any] = {
        **as_dict((config or {}).get("configurable")),
        BACKGROUND: background,
    }
    background.run_id = (config or {}).get("run_id") or background.run_id
    given: RunnableConfig = {
        **(config or {}),
        "configurable": configurable,
        "run_id": background.run_id,
    }
    around = var_child_runnable_config.get() or {}
    outer = as_dict(around.get("configurable"))
    shared: UsageMeter | None = configurable.get(METER) or outer.get(METER)
    line = event_scope(configurable) or event_scope(outer)
    if line is not None and line.owner is None:  # a bus that nobody has told of a run yet
        events, line = events or line.bus, None
    if events is not None and (line is None or line.bus is not events):
        line = EventScope(bus=events, run=str(background.run_id), owner=background)
    configurable[BUS] = line
    if debug or outer.get(DEBUG):
        configurable[DEBUG] = True
    meter = shared or UsageMeter(prices)
    if shared is None:
        meter.gate.held = held
        meter.gate.restore(values)
    if budget is not None:
        path = workflow_path(given) or workflow_path(around)
        meter.gate.add(BudgetScope(name=run_scope(path), owner=path, budget=budget))
    if contracts is not None:
        contracts.owner = workflow_path(given) or workflow_path(around)
        contracts.on_warning = partial(_warn, given)
        meter.contracts.append(contracts)
    configurable[METER] = meter
    if line is not None and shared is None:
        meter.gate.on_warning = partial(_warn, given)
        if any(line.bus.has_handler(kind) for kind in CALLS):
            meter.watch(partial(_emit_call, given))
    callbacks: Any = given.get("callbacks") or around.get("callbacks")
    known: list[Any] = getattr(callbacks, "handlers", callbacks) or []
    handlers = [] if shared else meter.handlers
    if gated and not any(isinstance(handler, CallAdmission) for handler in known):
        handlers += meter.gatekeepers
    if handlers:
        given["callbacks"] = _join_handlers(callbacks, handlers)
    return given


def _join_handlers(callbacks: Any, handlers: list[Any]) -> Any:
    """Return callbacks with further handlers.

    `merge_configs` would lay the config of the workflow around over that of this run.
    """
    if not isinstance(callbacks, BaseCallbackManager):
        return [*(callbacks or ()), *handlers]
    both = callbacks.copy()
    for handler in handlers:
        both.add_handler(handler)
    return both


def _warn(config: RunnableConfig, scope: str, measure: str, part: Decimal) -> None:
    used = str(round(part * 100))
    emit(config, WorkflowEventType.BUDGET_WARNING, scope=scope, measure=measure, percent=used)


def _emit_call(config: RunnableConfig, call: MeteredCall) -> None:
    facts = dict(call.entry)
    kind = WorkflowEventType.TOOL_CALLED if "tool" in facts else WorkflowEventType.MODEL_CALLED
    emit(config, kind, path=facts.pop("by"), error=call.error, **facts)


def meter_of(config: RunnableConfig) -> UsageMeter:
    """Return the meter of the run that a node belongs to."""
    meter: UsageMeter = as_dict(config.get("configurable"))[METER]
    return meter


def workflow_path(config: RunnableConfig) -> str:
    """Return the path of the workflow that a node belongs to; empty is the outermost."""
    return str((config.get("metadata") or {}).get("participant_path") or "")


def participant_path(config: RunnableConfig, name: str) -> str:
    """Return the participants that lead to one, from the outermost inwards."""
    above = workflow_path(config)
    return f"{above}/{name}" if above else name


WAITING_REASON = "it waits for a person, or rests at a breakpoint"


@contextmanager
def run_events(
    config: RunnableConfig,
    background: RunContext,
    *,
    name: str,
    given: object,
    versions: Callable[[], Mapping[str, str]],
) -> Generator[None]:
    """Emit when a run begins, which answers it brings, and how it ends.

    Args:
        config: The config of the run.
        background: Its background. Of a workflow inside another only answers are emitted.
        name: The name of the workflow.
        given: The input.
        versions: Returns hashes of what the workflow is made of.
    """
    line: EventScope | None = as_dict(config.get("configurable")).get(BUS)
    is_outermost = line is not None and line.owner is background
    if is_outermost:
        emit(
            config,
            WorkflowEventType.RUN_STARTED,
            workflow=name,
            resumed=not isinstance(given, dict),
            request=_request(as_dict(given).get("messages") or ()) or None,
            versions=versions(),
        )
    for request, said in as_dict(getattr(given, "resume", None)).items():
        answer = said if isinstance(said, str) and said else None
        emit(config, WorkflowEventType.ANSWERED, request=request, answer=answer)
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        if is_outermost:
            emit(config, WorkflowEventType.RUN_ENDED, **run_end_event(failure, background.end))


def note_end(config: RunnableConfig, end: Mapping[str, str]) -> None:
    """Note the status and the reason that the last node of a workflow writes."""
    background: RunContext | None = as_dict(config.get("configurable")).get(BACKGROUND)
    if background is not None:
        background.end = end


def run_end_event(error: BaseException | None, end: Mapping[str, str] | None) -> dict[str, Any]:
    """Say how a run ended.

    Args:
        error: What it raised, if anything.
        end: What its last node wrote, if it was reached.
    """
    if isinstance(error, GraphDrained):
        return {"status": "waiting", "reason": f"it was asked to stop: {error.reason}"}
    if isinstance(error, GraphBubbleUp):
        return {"status": "waiting", "reason": WAITING_REASON}
    if isinstance(error, Exception):
        kind = type(error).__name__
        return {"status": "failed", "reason": clean_text(describe_error(error)), "kind": kind}
    if end is not None:  # also where whoever follows the stream has seen the end and goes away
        return dict(end)
    if error is not None:
        return {"status": "cancelled", "reason": f"it was stopped: {type(error).__name__}"}
    return {"status": "waiting", "reason": WAITING_REASON}


def _request(messages: Sequence[BaseMessage]) -> str:
    return "\n\n".join(message.text for message in messages if message.type == "human")


def visit_span_config(
    config: RunnableConfig, name: str, description: str | None, task: str | None, round: int
) -> RunnableConfig:
    """Return the config entries by which traces name the run of a visit.

    What they say holds for this run alone, but for the `round`, which all runs in it inherit.
    Nothing of it is stored.
    """
    callbacks = config.get("callbacks")
    named: RunnableConfig = {"run_name": name}
    if not isinstance(callbacks, BaseCallbackManager) or not is_traced(config):
        return named
    own = callbacks.copy()
    about = {"agent_name": name, "agent_description": description}
    own.add_metadata({key: known for key, known in about.items() if known}, inherit=False)
    own.add_metadata({"round": round})
    own.add_tags([f"participant:{name}", *([f"task:{task}"] if task else [])], inherit=False)
    return {**named, "callbacks": own}


def is_traced(config: RunnableConfig) -> bool:
    """Whether any handler is told of the runs of graphs and nodes."""
    callbacks = config.get("callbacks")
    handlers: Any = getattr(callbacks, "handlers", callbacks) or ()
    return not all(handler.ignore_chain for handler in handlers)


def outside_step_span(config: RunnableConfig) -> RunnableConfig:
    """Return the config of what runs beside the steps of a workflow, as part of its run.

    The step that begins it may be over before it is, so traces must not put it below that.
    """
    callbacks = config.get("callbacks")
    if not isinstance(callbacks, BaseCallbackManager):
        return config
    own = callbacks.copy()
    own.parent_run_id = background_of(config).run_id
    return {**config, "callbacks": own}
