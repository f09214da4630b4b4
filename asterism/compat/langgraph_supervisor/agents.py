"""What langgraph-supervisor takes for an agent, as a participant."""

from collections.abc import Mapping
from typing import Any, TypeGuard, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph

from asterism.effects import Call, Steps, StepsNode
from asterism.graphs.star import extended
from asterism.nodes.kinds import LocalState, as_messages
from asterism.runs import Graph, is_graph


def has_messages(agent: object) -> TypeGuard[Graph]:
    """Whether an agent is a graph whose state has `messages`."""
    return is_graph(agent) and "messages" in cast(Any, agent).channels


def as_participant(agent: Any, keys: Mapping[str, Any]) -> Graph:
    """Return a graph with `messages` that runs an agent.

    Args:
        agent: A compiled graph, a functional workflow, or any other Runnable of a state.
        keys: Further keys of the state that it is given.
    """
    if has_messages(agent):
        return agent
    runner: Any = agent

    def respond(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        given = {key: state[key] for key in ("messages", *keys) if key in state}
        answer = yield Call(runner.invoke, runner.ainvoke, (given,))
        changed = {key: answer[key] for key in keys if key in answer}
        return {**changed, "messages": as_messages(answer)}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(extended(LocalState, keys))
    graph.add_node("respond", StepsNode(respond, name="respond"))
    graph.add_edge(START, "respond")
    graph.add_edge("respond", END)
    return graph.compile(name=runner.name)
