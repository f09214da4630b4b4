"""Databases by URL."""

import stat
from pathlib import Path

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from asterism import aopen_checkpointer, open_checkpointer
from asterism.errors import StorageError
from tests.teams import Turns, said, star

REQUEST = {"messages": [("user", "Plan it")]}


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


async def test_memory_is_gone_with_the_process() -> None:
    with open_checkpointer("memory:") as saver:
        assert isinstance(saver, InMemorySaver)
    async with aopen_checkpointer("memory:") as saver:
        assert isinstance(saver, InMemorySaver)


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


@pytest.mark.parametrize("url", ["", "threads.db", "mysql://x/y", "sqlite://", "sqlite://host/x"])
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
