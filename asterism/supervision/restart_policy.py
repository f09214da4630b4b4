"""How an attempt begins and ended, and the next state of its child."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from asterism.core.continuation import CUT_SHORT, REOPENING, REOPENS, Graph, is_unfinished
from asterism.core.interrupts import open_requests
from asterism.core.values import as_dict, describe_error
from asterism.errors import ConfigurationError, InvalidRequestError, UnknownParticipantError
from asterism.events import SupervisionEventType as Type
from asterism.supervision.quotas import Limit

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


@dataclass(frozen=True, kw_only=True)
class ChildCommand:
    """What a child is to do."""

    kind: Literal["go_on", "pause", "restart", "kill"]
    reason: str
    own: bool = False
    """For a restart: whether the child itself is the cause."""
    asks: Limit | None = None
    """For a pause: the quota that is to be raised."""
    at_once: bool = False
    """For a pause: whether the step at work is cut off, to be made again."""
    event: Type = Type.KILLED
    """For a kill: what is told."""


_RANKS = ("go_on", "restart", "pause", "kill")


def strongest_command(order: ChildCommand, other: ChildCommand | None) -> ChildCommand:
    """Return which of two orders holds: the stronger one, or the first of two alike.

    A child that is to rest is not restarted instead: it just stops sooner.
    """
    if other is None or _RANKS.index(order.kind) > _RANKS.index(other.kind):
        return order
    return other


@dataclass(frozen=True, kw_only=True)
class NextState:
    """What becomes of a child."""

    event: Type
    """What is told: that it rests, has ended, or is started again."""
    reason: str = ""
    own: bool = False
    """For a start: whether the child itself is the cause, so that it counts as a retry."""
    restarts: bool = False
    """For a start: whether something went wrong, with it or with one beside it."""
    asks: Limit | None = None
    """For a rest: the quota that is to be raised."""
    questions: tuple[Mapping[str, str], ...] = ()
    """For a rest: what it asks."""


def decide_next_state(outcome: AttemptOutcome, order: ChildCommand | None) -> NextState:
    """Decide what becomes of a child."""
    if order is not None and order.kind == "kill":
        return NextState(event=order.event, reason=order.reason)
    if outcome.kind == "completed":
        return NextState(event=Type.COMPLETED)
    if outcome.kind == "asks":
        said = "it waits for a person" if outcome.questions else "it stopped at a breakpoint"
        return NextState(event=Type.PAUSED, reason=said, questions=outcome.questions)
    if order is not None and order.kind == "pause":
        return NextState(event=Type.PAUSED, reason=order.reason, asks=order.asks)
    if order is not None and order.kind == "restart":
        return NextState(event=Type.STARTED, reason=order.reason, own=order.own, restarts=True)
    if order is not None and outcome.kind == "drained":
        return NextState(event=Type.STARTED, reason=order.reason)
    return _by_itself(outcome)


def _by_itself(outcome: AttemptOutcome) -> NextState:
    """Decide where nobody gave an order."""
    if outcome.kind == "drained":
        return NextState(event=Type.PAUSED, reason=outcome.reason)
    again = True
    if outcome.kind == "ended":
        said = f"it ended as {outcome.status!r}: {outcome.reason}"
        again = outcome.status == "failed"
    elif outcome.error is not None:
        said = describe_error(outcome.error)
        again = not isinstance(outcome.error, PERMANENT_ERRORS)
    else:
        said = "it was cancelled from within"
    event = Type.STARTED if again else Type.FAILED
    return NextState(event=event, reason=said, own=again, restarts=again)
