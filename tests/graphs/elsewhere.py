"""Graphs for a server of the test's own: what participants are that run elsewhere."""

import asyncio
import os
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import follow

FOLDER = "ASTERISM_TEST_FOLDER"
"""The environment variable that names the folder where turns leave their marks."""


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class Seats(BaseModel):
    """The answer that is wanted."""

    seats: int


def mark(name: str) -> int:
    """Note that a turn is made, and count those of its name."""
    file = Path(os.environ[FOLDER]) / name
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b".")
    os.close(descriptor)
    return file.stat().st_size


def graph(*nodes: Any) -> Any:
    """A graph of nodes that follow each other."""
    builder: Any = StateGraph(State)
    names = [START, *(node.__name__ for node in nodes), END]
    for node in nodes:
        builder.add_node(node.__name__, node)
    for one, next_one in pairwise(names):
        builder.add_edge(one, next_one)
    return builder.compile()


def described(node: Any) -> Participant:
    return Participant(runs=graph(node), description="Works.")


def model() -> Participant:
    """A model that always says the same, and what that takes."""
    script = [ScriptedReply(text="Hello there", usage=(10, 5))] * 20
    return Participant(model=ScriptedChatModel(script=script), description="Greets.")


async def echo_back(state: State) -> Any:
    """Tell all that the conversation has asked for."""
    asked = [message.text for message in state["messages"] if message.type == "human"]
    usage: Any = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    said = AIMessage(
        " / ".join(asked), usage_metadata=usage, response_metadata={"model_name": "gpt-5-mini"}
    )
    return {"messages": [said]}


async def before(state: State) -> Any:
    await asyncio.to_thread(mark, "before")
    return {}


async def before_failing(state: State) -> Any:
    await asyncio.to_thread(mark, "before-failing")
    return {}


async def ask_seats(state: State) -> Any:
    seats: Seats = interrupt({"prompt": "How many seats?"}, response_schema=Seats)
    return {"messages": [AIMessage(f"{seats.seats} seats")]}


async def ask_one(state: State) -> Any:
    return {"messages": [AIMessage(f"one: {interrupt({'prompt': 'One?'})}", name="one")]}


async def ask_two(state: State) -> Any:
    return {"messages": [AIMessage(f"two: {interrupt({'prompt': 'Two?'})}", name="two")]}


async def tell_both(state: State) -> Any:
    said = sorted(message.text for message in state["messages"] if message.name)
    return {"messages": [AIMessage(", ".join(said))]}


async def slow_work(state: State) -> Any:
    await asyncio.to_thread(mark, "slow")
    await asyncio.sleep(3)
    await asyncio.to_thread(mark, "slow-done")
    return {"messages": [AIMessage("slow is done")]}


async def fail_once(state: State) -> Any:
    if await asyncio.to_thread(mark, "fails") == 1:
        raise RuntimeError("out of order")
    return {"messages": [AIMessage("in order")]}


def _both() -> Any:
    builder: Any = StateGraph(State)
    for node in (ask_one, ask_two, tell_both):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, "ask_one")
    builder.add_edge(START, "ask_two")
    builder.add_edge(["ask_one", "ask_two"], "tell_both")
    return builder.compile()


echo = graph(echo_back)
seats = graph(before, ask_seats)
both = _both()
slow = graph(slow_work)
fails = graph(before_failing, fail_once)
team = (
    SupervisorWorkflowBuilder("Team", finish="forward", description="Seats people.")
    .participants(seats=described(ask_seats), echo=model())
    .with_manager(follow(["echo", "seats"]))
    .build()
)
limited = (
    SupervisorWorkflowBuilder("Limited", finish="forward", max_iterations=1)
    .participants(echo=model())
    .with_manager(follow(["echo", "echo", "echo"]))
    .build()
)
GRAPHS = ("both", "echo", "fails", "limited", "seats", "slow", "team")
