"""Graphs that workers in tests import; what they do is written to a log beside."""

import asyncio
import os
from pathlib import Path
from typing import Any

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

from asterism import Migration, Participant, SupervisorWorkflowBuilder
from tests.crashing import effect, visit_of
from tests.teams import follow

ROUTE = ("one", "two", "pair", "one", "two")
INNER = ("left", "right")


def log() -> Path:
    return Path(os.environ["ASTERISM_TEST_LOG"])


def pause() -> float:
    return float(os.environ.get("ASTERISM_TEST_PAUSE", "0.01"))


def function(name: str) -> Participant:
    async def work(messages: list[Any]) -> str:
        await asyncio.sleep(pause())
        visit = visit_of(effect(log(), 0))
        await asyncio.sleep(pause())
        return f"{name} did {visit}"

    return Participant(runs=work, description="Works.")


def team(model: Any) -> SupervisorWorkflowBuilder:
    """A function and another, and a workflow of two."""
    inner = (
        SupervisorWorkflowBuilder("Inner", finish="forward", description="Works in turn.")
        .participants(**{name: function(name) for name in INNER})
        .with_manager(follow(INNER))
        .build()
    )
    return (
        SupervisorWorkflowBuilder("Team", finish="forward", max_iterations=99)
        .participants(one=function("one"), two=function("two"), pair=inner)
        .with_manager(follow(ROUTE))
    )


def versions() -> dict[str, Any]:
    """The version that a test wants, and those that it comes from."""
    earlier = os.environ.get("ASTERISM_TEST_EARLIER", "").split()
    steps = {name: Migration() for name in earlier}
    return {"version": os.environ.get("ASTERISM_TEST_VERSION", ""), "migrations": steps}


def asking(model: Any) -> SupervisorWorkflowBuilder:
    """A participant that asks a person."""

    def ask(messages: list[Any]) -> str:
        return f"told: {interrupt({'prompt': 'Which colour?'})}"

    return (
        SupervisorWorkflowBuilder("Asking", finish="forward", **versions())
        .participants(clerk=Participant(runs=ask, description="Asks."))
        .with_manager(follow(["clerk"]))
    )


def failing(model: Any) -> SupervisorWorkflowBuilder:
    """A supervisor that fails each time."""

    def decide(view: Any) -> Any:
        raise RuntimeError("broken with password=hunter2horse")

    return (
        SupervisorWorkflowBuilder("Failing", finish="forward")
        .participants(clerk=Participant(runs=lambda messages: "x", description="Works."))
        .with_manager(decide)
    )


def plain(model: Any) -> Any:
    """A graph of LangGraph alone."""

    async def respond(state: MessagesState) -> Any:
        await asyncio.sleep(pause())
        with log().open("a") as file:
            file.write("plain\n")
        return {"messages": [("ai", f"answer {len(state['messages'])}")]}

    graph = StateGraph(MessagesState)
    graph.add_node("respond", respond)
    graph.add_edge(START, "respond")
    graph.add_edge("respond", END)
    return graph.compile()


def deadly(model: Any) -> Any:
    """A graph that kills its worker, as one that takes all memory does."""

    def die(state: MessagesState) -> Any:
        os._exit(9)

    graph = StateGraph(MessagesState)
    graph.add_node("die", die)
    graph.add_edge(START, "die")
    return graph.compile()


def _raising(error: Any) -> Any:
    def build(model: Any) -> Any:
        async def fail(state: MessagesState) -> Any:
            await asyncio.sleep(0)
            raise error

        graph = StateGraph(MessagesState)
        graph.add_node("fail", fail)
        graph.add_edge(START, "fail")
        return graph.compile()

    return build


class Abort(BaseException):
    """What no library catches."""


exiting = _raising(SystemExit("enough"))
aborting = _raising(Abort("enough"))


def unopened(model: Any) -> Any:
    """A function that ends the process that asks it for a graph."""
    raise SystemExit("enough")
