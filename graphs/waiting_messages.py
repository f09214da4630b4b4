"""Messages beside a thread: what a run begins with them, and what a busy thread does with new ones.

Open it for messages that nobody took in before a run ended, and for `on_busy`. It is loaded where
there are any. Tests: tests/graphs/test_steering.py.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from asterism.core.continuation import is_unfinished
from asterism.core.steering import (
    HandedOver,
    OnBusy,
    SteeringMessage,
    When,
    add_steering,
    drop_steering,
    read_steering,
    taken_ids,
)
from asterism.core.sync_async import Call, Steps
from asterism.core.thread_lease import Release, atake_lease, take_lease
from asterism.core.values import as_dict
from asterism.graphs.request_checks import check_thread
from asterism.nodes.engine_keys import participant_config
from asterism.nodes.steering import held_ids, history_message, is_orphan
from asterism.nodes.team import Team
from asterism.prompts import render

_STATUS: Mapping[OnBusy, tuple[str, When, str]] = {
    "steer": ("steered", "asap", "takes it in at its next decision"),
    "queue": ("queued", "idle", "does not see it; it is the next request after that"),
}


def _latest(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}}


def find_waiting(workflow: Any, thread: str) -> Steps[list[SteeringMessage]]:
    """Return the messages beside a thread that nobody has taken in, and delete the others."""
    saver: Any = workflow.checkpointer
    if not isinstance(saver, BaseCheckpointSaver):
        return []
    found = yield from read_steering(saver, thread)
    if not found:
        return []
    config = _latest(thread)
    state: StateSnapshot = yield Call(workflow.get_state, workflow.aget_state, (config,))
    values = as_dict(state.values)
    taken = taken_ids(values.get("messages") or ())
    for name in {message.to for message in found if message.to and message.id not in taken}:
        taken |= yield from _taken_inside(
            workflow.facts.team, config, saver, name.split("/"), values
        )
    yield from drop_steering(saver, thread, [m.id for m in found if m.id in taken])
    return [message for message in found if message.id not in taken]


def _taken_inside(
    team: Team, config: RunnableConfig, saver: Any, path: Sequence[str], values: Mapping[str, Any]
) -> Steps[set[str]]:
    """Return the ids of the messages that a participant took in, whatever became of its visit."""
    member = None
    with suppress(Exception):  # a created agent may be impossible to make, by now
        member = team.member(path[0], values)
    if member is None:
        return set()
    place = participant_config(config, saver, path[0])
    read = (member.graph.get_state, member.graph.aget_state)
    state: StateSnapshot = yield Call(*read, (place,))
    inside = as_dict(state.values)
    taken = held_ids(inside.get("messages") or ())
    facts = getattr(member.graph, "facts", None)
    if len(path) > 1 and facts is not None:
        taken |= yield from _taken_inside(facts.team, place, saver, path[1:], inside)
    return taken


def begin_with_waiting(workflow: Any, given: Any, config: RunnableConfig) -> Steps[Any]:
    """Return the input of a run, with the messages that wait for a request to begin.

    A new request takes up what waits for the supervisor. Without one, what waits is the request,
    where the thread has nothing else left to do. A message to a participant is taken in at its
    next visit; where nothing else waits, the request is to make that visit.
    """
    thread = check_thread(config)
    waiting = yield from find_waiting(workflow, thread)
    forks = as_dict(config.get("configurable")).get("checkpoint_id")
    request = as_dict(given)
    if not waiting or forks or (given is not None and not request):
        return given
    state: StateSnapshot = yield Call(workflow.get_state, workflow.aget_state, (_latest(thread),))
    live = workflow.facts.team.live(as_dict(state.values))
    own = [message for message in waiting if not message.to or is_orphan(message, "", live)]
    if request:
        if any(message.id is not None for message in request["messages"]):
            return given  # a message of the history, which is edited
        return {**request, "messages": [*map(history_message, own), *request["messages"]]}
    if is_unfinished(state):
        return given
    if own:
        return {"messages": [*map(history_message, own)]}
    names = ", ".join(dict.fromkeys(message.to for message in waiting))
    return {"messages": [HumanMessage(render("message_waits", participants=names))]}


def drop_taken(workflow: Any, config: RunnableConfig | None, taken: Collection[str]) -> Steps[None]:
    """Delete the messages that a run has taken in, as far as that is stored."""
    with suppress(Exception):  # they are deleted when the thread is next driven
        thread = check_thread(config)
        read = (workflow.get_state, workflow.aget_state)
        state: StateSnapshot = yield Call(*read, (_latest(thread),))
        stored = taken_ids(as_dict(state.values).get("messages") or ())
        yield from drop_steering(workflow.checkpointer, thread, stored.intersection(taken))


def hand_over(workflow: Any, given: object, config: RunnableConfig | None) -> Steps[Release | None]:
    """Hand the messages of a request to the run that drives its thread.

    Returns:
        The lease of the thread, where that run has ended meanwhile: the messages wait then for
        whoever has it. None: the input is not plain new messages of the user, or may not do so.

    Raises:
        HandedOver: The run goes on.
    """
    request, thread, saver = as_dict(given), check_thread(config), workflow.checkpointer
    messages: Sequence[BaseMessage] = request.get("messages") or ()
    forks = as_dict((config or {}).get("configurable")).get("checkpoint_id")
    is_plain = all(message.type == "human" and message.id is None for message in messages)
    if (
        workflow.facts.on_busy == "refuse"
        or forks
        or request.keys() != {"messages"}
        or not is_plain
    ):
        return None
    status, when, reason = _STATUS[workflow.facts.on_busy]
    for message in messages:
        yield from add_steering(saver, thread, SteeringMessage(content=message.content, when=when))
    release: Release | None = yield Call(take_lease, atake_lease, (saver, thread))
    if release is not None:
        return release
    state: StateSnapshot = yield Call(workflow.get_state, workflow.aget_state, (_latest(thread),))
    keys = cast(Sequence[str], workflow.output_channels)
    lists: dict[str, Any] = {key: [] for key in ("messages", "reports", "usage")}
    raise HandedOver(
        {
            **lists,
            "iterations": 0,
            "structured_response": None,
            **{key: value for key, value in as_dict(state.values).items() if key in keys},
            "status": status,
            "reason": f"the message was handed over: the run under way {reason}",
        }
    )
