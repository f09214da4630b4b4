"""What langgraph-supervisor takes for an agent, as a member of a team."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard, cast

from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, MessagesState, StateGraph

from asterism.core.continuation import Graph, is_graph
from asterism.core.sync_async import Call, Steps, StepsNode
from asterism.graphs.star import extend_state_schema
from asterism.limits.failure_policies import Policy
from asterism.nodes.participant_runtime import (
    Grant,
    HistoryWriter,
    ParticipantRuntime,
    create_participant_runtime,
)
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
