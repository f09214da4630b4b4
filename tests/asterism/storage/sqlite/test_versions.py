"""Channel versions: narrow in the sqlite saver, and in order wherever a thread goes on."""

import sqlite3
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from asterism import open_checkpointer
from asterism.core.run_types import WorkflowInput
from asterism.storage.sqlite import GroupCommitSaver
from tests.teams import Turns, said, star

CONFIG: Any = {"configurable": {"thread_id": "t"}}
ASKED: WorkflowInput = {"messages": [("user", "Go.")]}


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(999_980, 1_000_010))
def test_a_later_version_comes_after_an_earlier_one_whoever_makes_it(
    by_ours: list[bool], start: int
) -> None:
    ours, stock = GroupCommitSaver(sqlite3.connect(":memory:")), InMemorySaver()
    versions: list[Any] = [None, f" {start:06}" if start < 1_000_000 else f"{start:032}"]
    for mine in by_ours:
        maker: BaseCheckpointSaver[Any] = ours if mine else stock
        versions.append(maker.get_next_version(versions[-1], None))
    ours.close()
    ours.conn.close()
    made = versions[1:]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert [int(version.split(".")[0]) for version in made] == list(range(start, start + len(made)))


def test_the_first_versions_are_narrow() -> None:
    saver = GroupCommitSaver(sqlite3.connect(":memory:"))
    first = saver.get_next_version(None, None)
    assert (first, saver.get_next_version(first, None)) == (" 000001", " 000002")
    saver.close()
    saver.conn.close()


def test_a_thread_goes_on_with_the_stock_saver_and_back(tmp_path: Path) -> None:
    path, turns = tmp_path / "threads.db", Turns()
    workflow = star(turns, ["ann", "bob", "ann"])
    for _ in range(2):
        with open_checkpointer(f"sqlite:///{path}") as saver:
            result = workflow.build(checkpointer=saver).invoke(ASKED, CONFIG)
            assert len(said(result)) == 3
        with SqliteSaver.from_conn_string(str(path)) as stock:
            result = workflow.build(checkpointer=stock).invoke(ASKED, CONFIG)
            assert len(said(result)) == 3
    assert turns.taken == {"ann": 8, "bob": 4}
    assert len(turns.prompts["ann"][-1]) == 15  # its whole history, whoever stored it


async def test_a_thread_goes_on_with_the_stock_async_saver(tmp_path: Path) -> None:
    path, turns = tmp_path / "threads.db", Turns()
    workflow = star(turns, ["ann", "bob", "ann"])
    with open_checkpointer(f"sqlite:///{path}") as saver:
        workflow.build(checkpointer=saver).invoke(ASKED, CONFIG)
    async with AsyncSqliteSaver.from_conn_string(str(path)) as stock:
        result = await workflow.build(checkpointer=stock).ainvoke(ASKED, CONFIG)
    assert said(result) == ["ann 3", "bob 2", "ann 4"]
