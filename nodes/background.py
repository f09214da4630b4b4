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

from asterism.effects import Steps, arun, run
from asterism.plain import as_dict
from asterism.state import Report

BACKGROUND = "asterism_background"
"""The config key under which a run of a workflow carries its background."""

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


def with_background(config: RunnableConfig | None, background: Background) -> RunnableConfig:
    """Give a run its background."""
    configurable = as_dict((config or {}).get("configurable"))
    merged = {**configurable, BACKGROUND: background}
    return cast(RunnableConfig, {**(config or {}), "configurable": merged})


def _outcome(done: Future[Report] | asyncio.Task[Report]) -> Outcome:
    if done.cancelled():
        return asyncio.CancelledError()
    return done.exception() or done.result()
