"""The tasks of a batch, a bounded number at once."""

import asyncio
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import Context, copy_context
from itertools import islice
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.runtime import RunControl

from asterism.core.continuation import Graph, is_graph
from asterism.core.numbers import count_faults, raise_number_faults
from asterism.core.sync_async import arun_steps, run_steps
from asterism.core.thread_lease import take_lease
from asterism.errors import ConfigurationError, ThreadBusyError
from asterism.programs.batch.item import BatchItem, BatchOutcome, BatchProgress

Task = str | Mapping[str, Any]
"""A request: what the user says, or the input of the graph."""

BATCH_ID_LIMIT = 200
"""The longest id of a batch; the thread ids that it begins may have 255 characters."""

_ONE_RUN = ("thread_id", "checkpoint_id", "checkpoint_ns")


def batch_process(
    graph: Graph,
    tasks: Sequence[Task],
    *,
    batch_id: str | None = None,
    max_concurrent: int = 10,
    batch_size: int | None = None,
    on_progress: Callable[[BatchProgress], None] | None = None,
    config: RunnableConfig | None = None,
) -> list[BatchOutcome]:
    """Run each task on a thread of its own, `{batch_id}/{index}`, some at a time.

    What a task raises is its outcome; the others go on. Called again with the same `batch_id`
    after a crash, a stop or failures, it goes on: what is finished is taken as it is stored,
    what waits for a person stays as it is, and the rest continues where it stopped.

    When it is interrupted, no further task starts, and those that run stop at their next step.

    Args:
        graph: A workflow, or any LangGraph graph, with a checkpointer.
        tasks: The requests. Called again, they must be the same, in the same order; more may
            follow at the end.
        batch_id: Names the batch in the graph's storage: 1 to 200 printable characters. None: a
            new name, so that the batch is not gone on with by a second call.
        max_concurrent: How many tasks run at once, at most.
        batch_size: How many tasks make a group; a group starts when the one before is over.
            None: all are one group.
        on_progress: Is told each outcome, in the caller's thread. What it raises stops the
            batch.
        config: What else each run is given: tags, metadata, callbacks, `configurable`.

    Returns:
        One outcome per task, in the order of the tasks.

    Raises:
        ConfigurationError: An argument cannot be used; nothing has run.
        ThreadBusyError: Somebody else is processing this batch.
    """
    batch = _Batch(graph, tasks, batch_id, config, (max_concurrent, batch_size), on_progress)
    with batch.hold_lease():
        for group in batch.groups():
            _work(batch, group)
    return batch.outcomes()


async def abatch_process(
    graph: Graph,
    tasks: Sequence[Task],
    *,
    batch_id: str | None = None,
    max_concurrent: int = 10,
    batch_size: int | None = None,
    on_progress: Callable[[BatchProgress], None] | None = None,
    config: RunnableConfig | None = None,
) -> list[BatchOutcome]:
    """Run each task on a thread of its own, some at a time; see `batch_process`.

    When it is cancelled, so are the tasks that run.
    """
    batch = _Batch(graph, tasks, batch_id, config, (max_concurrent, batch_size), on_progress)
    with batch.hold_lease():
        for group in batch.groups():
            await _awork(batch, group)
    return batch.outcomes()


class _Batch:
    """The tasks, and what came of them so far."""

    def __init__(
        self,
        graph: Graph,
        tasks: Sequence[Task],
        batch_id: str | None,
        config: RunnableConfig | None,
        sizes: tuple[int, int | None],
        on_progress: Callable[[BatchProgress], None] | None,
    ) -> None:
        self._graph = _validate_graph(graph)
        self._tasks = _validate_tasks(tasks)
        self._id = _validate_batch_id(uuid.uuid4().hex if batch_id is None else batch_id)
        self._config = _validate_config(config)
        self.limit, size = sizes
        self._size = len(tasks) if size is None else size
        faults = [*count_faults("max_concurrent", self.limit)]
        faults += count_faults("batch_size", size) if size is not None else ()
        raise_number_faults(faults, ConfigurationError)
        self._on_progress = on_progress
        self._done: dict[int, BatchOutcome] = {}
        self.control = RunControl()

    @contextmanager
    def hold_lease(self) -> Generator[None]:
        """Keep others off the batch: what both find unbegun, both would begin."""
        name = f"batch\n{self._id}"  # no thread has this name: thread ids are printable
        release = take_lease(self._graph.checkpointer, name)
        if release is None:
            raise ThreadBusyError(
                f"The batch {self._id!r} is being processed by somebody else. Try again when "
                "that is over, or choose another batch_id."
            )
        try:
            yield
        finally:
            release()

    def groups(self) -> Iterator[range]:
        total = len(self._tasks)
        for first in range(0, total, self._size or 1):
            yield range(first, min(first + self._size, total))

    def item(self, index: int) -> BatchItem:
        return BatchItem(
            graph=self._graph,
            task=self._tasks[index],
            index=index,
            batch_id=self._id,
            config=self._config,
            control=self.control,
        )

    def note(self, outcome: BatchOutcome) -> None:
        self._done[outcome.index] = outcome
        if self._on_progress is not None:
            done, total = len(self._done), len(self._tasks)
            self._on_progress(BatchProgress(done=done, total=total, outcome=outcome))

    def outcomes(self) -> list[BatchOutcome]:
        return [self._done[index] for index in range(len(self._tasks))]


def _work(batch: _Batch, group: range) -> None:
    """Do the tasks of a group in threads."""
    todo = iter(group)
    running: set[Future[BatchOutcome]] = set()
    with ThreadPoolExecutor(min(batch.limit, len(group))) as pool:
        try:
            while True:
                for index in islice(todo, batch.limit - len(running)):
                    steps = batch.item(index).outcome()
                    running.add(pool.submit(_outermost().run, run_steps, steps))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    batch.note(future.result())
        except BaseException:
            batch.control.request_drain("the batch was stopped")
            raise


async def _awork(batch: _Batch, group: range) -> None:
    """Do the tasks of a group in the event loop."""
    todo = iter(group)
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[BatchOutcome]] = set()
    try:
        while True:
            for index in islice(todo, batch.limit - len(running)):
                steps = batch.item(index).outcome()
                running.add(loop.create_task(arun_steps(steps), context=_outermost()))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                batch.note(task.result())
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _outermost() -> Context:
    """Copy the context, without the run around it: a batch in a node begins runs of its own."""
    context = copy_context()
    context.run(var_child_runnable_config.set, None)
    return context


def _validate_graph(graph: object) -> Graph:
    if not is_graph(graph):
        raise ConfigurationError(
            f"graph is {repr(graph)[:100]}. Allowed: a compiled LangGraph graph, such as what "
            "SupervisorWorkflowBuilder(...).build(checkpointer=saver) returns."
        )
    if not isinstance(graph.checkpointer, BaseCheckpointSaver):
        raise ConfigurationError(
            f"The graph {graph.name!r} has no checkpointer, so a batch could not go on after a "
            "crash. Build it with one: with open_checkpointer('sqlite:///runs.db') as saver: "
            "graph = builder.build(checkpointer=saver)."
        )
    return graph


def _validate_tasks(tasks: object) -> Sequence[Task]:
    if isinstance(tasks, str | bytes) or not isinstance(tasks, Sequence):
        raise ConfigurationError(
            f"tasks is {repr(tasks)[:100]}. Allowed: a sequence of requests, such as "
            "['Plan a party', 'Plan a trip']."
        )
    return cast(Sequence[Task], tasks)


def _validate_batch_id(batch_id: object) -> str:
    text = batch_id if isinstance(batch_id, str) else ""
    if not text.strip() or len(text) > BATCH_ID_LIMIT or not text.isprintable():
        raise ConfigurationError(
            f"batch_id is {repr(batch_id)[:100]}. Allowed: 1 to {BATCH_ID_LIMIT} printable "
            "characters, such as 'invoices-2026-11'."
        )
    return text


def _validate_config(config: RunnableConfig | None) -> RunnableConfig:
    given = config or {}
    named = [key for key in _ONE_RUN if key in (given.get("configurable") or {})]
    if given.get("run_id"):
        named.append("run_id")
    if named:
        raise ConfigurationError(
            f"config holds {named[0]!r}, which names one run; each task of a batch has its own. "
            "Leave it out, and name the batch with batch_id."
        )
    return given
