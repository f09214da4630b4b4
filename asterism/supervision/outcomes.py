"""How a run is taken up, and how it stands when it stops."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from asterism.core.continuation import CUT_SHORT, REOPENING, REOPENS, Graph, is_unfinished
from asterism.core.interrupts import open_requests
from asterism.core.values import as_dict
from asterism.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnknownParticipantError,
)

CHILD = "asterism_child"
"""The metadata of a checkpoint that names the child whose run stored it."""

PERMANENT_ERRORS = (ConfigurationError, InvalidRequestError, UnknownParticipantError)
"""Errors that another try does not cure."""


@dataclass(frozen=True, kw_only=True)
class AttemptOutcome:
    """How an attempt stands when it has stopped."""

    kind: Literal["completed", "ended", "asks", "drained", "crashed", "cancelled"]
    """`ended`: over, but not complete. `asks`: waits for a person, or at a breakpoint."""
    values: Any = None
    """The output of the graph."""
    reason: str = ""
    """Why it stopped."""
    status: str = ""
    """The graph's own word for an end that is not complete."""
    questions: tuple[Mapping[str, str], ...] = ()
    """What is asked, each with its `id` and `prompt`."""
    error: BaseException | None = None


class ContinueThread:
    """What an attempt is given: nothing more than what its thread says."""


GO_ON = ContinueThread()
"""Begin the task, or go on with it, wherever the thread stands."""


async def read_next_input(
    graph: Graph, config: RunnableConfig, request: Mapping[str, Any] | None, child_id: str
) -> Any:
    """Return the input with which a run is begun or continued, or the outcome that it has.

    Args:
        graph: The graph of the child.
        config: Its thread.
        request: The input with which it is begun. None: it was begun before.
        child_id: Whose checkpoints show that it was.
    """
    found = await graph.aget_state(config)
    stored: Mapping[str, Any] = found.metadata or {}
    if request is not None and stored.get(CHILD) != child_id:
        return dict(request)
    if found.interrupts:
        return read_outcome(graph, await graph.aget_state(config, subgraphs=True))
    if is_unfinished(found):
        return None
    if _is_star(graph, found) and as_dict(found.values).get("status") in CUT_SHORT:
        await graph.aupdate_state(config, REOPENING, as_node=REOPENS)
        return None
    return read_outcome(graph, found)


def read_outcome(graph: Graph, found: StateSnapshot) -> AttemptOutcome:
    """Say how a run stands that has stopped by itself."""
    asked = tuple({"id": r.id, "prompt": r.prompt} for r in open_requests(found))
    if asked or is_unfinished(found):
        return AttemptOutcome(kind="asks", questions=asked)
    values = as_dict(found.values)
    status = values.get("status")
    if _is_star(graph, found) and status != "completed":
        return AttemptOutcome(
            kind="ended", status=str(status), reason=str(values.get("reason") or status)
        )
    keys = graph.output_channels
    if isinstance(keys, str) or not isinstance(found.values, dict):
        return AttemptOutcome(kind="completed", values=found.values)
    return AttemptOutcome(kind="completed", values={k: v for k, v in values.items() if k in keys})


def _is_star(graph: Graph, found: StateSnapshot) -> bool:
    """Whether a run is that of a workflow: another graph's `status` is its own affair."""
    return REOPENS in graph.nodes and "iterations" in as_dict(found.values)
