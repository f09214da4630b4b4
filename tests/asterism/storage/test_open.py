"""Databases by URL."""

import asyncio
import contextlib
import itertools
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from asterism import (
    Participant,
    aopen_checkpointer,
    open_checkpointer,
    pending_requests,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import StorageError
from asterism.storage.sqlite import GroupCommitSaver
from tests.plans import drive
from tests.stored import FINISHED, FOLDER, WAITING, workflow
from tests.teams import Turns, follow, said, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


async def test_a_database_serves_sync_and_async_runs(
    tmp_path: Path, thread: RunnableConfig
) -> None:
    url = f"sqlite:///{tmp_path / 'a' / 'threads.db'}"
    turns = Turns()
    builder = star(turns, ["venue"])
    with open_checkpointer(url) as saver:
        assert isinstance(saver, SqliteSaver)
        assert said(builder.build(checkpointer=saver).invoke(REQUEST, thread)) == ["venue 1"]
    async with aopen_checkpointer(url) as saver:
        assert said(await builder.build(checkpointer=saver).ainvoke(REQUEST, thread)) == ["venue 2"]
    assert [len(prompt) for prompt in turns.prompts["venue"]] == [1, 3]


@pytest.mark.parametrize("url", ["memory:", "sqlite:///:memory:"])
async def test_memory_is_gone_with_the_process(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_checkpointer(url) as saver:
        assert isinstance(saver, InMemorySaver)
    async with aopen_checkpointer(url) as saver:
        assert isinstance(saver, InMemorySaver)
    assert list(tmp_path.iterdir()) == []


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with open_checkpointer(f"sqlite:///{folder / 'threads.db'}") as saver:
        saver.put_writes({"configurable": {"thread_id": "1", "checkpoint_id": "1"}}, [], "t")
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_relative_path_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_checkpointer("sqlite:///here.db"):
        assert (tmp_path / "here.db").exists()


@pytest.mark.parametrize("path", ["here.db", "./here.db", "folder/here.db", "a b.sqlite"])
def test_a_path_alone_is_a_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_checkpointer(path), open_checkpointer(str(tmp_path / path)):
        assert (tmp_path / path).exists()


@pytest.mark.parametrize("name", ["a#1.db", "a?b=c.db", "ü %20 小.db", "C# notes/a.db"])
def test_a_file_has_the_name_that_was_given(name: str, tmp_path: Path) -> None:
    with open_checkpointer(f"sqlite:///{tmp_path / name}"):
        assert list(tmp_path.rglob("*.db")) == [tmp_path / name]


@pytest.mark.parametrize("url", ["", "threads", "mysql://x/y", "sqlite://", "sqlite://host/x"])
async def test_an_unknown_url_is_an_error_that_says_what_is_allowed(url: str) -> None:
    with (
        pytest.raises(StorageError, match=r"cannot be opened; allowed: sqlite:///"),
        open_checkpointer(url),
    ):
        pass
    with pytest.raises(StorageError, match="allowed"):
        async with aopen_checkpointer(url):
            pass


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(StorageError, match="cannot be opened"),
        open_checkpointer(f"sqlite:///{tmp_path / 'file' / 'threads.db'}"),
    ):
        pass


async def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database " * 100)
    url = f"sqlite:///{tmp_path / 'x.db'}"
    with pytest.raises(StorageError, match="not a database"), open_checkpointer(url):
        pass
    with pytest.raises(StorageError, match="not a database"):
        async with aopen_checkpointer(url):
            pass
    assert (tmp_path / "x.db").read_text().startswith("this is no database")


def stored(path: Path) -> list[str]:
    with open_checkpointer(f"sqlite:///{path}") as saver:
        workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
        return said(workflow.invoke(REQUEST, {"configurable": {"thread_id": "t"}}))


async def failing(path: Path, words: str, prepare: Callable[[sqlite3.Connection], object]) -> None:
    """Run on a database that was made unusable, in sync and async; nothing may be damaged."""
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    with open_checkpointer(f"sqlite:///{path}") as saver:
        assert isinstance(saver, GroupCommitSaver)
        workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
        before = workflow.get_state(config).values["messages"]
        prepare(saver.conn)
        with pytest.raises(StorageError, match=words):
            workflow.invoke(REQUEST, config)
        with pytest.raises(StorageError, match=words):
            await workflow.ainvoke(REQUEST, config)
    with closing(sqlite3.connect(path)) as raw, raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
    with open_checkpointer(f"sqlite:///{path}") as saver:
        workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
        assert workflow.get_state(config).values["messages"][: len(before)] == before


async def test_a_locked_database_is_an_error_and_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    stored(path)
    other = sqlite3.connect(path, isolation_level=None)
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    with closing(other), open_checkpointer(f"sqlite:///{path}") as saver:
        assert isinstance(saver, GroupCommitSaver)
        workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
        saver._groups._patience = 50  # milliseconds, where a run would wait for five seconds
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"is locked.*Another process writes to it"):
            workflow.invoke(REQUEST, config)
        with pytest.raises(StorageError, match="is locked"):
            await workflow.ainvoke(REQUEST, config)
        other.execute("ROLLBACK")
        assert said(workflow.invoke(REQUEST, config)) == ["venue 1"]


async def test_a_full_database_is_an_error_and_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    stored(path)

    def fill(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
        rows = (
            "checkpoints (thread_id, checkpoint_id, checkpoint) VALUES ('x', ?, zeroblob(?))",
            "writes (thread_id, checkpoint_id, task_id, idx, channel, value) "
            "VALUES ('x', ?, '', 0, '', zeroblob(?))",
        )
        for size, row in itertools.product((10_000, 1_000, 100, 0), rows):
            with contextlib.suppress(sqlite3.Error):  # also the room that is left in the pages
                for number in itertools.count():
                    connection.execute(f"INSERT INTO {row}", (f"{size} {number}", size))
                    connection.commit()
            connection.rollback()

    await failing(path, "full.*Make room on the disk", fill)


async def test_a_database_that_may_only_be_read_is_an_error_and_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    stored(path)
    await failing(path, "readonly.*Make the file", lambda c: c.execute("PRAGMA query_only=1"))


async def test_a_database_that_was_closed_is_an_error_however_often_it_is_asked(
    tmp_path: Path, thread: RunnableConfig
) -> None:
    builder = star(Turns(), ["venue"])
    with open_checkpointer(f"sqlite:///{tmp_path / 'threads.db'}") as saver:
        workflow = builder.build(checkpointer=saver)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"closed database\. .* Keep open_checkpointer"):
            workflow.invoke(REQUEST, thread)
        with pytest.raises(StorageError, match=r"closed database\. .* Keep open_checkpointer"):
            await asyncio.wait_for(workflow.ainvoke(REQUEST, thread), 10)


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_database_that_is_closed_in_the_middle_of_a_run_is_an_error(
    way: str, tmp_path: Path, thread: RunnableConfig
) -> None:
    url = f"sqlite:///{tmp_path / 'threads.db'}"
    opened = contextlib.ExitStack()
    saver = opened.enter_context(open_checkpointer(url))
    ends = Participant(runs=lambda messages: opened.close(), description="Ends too early.")
    broken = (
        star(Turns(), [])
        .participants(venue=ends)
        .with_manager(follow(["venue"]))
        .build(checkpointer=saver)
    )
    with pytest.raises(StorageError, match="closed database"):
        await asyncio.wait_for(drive(broken, way, REQUEST, thread), 10)
    with open_checkpointer(url) as saver:
        whole = star(Turns(), ["venue", "venue"]).build(checkpointer=saver)
        assert said(await drive(whole, way, None, thread)) == ["venue 1", "venue 2"]


async def test_a_folder_that_is_gone_is_an_error(tmp_path: Path, thread: RunnableConfig) -> None:
    path = tmp_path / "folder" / "threads.db"
    with open_checkpointer(f"sqlite:///{path}") as saver:
        workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
        shutil.rmtree(path.parent)
        with pytest.raises(StorageError, match=r"cannot be used: .* No such file"):
            workflow.invoke(REQUEST, thread)
        with pytest.raises(StorageError, match=r"cannot be used: .* No such file"):
            await workflow.ainvoke(REQUEST, thread)


async def test_a_damaged_row_is_an_error(tmp_path: Path, thread: RunnableConfig) -> None:
    with open_checkpointer(f"sqlite:///{tmp_path / 'threads.db'}") as saver:
        assert isinstance(saver, GroupCommitSaver)
        workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
        workflow.invoke(REQUEST, thread)
        saver.conn.execute("UPDATE checkpoints SET checkpoint = x'c1c1c1'")
        saver.conn.commit()
        with pytest.raises(StorageError, match=r"cannot be read: .* restore it from a copy"):
            workflow.get_state(thread)
        with pytest.raises(StorageError, match=r"cannot be read: .* restore it from a copy"):
            await workflow.ainvoke(REQUEST, thread)


async def test_a_damaged_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    stored(path)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StorageError, match="What is stored is not changed"):
        stored(path)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    stored(path)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE asterism SET value = '2' WHERE key = 'format'")
    raw.close()
    with pytest.raises(StorageError, match="has the format 2; this version of Asterism reads up"):
        stored(path)


def test_a_database_of_the_stock_saver_can_be_used(tmp_path: Path, thread: RunnableConfig) -> None:
    path = tmp_path / "threads.db"
    turns = Turns()
    builder = star(turns, ["venue"])
    with SqliteSaver.from_conn_string(str(path)) as stock:
        builder.build(checkpointer=stock).invoke(REQUEST, thread)
    with open_checkpointer(f"sqlite:///{path}") as saver:
        assert said(builder.build(checkpointer=saver).invoke(REQUEST, thread)) == ["venue 2"]
    with SqliteSaver.from_conn_string(str(path)) as stock:
        assert said(builder.build(checkpointer=stock).invoke(REQUEST, thread)) == ["venue 3"]
    assert [len(prompt) for prompt in turns.prompts["venue"]] == [1, 3, 5]


async def test_calls_that_wait_share_a_transaction_and_fail_alone(tmp_path: Path) -> None:
    with open_checkpointer(f"sqlite:///{tmp_path / 'threads.db'}") as saver:
        assert isinstance(saver, GroupCommitSaver)
        commits: list[str] = []
        saver.conn.set_trace_callback(
            lambda statement: commits.append(statement) if statement == "COMMIT" else None
        )
        config: RunnableConfig = {
            "configurable": {"thread_id": "1", "checkpoint_ns": "", "checkpoint_id": "1"}
        }
        with saver.lock:  # the thread waits, so that all but the first call share a transaction
            calls = [
                asyncio.ensure_future(saver.aput_writes(config, [("a", n)], f"task{n}"))
                for n in range(20)
            ]
            await asyncio.sleep(0.05)
        await asyncio.gather(*calls)
        assert len(commits) <= 3
        bad = saver.aput_writes(config, [("a", object())], "bad")
        good = saver.aput_writes(config, [("a", 1)], "good")
        results = await asyncio.gather(bad, good, return_exceptions=True)
        assert isinstance(results[0], Exception) and results[1] is None
        rows = saver.conn.execute("SELECT count(*) FROM writes").fetchone()
        assert rows == (21,)


@pytest.mark.parametrize("dump", sorted(FOLDER.glob("threads_v*.sql")), ids=lambda p: p.stem)
def test_what_every_version_stored_is_read_and_goes_on(dump: Path, tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.executescript(dump.read_text())
    raw.close()
    with open_checkpointer(f"sqlite:///{path}") as saver:
        built = workflow(saver)
        assert built.get_state(FINISHED).values["status"] == "completed"
        assert said(built.get_state(FINISHED).values) == ["venue 1", "paid: yes"]
        (request,) = pending_requests(built, WAITING)
        assert (request.participant, request.prompt) == ("bank", "Pay?")
        assert said(resume(built, WAITING, "no")) == ["venue 1", "paid: no"]
        assert built.invoke(REQUEST, FINISHED)["status"] == "waiting"
        assert said(built.get_state(FINISHED).values) == ["venue 3"]
