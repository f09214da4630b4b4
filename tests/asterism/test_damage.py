"""Damaged rows are a `StorageError` that names the thread, in every call; others are not hidden."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt

from asterism import (
    Participant,
    SupervisorWorkflowBuilder,
    open_checkpointer,
    proceed,
    read_run,
    resume,
)
from asterism.errors import AsterismError, StorageError
from asterism.retention import export_thread, forget_user, prune
from asterism.threads import list_threads, origin_of, reader_of
from asterism.ui.hub import Hub
from asterism.ui.watch import Watch
from tests.teams import follow

THREAD: RunnableConfig = {"configurable": {"thread_id": "bad"}, "metadata": {"graph": "toy"}}


RESUME = 13
"""How many calls come before those that go on with the thread."""


def packed(value: Any) -> bytes:
    return ormsgpack.packb(value)


VALUES: dict[str, Any] = {
    "null": None,
    "empty": b"",
    "text": "x",
    "number": 7,
    "real": 0.5,
    "blob": b"\xff\xfe\x00",
    "json list": b"[1]",
    "json number": b"7",
    "json of others": b'{"step": "x", "source": 7, "parents": 3, "run_id": []}',
    "deep json": b"[" * 100_000,
    "packed number": packed(7),
    "packed text": packed("x"),
    "packed list": packed([1, "a", None]),
    "packed map": packed({"a": 1}),
    "packed nothing": packed(None),
    "packed newer": packed(
        {
            "v": 99,
            "id": "x",
            "ts": "x",
            "channel_values": {},
            "channel_versions": {},
            "versions_seen": {},
        }
    ),
    "packed parts": packed(
        {"v": 4, "id": 7, "ts": 7, "channel_values": 3, "channel_versions": 4, "versions_seen": 5}
    ),
}
COLUMNS = {
    "checkpoints": (
        *("thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id"),
        *("type", "checkpoint", "metadata"),
    ),
    "writes": (
        *("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
        *("channel", "type", "value", "task_path"),
    ),
    "asterism": ("key", "value"),
}


def team(saver: Any) -> Any:
    def work(messages: Any) -> str:
        if len(messages) == 1:
            return "Done."
        return f"told {interrupt({'prompt': 'Which colour?'})}"

    return (
        SupervisorWorkflowBuilder("Team", finish="forward")
        .participants(clerk=Participant(runs=work, description="Works."))
        .with_manager(follow(["clerk", "clerk"]))
        .build(checkpointer=saver)
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database with two threads, one of which waits for an answer."""
    path = tmp_path_factory.mktemp("whole") / "a.db"
    with open_checkpointer(f"sqlite:///{path}") as saver:
        for thread in ("good", "bad"):
            place: Any = {**THREAD, "configurable": {"thread_id": thread}}
            team(saver).invoke({"messages": [("user", "Go")]}, place)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


def thread_calls(saver: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Everything that reads a thread."""
    graph = team(saver)
    yield "get_tuple", lambda: saver.get_tuple(THREAD)
    yield "list", lambda: [*saver.list({"configurable": {"thread_id": "bad"}})]
    yield "list all", lambda: [*saver.list(None)]
    yield "get_state", lambda: graph.get_state(THREAD, subgraphs=True)
    yield "aget_state", lambda: asyncio.run(graph.aget_state(THREAD, subgraphs=True))
    yield "history", lambda: [*graph.get_state_history(THREAD)]
    yield "read_run", lambda: read_run(graph, THREAD)
    yield "origin", lambda: asyncio.run(origin_of(saver, "bad"))
    yield "show", lambda: reader_of(saver).get_state(THREAD)
    yield "export", lambda: export_thread(saver, "bad")
    yield "page", lambda: asyncio.run(Watch(Hub(saver, ["toy"])).now("bad"))
    yield "prune", lambda: prune(saver, keep_last=50)
    yield "forget", lambda: forget_user(saver, "nobody")
    yield "resume", lambda: resume(graph, THREAD, "blue")
    yield "proceed", lambda: proceed(graph, THREAD)
    yield "invoke", lambda: graph.invoke({"messages": [("user", "Again")]}, THREAD)


def damaged(path: Path, whole: bytes, table: str, column: str, value: Any) -> bool:
    """Damage a column of a thread; False where the database allows no such value."""
    path.write_bytes(whole)
    where = " WHERE thread_id = 'bad'" if table != "asterism" else ""
    with closing(sqlite3.connect(path)) as connection, connection:
        try:
            connection.execute(f"UPDATE OR REPLACE {table} SET {column} = ?{where}", (value,))
        except sqlite3.IntegrityError:
            return False
    return True


def fault_of(name: str, call: Callable[[], Any], table: str) -> list[str]:
    """Make a call on a damaged thread; return what is wrong with its error."""
    unnamed = table == "asterism" or name in ("list all", "prune", "forget")
    try:
        call()
    except StorageError as error:
        return [] if unnamed or "'bad'" in str(error) else [f"{name}: no thread in: {error}"]
    except AsterismError:
        pass
    except Exception as error:
        return [f"{name}: {type(error).__name__}: {error}"[:200]]
    return []


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize(
    ("table", "column"), [(table, name) for table, names in COLUMNS.items() for name in names]
)
def test_each_call_on_a_damaged_row_has_an_error_of_ours(
    table: str, column: str, value: Any, tmp_path: Path, whole: bytes
) -> None:
    path = tmp_path / "a.db"
    if not damaged(path, whole, table, column, value):
        return
    untyped = list[str]()
    for first in (0, RESUME, RESUME + 1, RESUME + 2):  # each of the last ones changes the thread
        damaged(path, whole, table, column, value)
        name = "open"
        try:
            with open_checkpointer(f"sqlite:///{path}") as saver:
                calls = [*thread_calls(saver)]
                for name, call in calls[first : RESUME if first < RESUME else first + 1]:
                    untyped += fault_of(name, call, table)
        except StorageError:
            pass
        except Exception as error:
            untyped.append(f"open: {type(error).__name__}: {error}"[:200])
    assert not untyped, "\n".join(untyped)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("column", ["type", "checkpoint", "metadata"])
def test_one_bad_thread_hides_no_other(
    column: str, value: Any, tmp_path: Path, whole: bytes
) -> None:
    path = tmp_path / "a.db"
    if not damaged(path, whole, "checkpoints", column, value):
        return
    with open_checkpointer(f"sqlite:///{path}") as saver:
        rows = {row["thread"]: row for row in asyncio.run(list_threads(saver, 9))}
        assert rows["good"]["status"] == "running"
        assert "bad" in rows
        assert export_thread(saver, "good")["thread_id"] == "good"
        pruned = prune(saver, older_than=timedelta(0), unfinished=True)
        assert (pruned.threads, pruned.damaged) in [(1, 1), (2, 0)]
