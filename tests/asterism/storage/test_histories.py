"""How histories are stored: as what is new, and whole when they have doubled."""

import re
import sqlite3
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from typing_extensions import TypedDict

from asterism import open_checkpointer
from asterism.core.messages import fold_messages
from asterism.core.state import HistoryChannel


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
                with closing(sqlite3.connect(path)) as database, database:
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


WRITE = st.one_of(
    st.builds(lambda n: [HumanMessage("new", id=f"m{n}")], st.integers(0, 12)),
    st.builds(lambda n: AIMessage("again", id=f"m{n}"), st.integers(0, 12)),
    st.builds(lambda n: [RemoveMessage(f"m{n}")], st.integers(0, 12)),
    st.just([("user", "plain")]),
    st.just([RemoveMessage(REMOVE_ALL_MESSAGES)]),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(WRITE, min_size=1, max_size=3), max_size=12))
def test_a_channel_that_knows_its_places_folds_as_one_that_looks(steps: list[list[Any]]) -> None:
    channel = HistoryChannel(fold_messages, list, snapshot_frequency=10).from_checkpoint([])
    looked: list[Any] = []
    for writes in steps:
        try:
            expected = fold_messages(looked, deepcopy(writes))
        except ValueError as error:  # it removes what is not there
            with pytest.raises(ValueError, match=re.escape(str(error))):
                channel.update(deepcopy(writes))
            continue
        channel.update(deepcopy(writes))
        looked = expected
        assert [(m.id, m.content) for m in channel.get()] == [(m.id, m.content) for m in looked]


@pytest.mark.parametrize("change", ["append", "pop", "clear"])
def test_a_history_that_is_changed_in_place_is_looked_through_again(change: str) -> None:
    channel = HistoryChannel(fold_messages, list, snapshot_frequency=10).from_checkpoint([])
    channel.update([[HumanMessage("a", id="1"), AIMessage("b", id="2")]])
    history = channel.get()
    if change == "append":
        history.append(AIMessage("c", id="3"))
    else:
        getattr(history, change)()
    expected = fold_messages(history, [[AIMessage("d", id="3"), AIMessage("e", id="2")]])
    channel.update([[AIMessage("d", id="3"), AIMessage("e", id="2")]])
    assert channel.get() == expected
