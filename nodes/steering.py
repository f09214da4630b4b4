"""Boundaries of a run, where steering messages are taken in: by the supervisor, by participants.

Open it to see what of the messages beside a thread goes into which prompt, and how it is noted
that it did. How they are stored is in asterism/core/steering.py; what begins a request with them,
in graphs/steering.py. Tests: tests/graphs/test_steering.py.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.types import Command

from asterism.core.continuation import Graph, is_graph
from asterism.core.messages import with_media
from asterism.core.state import VisitRequest
from asterism.core.steering import (
    STEER,
    STEER_ID,
    SteeringMessage,
    read_steering,
    steered_path,
    taken_ids,
)
from asterism.core.sync_async import Call, Steps, StepsNode
from asterism.core.values import as_dict, as_list
from asterism.nodes.engine_keys import parent_checkpointer
from asterism.nodes.run_context import background_of, workflow_path
from asterism.nodes.view import message_facts, message_label
from asterism.prompts import render

_HOLDS = "steered"
"""The fact that names the steering messages whose text the request of a visit holds."""


def history_message(message: SteeringMessage) -> HumanMessage:
    """Return a steering message as the history of a workflow shows it."""
    return message.message(response_metadata=message_label(**{STEER: {"to": message.to}}))


def _waiting(
    config: RunnableConfig,
    is_for: Callable[[SteeringMessage], bool],
    history: Iterable[BaseMessage],
) -> Steps[list[SteeringMessage]]:
    """Return the messages that wait to be taken in as soon as possible.

    Args:
        config: That of a node; a run that is not stored has none.
        is_for: Whether a message is for whoever asks.
        history: Holds those that were taken in.
    """
    saver = parent_checkpointer(config)
    if saver is None:
        return []
    thread = str(as_dict(config.get("configurable"))["thread_id"])
    found = yield from read_steering(saver, thread)
    if not found:
        return []
    taken = background_of(config).taken | taken_ids(history)
    return [m for m in found if m.when == "asap" and m.id not in taken and is_for(m)]


def waiting_for_supervisor(
    state: Mapping[str, Any], config: RunnableConfig, team: Collection[str]
) -> Steps[list[HumanMessage]]:
    """Return the messages that the supervisor of a workflow is to take in.

    What is for a participant that takes no part any more is for the supervisor.
    """
    path = workflow_path(config)

    def is_for(message: SteeringMessage) -> bool:
        return message.to == path or is_orphan(message, path, team)

    found = yield from _waiting(config, is_for, state["messages"])
    return [history_message(message) for message in found]


def is_orphan(message: SteeringMessage, path: str, team: Collection[str]) -> bool:
    """Whether a message is for a participant that a workflow does not have."""
    above, slash, below = message.to.rpartition(f"{path}/") if path else ("", "/", message.to)
    return bool(slash and not above and below) and below.split("/")[0] not in team


class SteeredNode(StepsNode):
    """The node of an agent that calls its model, and takes in what waits for the agent.

    Args:
        bound: The node as the agent has it.
        name: Its name.
    """

    def __init__(self, bound: Runnable[Any, Any], name: str) -> None:
        super().__init__(self._respond, name=name)
        self.bound = bound

    def _respond(self, state: Any, config: RunnableConfig) -> Steps[Any]:
        new: list[HumanMessage] = []
        values = as_dict(state)
        if "messages" in values:
            path = workflow_path(config)
            found = yield from _waiting(config, lambda m: m.to == path, values["messages"])
            new = [message.message() for message in found]
        given = {**values, "messages": [*values["messages"], *new]} if new else state
        answer = yield Call(self.bound.invoke, self.bound.ainvoke, (given, config))
        return _put_first(answer, new) if new else answer


def _put_first(answer: Any, new: Sequence[BaseMessage]) -> Any:
    """Return the update of a model's node with messages before those that it writes."""
    if answer.__class__ is list:
        return [_put_first(answer[0], new), *answer[1:]]
    if isinstance(answer, Command):
        command = cast(Any, answer)
        return replace(command, update=_put_first(command.update or {}, new))
    written = as_list(answer.get("messages") or [])
    return {**answer, "messages": [*new, *written]}


_MODEL_NODES = ("model", "agent")
"""The nodes that call the model in agents of `create_agent` and `create_react_agent`."""


def steered_nodes(graph: Graph) -> dict[str, Any]:
    """Return the nodes of a graph; an agent's takes in steering messages where it calls its model.

    So a message and the answer to it are stored in one checkpoint.
    """
    nodes: dict[str, Any] = {**graph.nodes}
    name = next((name for name in _MODEL_NODES if name in nodes), None)
    if name is None or "tools" not in nodes or "reports" in graph.channels:
        return nodes
    if not is_graph(nodes[name].bound):
        nodes[name] = nodes[name].copy({"bound": SteeredNode(nodes[name].bound, name)})
    return nodes


def _takes_steering(graph: Graph) -> bool:
    """Whether a graph takes in by itself what waits for it: a workflow, or an agent."""
    nodes: Iterable[Any] = graph.nodes.values()
    return "reports" in graph.channels or any(isinstance(n.bound, SteeredNode) for n in nodes)


def held_ids(messages: Iterable[BaseMessage]) -> set[str]:
    """Return the ids of the steering messages that a participant's history holds, in any way."""
    read = [*messages]
    held = {one["id"] for m in read for one in message_facts(m).get(_HOLDS) or ()}
    return held | taken_ids(read)


@dataclass
class VisitSteering:
    """The steering messages that a visit takes in, until its report is stored with them."""

    request: VisitRequest
    graph: Graph
    path: str
    """The participants that lead to the one that is visited."""
    config: RunnableConfig
    messages: dict[str, HumanMessage] = field(default_factory=dict[str, HumanMessage])
    """As the history of the workflow is to show them, by their ids there."""

    def add_to_input(self, given: dict[str, Any]) -> Steps[dict[str, Any]]:
        """Add what waits to the request of a visit, where the graph does not take it in itself."""
        if parent_checkpointer(self.config) is None or _takes_steering(self.graph):
            return given
        found = yield from _waiting(self.config, lambda message: message.to == self.path, ())
        if not found:
            return given
        *before, last = given["messages"]
        if "state_input" in self.request:
            new: list[BaseMessage] = [history_message(message) for message in found]
            self._keep(new)
            return {**given, "messages": [*before, *new, last]}
        text, media = last.text, list[Any](self.request.get("media") or ())
        for message in found:
            shown = message.message()
            text = render("steered", request=text, message=shown.text)
            media += [] if isinstance(message.content, str) else _media(message.content)
        held = [{"id": message.id, **message.dump()} for message in found]
        facts = message_label(**{_HOLDS: held})
        asked = HumanMessage(with_media(text, media), id=last.id, response_metadata=facts)
        self.note({"messages": [asked]})
        return {**given, "messages": [*before, asked]}

    def note(self, values: Mapping[str, Any], *, anew: bool = False) -> None:
        """Note what was taken in, as it stands in the state of the participant.

        Args:
            values: The state.
            anew: Whether nothing counts but what stands there.
        """
        if anew:
            self.messages.clear()
        if parent_checkpointer(self.config) is None:
            return
        for message in reversed(as_list(values.get("messages") or [])):
            if not isinstance(message, BaseMessage):
                continue
            if str(message.id).startswith(STEER_ID):
                self._keep([message])
            if message.id == self.request["id"]:
                for held in message_facts(message).get(_HOLDS) or ():
                    self._keep([history_message(SteeringMessage(**held))])
                break

    def _keep(self, messages: Iterable[BaseMessage]) -> None:
        for message in messages:
            to = steered_path(message) or self.path
            facts = message_label(**{STEER: {"to": to}})
            shown = HumanMessage(message.content, id=message.id, response_metadata=facts)
            self.messages = {str(message.id): shown, **self.messages}

    def add_to_update(self, update: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add what was taken in to the update that stores the report of the visit."""
        if not self.messages:
            return update
        background_of(self.config).taken.update(taken_ids(self.messages.values()))
        written = list[Any](update.get("messages") or ())
        known = {message.id for message in written}
        new = [message for name, message in self.messages.items() if name not in known]
        return {**update, "messages": [*new, *written]}


def _media(content: Sequence[Any]) -> list[dict[str, Any]]:
    return [block for block in content if as_dict(block) and block.get("type") != "text"]
