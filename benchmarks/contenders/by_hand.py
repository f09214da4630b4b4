"""A star as LangGraph's documentation has one write it, with participants that are subgraphs.

Its saver and its durability are LangGraph's defaults.
"""

import asyncio
import operator
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from benchmarks.work import ANSWER, INSTRUCTION, REQUEST, Tasks, name_in, names_of

VERSIONS = ("langgraph", "langgraph-checkpoint-sqlite")
Work = Callable[[], Awaitable[AIMessage]]


class State(MessagesState):
    """What the star remembers."""

    turns: int


class Fan(TypedDict):
    """What a fan-out remembers."""

    done: Annotated[list[str], operator.add]
    wave: int


def opened(path: Path) -> AbstractAsyncContextManager[Any]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    return AsyncSqliteSaver.from_conn_string(str(path))


def participant(seconds: float = 0) -> Any:
    """A graph with a history of its own."""

    async def respond(state: MessagesState) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        return {"messages": [AIMessage(ANSWER)]}

    graph = StateGraph(MessagesState)
    graph.add_node("respond", respond)
    graph.add_edge(START, "respond")
    graph.add_edge("respond", END)
    return graph.compile(checkpointer=True)


def subgraph(seconds: float = 0) -> Work:
    """Return the visit of a participant that is a subgraph."""
    graph = participant(seconds)

    async def work() -> AIMessage:
        result = await graph.ainvoke({"messages": [HumanMessage(INSTRUCTION)]})
        answer: AIMessage = result["messages"][-1]
        return answer

    return work


def build(
    store: Any,
    *,
    participants: int,
    turns: int,
    stops_at: int | None = None,
    visit: Callable[[], Work] = subgraph,
) -> Any:
    names = names_of(participants)

    async def supervisor(state: State) -> Command[Any]:
        turn = state.get("turns", 0)
        if turn >= turns:
            return Command(goto=END)
        if turn == stops_at:
            interrupt("Shall it go on?")
        return Command(goto=name_in(turn, participants), update={"turns": turn + 1})

    def node(name: str) -> Callable[..., Any]:
        work = visit()

        async def run(state: State) -> dict[str, Any]:
            answer = await work()
            return {"messages": [AIMessage(answer.content, name=name)]}

        return run

    star = StateGraph(State)
    star.add_node("supervisor", supervisor, destinations=(*names, END))
    star.add_edge(START, "supervisor")
    for name in names:
        star.add_node(name, node(name))
        star.add_edge(name, "supervisor")
    return star.compile(checkpointer=store)


def config_of(thread: str, turns: int = 10_000) -> Any:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 2 * turns + 20}


def answers_in(result: Any) -> int:
    return sum(m.content == ANSWER and m.name != "supervisor" for m in result["messages"])


async def talk(team: Any, thread: str) -> int:
    given = {"messages": [("user", REQUEST)]}
    return answers_in(await team.ainvoke(given, config_of(thread)))


async def go_on(team: Any, thread: str) -> int:
    return answers_in(await team.ainvoke(Command(resume="yes"), config_of(thread)))


def build_fan(store: Any, tasks: Tasks, *, visit: Callable[[float], Work] = subgraph) -> Any:
    """Wave after wave of `Send`s, as LangGraph's documentation has one write it."""
    waves = waves_of(tasks)

    async def supervisor(state: Fan) -> Command[Any]:
        wave = state.get("wave", 0)
        if wave >= len(waves):
            return Command(goto=END)
        return Command(goto=[Send(name, {}) for name in waves[wave]], update={"wave": wave + 1})

    def node(seconds: float) -> Callable[..., Any]:
        work = visit(seconds)

        async def run(state: Any) -> dict[str, Any]:
            return {"done": [str((await work()).content)]}

        return run

    star = StateGraph(Fan)
    star.add_node("supervisor", supervisor, destinations=(*tasks, END))
    star.add_edge(START, "supervisor")
    for name, (seconds, _) in tasks.items():
        star.add_node(name, node(seconds))
        star.add_edge(name, "supervisor")
    return star.compile(checkpointer=store)


def waves_of(tasks: Tasks) -> list[list[str]]:
    """The waves of a plan: each has those whose dependencies are in the waves before."""
    level: dict[str, int] = {}
    for name, (_, needs) in tasks.items():
        level[name] = 1 + max((level[need] for need in needs), default=-1)
    return [[n for n in tasks if level[n] == wave] for wave in range(max(level.values()) + 1)]


async def fan(team: Any, thread: str) -> int:
    result = await team.ainvoke({"done": []}, config_of(thread))
    return int(result["done"].count(ANSWER))
