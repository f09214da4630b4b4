"""Visits that run on while the steps of their workflow go by.

A step of the engine ends when all of its nodes have; so a plan whose tasks were nodes of one
step would wait for the slowest of each wave. Here they run beside the steps of one run of the
workflow, and each step takes in those that are done. They end with the run, at the latest.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from time import monotonic
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langchain_core.utils.uuid import uuid7

from asterism.effects import Steps, arun, run
from asterism.state import Report

STEPS_OF_FAILURE = 2
"""Engine steps that must be left, this one too, to store what failed before it is raised."""

PATIENCE = 0.01
"""Seconds that a step waits at most for visits that end soon after the first one, so that they
share it; it waits no longer than that one took."""

Visits = Mapping[str, Callable[[], Steps[Report]]]
"""Visits to be started, by the name of the task."""

Outcome = Report | BaseException
"""What came of a visit: a report, or what stopped it, as an interrupt does."""


class Background:
    """The visits of a plan that run at the moment."""

    def __init__(self) -> None:
        self.plan: Any = None
        """What the node that follows the plan keeps between its steps."""
        self.run_id: UUID = uuid7()
        """The run of the workflow, which is open for as long as they run."""
        self.end: Mapping[str, str] | None = None
        """The `status`, the `reason` and the `answer` that the run ended with, once it has."""
        self.failure: Exception | None = None
        """What the run ends with, once the step after what was stored of it is reached."""
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

    def advance(self, visits: Visits, config: RunnableConfig) -> dict[str, Outcome]:
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

    async def aadvance(self, visits: Visits, config: RunnableConfig) -> dict[str, Outcome]:
        """Start visits as tasks, and wait until at least one of all that run is done."""
        for name, steps in visits.items():
            self._tasks[name] = asyncio.ensure_future(arun_visit(steps, config))
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


def run_visit(steps: Callable[[], Steps[Report]], config: RunnableConfig) -> Report:
    """Make a visit in this thread, with a config for what it runs."""
    with set_config_context(config) as context:
        return context.run(run, steps())


async def arun_visit(steps: Callable[[], Steps[Report]], config: RunnableConfig) -> Report:
    """Make a visit, with a config for what it runs."""
    with set_config_context(config) as context:
        return await asyncio.get_running_loop().create_task(arun(steps()), context=context)


def _outcome(done: Future[Report] | asyncio.Task[Report]) -> Outcome:
    if done.cancelled():
        return asyncio.CancelledError()
    return done.exception() or done.result()
