"""A piece of work: go on with a thread, from wherever it stands."""

import asyncio
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import RunControl
from langgraph.types import StateSnapshot
from pydantic import BaseModel, ConfigDict

from asterism.errors import ThreadBusyError
from asterism.graphs.workflow import Workflow
from asterism.leases import Release, atake_lease
from asterism.people import answer_command, open_requests
from asterism.plain import as_dict
from asterism.runs import Graph, is_unfinished

JOB_KEY = "queue_key"
"""The metadata of a checkpoint that tells which piece of work its run belongs to."""


class Work(BaseModel):
    """What stands in the queue: plain data."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    """Names the work; the same key is never queued twice."""
    thread: str
    graph: str
    model: str
    request: str | None = None
    """What the user says."""
    answers: dict[str, Any] | None = None
    """Answers to open questions, by their ids."""
    error: str | None = None
    """What went wrong the last time."""

    @property
    def config(self) -> RunnableConfig:
        """The config of its run."""
        facts = {"graph": self.graph, "model": self.model, JOB_KEY: self.key}
        return {"configurable": {"thread_id": self.thread}, "metadata": facts}


NOTHING = object()
"""The next input of a thread with which nothing is left to do."""


def next_input(work: Work, snapshot: StateSnapshot) -> Any:
    """Return what a graph is to be given next: an answer, None to go on, the request, `NOTHING`.

    Args:
        work: What is to be done.
        snapshot: How the thread stands, read with its subgraphs.
    """
    pending = open_requests(snapshot)
    going = None if is_unfinished(snapshot) and not pending else NOTHING
    if work.answers is not None:
        opened = {request.id for request in pending}
        given = {key: value for key, value in work.answers.items() if key in opened}
        return answer_command(pending, given) if given else going
    if work.request is None or _has_begun(work, snapshot):
        return going
    message = HumanMessage(work.request, id=_message_id(work))
    return {"messages": [message]}


async def perform(work: Work, graph: Graph, control: RunControl) -> str:
    """Do a piece of work, or what is left of it, and return how its thread stands.

    Raises:
        GraphDrained: It was told to stop; the rest can be done later, by anybody.
        ThreadBusyError: Somebody else drives the thread.
    """
    release: Release | None = None
    if not isinstance(graph, Workflow):  # which takes its thread itself
        release = await atake_lease(graph.checkpointer, work.thread)
        if release is None:
            raise ThreadBusyError(f"The thread {work.thread!r} is being driven by somebody else.")
    try:
        given = next_input(work, await graph.aget_state(work.config, subgraphs=True))
        if given is not NOTHING:
            await graph.ainvoke(given, work.config, control=control, durability="sync")
        return standing(await graph.aget_state(work.config))
    finally:
        if release is not None:
            await asyncio.to_thread(release)


def standing(snapshot: StateSnapshot) -> str:
    """Return how a thread stands, in a word."""
    if snapshot.interrupts:
        return "waiting"
    status = as_dict(snapshot.values).get("status")
    return str(status or ("running" if is_unfinished(snapshot) else "completed"))


def _has_begun(work: Work, snapshot: StateSnapshot) -> bool:
    """Whether the request was given to the graph before, by this worker or one that is gone."""
    if as_dict(snapshot.metadata).get(JOB_KEY) == work.key:
        return True
    messages: Any = as_dict(snapshot.values).get("messages") or ()
    return any(getattr(message, "id", None) == _message_id(work) for message in messages)


def _message_id(work: Work) -> str:
    return f"request-{work.key}"


def read_work(arguments: Mapping[str, Any]) -> Work:
    """Read what stands in the queue."""
    return Work.model_validate(dict(arguments))
