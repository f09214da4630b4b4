"""How histories are stored: as what is new, and whole when they have doubled."""

import sqlite3
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from asterism import open_checkpointer
from asterism.messages import fold_messages
from asterism.state import HistoryChannel


def bytes_a_turn(channel: Any, path: Path, turns: int, each: int) -> list[float]:
    """Return the bytes that a turn has taken so far, after every so many turns."""

    class State(TypedDict):
        messages: Annotated[list[AnyMessage], channel]

    def answer(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("word " * 40)]}

    builder = StateGraph(State)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    thread: Any = {"configurable": {"thread_id": "1"}}
    found: list[float] = []
    with open_checkpointer(f"sqlite:///{path}") as saver:
        graph = builder.compile(saver)
        for turn in range(1, turns + 1):
            request: Any = {"messages": [("user", f"Go {turn}")]}
            result = graph.invoke(request, thread)
            assert len(result["messages"]) == 2 * turn
            if turn % each == 0:
                with sqlite3.connect(path) as database:
                    query = "SELECT SUM(LENGTH(checkpoint)) FROM checkpoints"
                    found.append(database.execute(query).fetchone()[0] / turn)
    return found


@pytest.mark.parametrize(
    ("kind", "linear"), [(HistoryChannel, True), (DeltaChannel, False)], ids=["ours", "plain"]
)
def test_the_bytes_of_a_history_grow_with_its_length(
    kind: Any, linear: bool, tmp_path: Path
) -> None:
    """The channel that it is made of is there to show that the measure tells them apart."""
    channel = kind(fold_messages, snapshot_frequency=8)
    found = bytes_a_turn(channel, tmp_path / "threads.db", turns=160, each=40)
    assert (max(found[1:]) < 1.3 * found[0]) == linear
