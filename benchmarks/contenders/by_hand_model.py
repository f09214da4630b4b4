"""The star by hand whose supervisor asks a chat model, as its participants do, and at the end.

Each prompt is a system message and the conversation so far.
"""

from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from benchmarks.contenders.by_hand import VERSIONS, answers_in, config_of, go_on, opened, talk
from benchmarks.contenders.scripted import ROUTE, decider, worker
from benchmarks.work import names_of

__all__ = ["VERSIONS", "answers_in", "build", "config_of", "go_on", "opened", "talk"]

RULES = SystemMessage("You are the supervisor of a team. Decide who works next.")
DUTY, WRITE = SystemMessage("You answer."), SystemMessage("You write the answer.")
Node = Callable[..., Any]


def participant() -> Any:
    """A graph with a history of its own, whose node asks a model."""
    model = worker()

    async def respond(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke([DUTY, *state["messages"]])]}

    graph = StateGraph(MessagesState)
    graph.add_node("respond", respond)
    graph.add_edge(START, "respond")
    graph.add_edge("respond", END)
    return graph.compile(checkpointer=True)


def visit(name: str) -> Node:
    """Return the node of a participant that is a subgraph."""
    graph = participant()

    async def run(state: MessagesState) -> dict[str, Any]:
        asked = HumanMessage(state["messages"][-1].content)
        result = await graph.ainvoke({"messages": [asked]})
        return {"messages": [AIMessage(result["messages"][-1].content, name=name)]}

    return run


def build(
    store: Any,
    *,
    participants: int,
    turns: int,
    stops_at: int | None = None,
    schema: type[Any] = MessagesState,
    node: Callable[[str], Node] = visit,
) -> Any:
    names = names_of(participants)
    model = decider(turns, participants)
    deciding = model.bind_tools([ROUTE], tool_choice=ROUTE["title"])

    async def supervisor(state: Any) -> Command[Any]:
        said = await deciding.ainvoke([RULES, *state["messages"]])
        chosen = said.tool_calls[0]["args"]
        if chosen["next_agent"] is None:
            return Command(goto="finish")
        decided = AIMessage(chosen["instruction"], name="supervisor")
        return Command(goto=chosen["next_agent"], update={"messages": [decided]})

    async def finish(state: Any) -> dict[str, Any]:
        return {"messages": [await model.ainvoke([WRITE, *state["messages"]])]}

    star: Any = StateGraph(schema)
    star.add_node("supervisor", supervisor, destinations=(*names, "finish"))
    star.add_node("finish", finish)
    star.add_edge(START, "supervisor")
    star.add_edge("finish", END)
    for name in names:
        star.add_node(name, node(name))
        star.add_edge(name, "supervisor")
    return star.compile(checkpointer=store)
