"""Reads the record of a thread from its checkpoints, and from nothing else."""

from collections.abc import Sequence
from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from asterism.core.checkpoints import Saver, id_of, list_checkpoints, namespace_of, reading
from asterism.core.continuation import Graph, ThreadLike, thread_config
from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.errors import ConfigurationError, UnknownThreadError
from asterism.observability.record import RunRecord
from asterism.observability.request_reader import History


def read_run(graph: Graph, config: ThreadLike) -> RunRecord:
    """Read what ran on a thread from its checkpoints: any thread, however it stands.

    Args:
        graph: The workflow; only its checkpointer and its name are used.
        config: The thread, or its id; with a `checkpoint_id`, as it stood at that checkpoint.

    Raises:
        ConfigurationError: The workflow has no checkpointer, or the config no thread.
        UnknownThreadError: Nothing of a workflow is stored there.
    """
    return run_steps(_read(graph, thread_config(config)))


async def aread_run(graph: Graph, config: ThreadLike) -> RunRecord:
    """Read what ran on a thread from its checkpoints; see `read_run`."""
    return await arun_steps(_read(graph, thread_config(config)))


async def aread_thread(saver: Saver, thread: str, *, name: str = "") -> RunRecord:
    """Read what ran on a thread of a database, without its workflow.

    Raises:
        UnknownThreadError: Nothing of a workflow is stored there.
    """
    return await arun_steps(_thread(saver, thread, name, None))


def saver_of(graph: Graph) -> Saver:
    """Return the checkpointer of a graph.

    Raises:
        ConfigurationError: It has none.
    """
    saver = cast(Saver, graph.checkpointer)
    if not isinstance(graph.checkpointer, BaseCheckpointSaver):
        raise ConfigurationError(
            f"The workflow {graph.name!r} has no checkpointer, so nothing of its runs is kept; "
            "build it with one: build(checkpointer=...)."
        )
    return saver


def _read(graph: Graph, config: RunnableConfig) -> Steps[RunRecord]:
    saver = saver_of(graph)
    place = config.get("configurable") or {}
    thread = place.get("thread_id")
    if thread is None or not str(thread).strip():
        raise ConfigurationError(
            f"The config {config!r} names no thread; give "
            '{"configurable": {"thread_id": "..."}}.'
        )
    name, at = graph.name or "", place.get("checkpoint_id")
    return (yield from _thread(saver, str(thread), name, at))


def _thread(saver: Saver, thread: str, name: str, checkpoint: str | None) -> Steps[RunRecord]:
    items: list[CheckpointTuple] = yield list_checkpoints(
        saver, {"configurable": {"thread_id": thread}}
    )
    return record_of(items, thread=thread, name=name, checkpoint=checkpoint)


def record_of(
    items: Sequence[CheckpointTuple], *, thread: str, name: str = "", checkpoint: str | None = None
) -> RunRecord:
    """Make the record of a thread of its checkpoints.

    Raises:
        UnknownThreadError: There are none, or not that one.
    """
    star = [item for item in items if not namespace_of(item)]
    wanted = [item for item in star if checkpoint in (None, id_of(item))]
    if not wanted:
        which = f"the checkpoint {checkpoint!r}" if star else "nothing"
        raise UnknownThreadError(
            f"Of the thread {thread!r} there is {'not ' if star else ''}{which} in this database."
        )
    head = max(wanted, key=id_of)
    with reading(thread):
        history = History(items, head, cut=head is not max(star, key=id_of))
        return RunRecord(thread=thread, name=name, requests=tuple(history.requests))
