"""Agents of langgraph-supervisor as participants; arguments that cannot be honoured are refused."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeGuard, cast, get_args, get_origin

from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel
from typing_extensions import get_type_hints

from asterism.compat.langgraph_supervisor.handoff import destinations
from asterism.core.continuation import Graph, is_graph, is_runnable
from asterism.core.numbers import count_faults
from asterism.core.state import WorkflowState
from asterism.core.sync_async import Call, Steps, StepsNode
from asterism.graphs.star import extend_state_schema
from asterism.graphs.validation import name_faults
from asterism.limits.failure_policies import Policy
from asterism.nodes.participant_runtime import (
    Grant,
    HistoryWriter,
    ParticipantRuntime,
    create_participant_runtime,
)
from asterism.nodes.participant_spec import find_participant_fault
from asterism.nodes.report import as_messages

SNAPSHOT_FREQUENCY = 10
"""After how many writes the messages of a workflow that is an agent are stored whole."""


def has_messages(agent: object) -> TypeGuard[Graph]:
    """Whether an agent is a graph whose state has `messages`."""
    return is_graph(agent) and "messages" in cast(Any, agent).channels


def create_agent_member(
    agent: Any, name: str, keys: Mapping[str, Any], shows: HistoryWriter, policies: Sequence[Policy]
) -> ParticipantRuntime:
    """Make a member of a team of an agent: it sees the conversation, and its own work is gone then.

    A graph that was compiled with `checkpointer=True` keeps a history of its own.

    Args:
        agent: A compiled graph, a functional workflow, or any other Runnable of a state.
        name: The id of the member.
        keys: Further keys of the state that it is given, and may change.
        shows: How its visits stand in the history.
        policies: What happens when it fails.
    """
    graph = agent if has_messages(agent) else _graph_of(agent, keys)
    member = create_participant_runtime(name, graph, None, policies)
    keeps = graph.checkpointer is True
    return replace(
        member,
        graph=member.graph if keeps else _short(graph),
        grant=Grant(keys=tuple(keys), shows=shows, speaker=agent.name),
        forgets=not keeps,
    )


def _short(graph: Graph) -> Graph:
    """Let a graph keep the latest state alone: what came before is sent to it each time.

    What is stored as changes would have to be read from the first visit on.
    """
    channels = cast(dict[str, Any], graph.channels)
    found: Any = channels["messages"]
    if isinstance(channels["messages"], DeltaChannel):
        often: Any = DeltaChannel(found.reducer, found.typ, snapshot_frequency=SNAPSHOT_FREQUENCY)
        often.key = "messages"
        channels = {**channels, "messages": often}
    return graph.copy({"checkpointer": True, "channels": channels})


def _graph_of(agent: Any, keys: Mapping[str, Any]) -> Graph:
    """Make a graph with `messages` that runs whatever takes a state and returns one."""

    def respond(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        given = {key: state[key] for key in ("messages", *keys) if key in state}
        answer = yield Call(agent.invoke, agent.ainvoke, (given,))
        changed = {key: answer[key] for key in keys if key in answer}
        return {**changed, "messages": as_messages(answer)}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(extend_state_schema(MessagesState, keys))
    graph.add_node("respond", StepsNode(respond, name="respond"))
    graph.add_edge(START, "respond")
    graph.add_edge("respond", END)
    return graph.compile(name=agent.name)


_SHARED = ("messages", "remaining_steps", "is_last_step", "structured_response")
"""Keys of a state that each of these workflows has anyhow."""


def participant_id(name: str) -> str:
    """Return the id of the participant that an agent becomes."""
    return re.sub(r"\s+", "_", name.strip())


def state_keys(schema: type[Any] | None) -> dict[str, Any]:
    """Return the further keys of a state, each with its annotation.

    What an agent keeps from its input and its output, as `jump_to` of LangChain's `AgentState`, is
    its own and is none of them.
    """
    if schema is None:
        return {}
    hints = get_type_hints(schema, include_extras=True)
    return {k: hint for k, hint in hints.items() if k not in _SHARED and not _is_private(hint)}


def _is_private(hint: Any) -> bool:
    return any(
        type(fact).__name__ == "OmitFromSchema" and fact.input and fact.output
        for fact in _annotations(hint)
    )


def _annotations(hint: Any) -> tuple[Any, ...]:
    """Return what is annotated to a type, also inside of `NotRequired` and the like."""
    while get_origin(hint) is not Annotated and get_args(hint):
        hint = get_args(hint)[0]
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def arguments_faults(
    *,
    agents: Sequence[Any],
    supervisor_name: str,
    tools: Sequence[Any],
    state_schema: type[Any] | None,
    output_mode: object,
    include_agent_name: object,
    limits: Mapping[str, object],
    others: Mapping[str, Any],
) -> list[str]:
    """Return every fault, each with the way out."""
    return [
        *_agent_faults(agents, supervisor_name),
        *_tool_faults(tools, [getattr(agent, "name", None) for agent in agents]),
        *_state_faults(state_schema),
        *_choice_faults("output_mode", output_mode, ("full_history", "last_message")),
        *_choice_faults("include_agent_name", include_agent_name, (None, "inline")),
        *(fault for name, limit in limits.items() for fault in count_faults(name, limit, least=1)),
        *(f"{name} is not honoured here; leave it out" for name in others),
    ]


def _agent_faults(agents: Sequence[Any], supervisor_name: str) -> Iterator[str]:
    if not agents:
        yield "there are no agents; give at least one"
    names: list[Any] = [getattr(agent, "name", None) for agent in agents]
    for agent, name in zip(agents, names, strict=True):
        if not is_runnable(agent):
            yield f"{agent!r} is no agent; allowed: a compiled graph, or another Runnable"
        elif name is None or name == "LangGraph":
            yield (
                "an agent has no name; give it one with create_agent(..., name=...) or "
                "graph.compile(name=...)"
            )
        elif name == supervisor_name:
            yield f"the agent {name!r} is called as the supervisor; rename one of them"
        else:
            yield from name_faults(participant_id(name))
            if has_messages(agent) and (fault := find_participant_fault(agent, None)):
                yield f"the agent {name!r} {fault}"
    for name, count in Counter(participant_id(name) for name in names if name).items():
        if count > 1:
            yield f"{count} agents are called {name!r}; names have to differ"


def _tool_faults(tools: Sequence[Any], agents: Sequence[str | None]) -> Iterator[str]:
    """Yield agents without a tool that hands over to them, where other agents have one."""
    named = destinations(tools)
    for name in agents if named else ():
        if name not in named:
            yield (
                f"tools have hand-offs of your own and none to the agent {name!r}; add "
                f"create_handoff_tool(agent_name={name!r})"
            )
    for name in named:
        if name not in agents:
            listed = ", ".join(map(repr, agents))
            yield f"a tool hands over to {name!r}, which is no agent; there are {listed}"


def _state_faults(schema: type[Any] | None) -> Iterator[str]:
    if schema is None:
        return
    if issubclass(schema, BaseModel):
        yield "state_schema is a pydantic model; give a TypedDict with the same keys"
        return
    taken = get_type_hints(WorkflowState)
    for name, hint in state_keys(schema).items():
        if name in taken:
            yield f"state_schema has the key {name!r}, which the workflow has itself; rename it"
        elif any(map(callable, _annotations(hint))):
            yield (
                f"state_schema gives the key {name!r} a reducer; use a plain key (the latest "
                "value counts), or keep what adds up in messages or the store"
            )


def _choice_faults(name: str, value: object, allowed: Sequence[object]) -> Iterator[str]:
    if value not in allowed:
        yield f"{name} is {value!r}; allowed: {', '.join(map(repr, allowed))}"
