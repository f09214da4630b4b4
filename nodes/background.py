"""Visits that run on while the steps of their workflow go by.

A step of the engine ends when all of its nodes have; so a plan whose tasks were nodes of one
step would wait for the slowest of each wave. Here they run beside the steps of one run of the
workflow, and each step takes in those that are done. They end with the run, at the latest.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs, var_child_runnable_config

from asterism.budgets import Budget, Scope, run_scope
from asterism.effects import Steps, arun, run
from asterism.metering import Gatekeeper
from asterism.plain import as_dict
from asterism.prices import PriceTable
from asterism.state import Report
from asterism.usage import Meter

BACKGROUND = "asterism_background"
"""The config key under which a run of a workflow carries its background."""

METER = "asterism_meter"
"""The config key under which a run carries its meter, through all workflows in it."""

Outcome = Report | BaseException
"""What came of a visit: a report, or what stopped it, as an interrupt does."""


class Background:
    """The visits of a plan that run at the moment."""

    def __init__(self) -> None:
        self.plan: Any = None
        """What the node that follows the plan keeps between its steps."""
        self._threads: dict[str, Future[Report]] = {}
        self._tasks: dict[str, asyncio.Task[Report]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def __deepcopy__(self, memo: Any) -> "Background":
        """Stay the one that it is: servers copy the configs of runs."""
        return self

    def __reduce__(self) -> Any:
        """Become a new one elsewhere: servers store the configs of runs."""
        return (Background, ())

    @property
    def names(self) -> list[str]:
        """The tasks whose visits run."""
        return [*self._threads, *self._tasks]

    def advance(self, visits: Mapping[str, Callable[[], Steps[Report]]]) -> dict[str, Outcome]:
        """Start visits in threads, and wait until at least one of all that run is done."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(10_000, thread_name_prefix="visit")
        for name, steps in visits.items():
            self._threads[name] = self._pool.submit(copy_context().run, run_visit, steps)
        wait(self._threads.values(), return_when=FIRST_COMPLETED)
        done = [name for name, future in self._threads.items() if future.done()]
        return {name: _outcome(self._threads.pop(name)) for name in done}

    async def aadvance(
        self, visits: Mapping[str, Callable[[], Steps[Report]]]
    ) -> dict[str, Outcome]:
        """Start visits as tasks, and wait until at least one of all that run is done."""
        for name, steps in visits.items():
            self._tasks[name] = asyncio.ensure_future(arun(steps()))
        await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        done = [name for name, task in self._tasks.items() if task.done()]
        return {name: _outcome(self._tasks.pop(name)) for name in done}

    def close(self) -> None:
        """Wait for the visits that still run: a thread cannot be stopped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._threads.clear()

    async def aclose(self) -> None:
        """Cancel the visits that still run."""
        tasks = [*self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run_visit(steps: Callable[[], Steps[Report]]) -> Report:
    """Make a visit in this thread."""
    return run(steps())


def background_of(config: RunnableConfig) -> Background:
    """Return the background of the run that a node belongs to."""
    return cast(Background, as_dict(config.get("configurable"))[BACKGROUND])


def with_background(
    config: RunnableConfig | None,
    background: Background,
    *,
    prices: PriceTable,
    budget: Budget | None,
    gated: bool,
    values: Mapping[str, Any],
) -> RunnableConfig:
    """Give a run its background, and its meter; a workflow inside another shares that one's.

    Args:
        config: The config of the run.
        background: Its background.
        prices: What tokens cost.
        budget: What the run may take.
        gated: Whether it has any budget, for itself or for a participant.
        values: The state of the run, where it goes on.
    """
    configurable: dict[str, Any] = {
        **as_dict((config or {}).get("configurable")),
        BACKGROUND: background,
    }
    given = cast(RunnableConfig, {**(config or {}), "configurable": configurable})
    around = var_child_runnable_config.get() or {}
    shared: Meter | None = configurable.get(METER) or as_dict(around.get("configurable")).get(METER)
    meter = shared or Meter(prices)
    if shared is None:
        meter.gate.restore(values)
    if budget is not None:
        path = workflow_path(given) or workflow_path(around)
        meter.gate.add(Scope(name=run_scope(path), owner=path, budget=budget))
    configurable[METER] = meter
    callbacks: Any = given.get("callbacks") or around.get("callbacks")
    known: list[Any] = getattr(callbacks, "handlers", callbacks) or []
    handlers = [] if shared else meter.handlers
    if gated and not any(isinstance(handler, Gatekeeper) for handler in known):
        handlers += meter.gatekeepers
    if not handlers:
        return given
    return merge_configs({**given, "callbacks": callbacks}, {"callbacks": handlers})


def meter_of(config: RunnableConfig) -> Meter:
    """Return the meter of the run that a node belongs to."""
    return cast(Meter, as_dict(config.get("configurable"))[METER])


def workflow_path(config: RunnableConfig) -> str:
    """Return the path of the workflow that a node belongs to; empty is the outermost."""
    return str((config.get("metadata") or {}).get("participant_path") or "")


def path_of(config: RunnableConfig, name: str) -> str:
    """Return the participants that lead to one, from the outermost inwards."""
    above = workflow_path(config)
    return f"{above}/{name}" if above else name


def _outcome(done: Future[Report] | asyncio.Task[Report]) -> Outcome:
    if done.cancelled():
        return asyncio.CancelledError()
    return done.exception() or done.result()
