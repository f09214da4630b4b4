"""A disk that is full: the thread is named, nothing is lost, what is stored can be read."""

import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig

from asterism import open_checkpointer, read_run
from asterism.core.run_types import WorkflowInput
from asterism.errors import StorageError
from asterism.storage.sqlite import GroupCommitSaver
from tests.teams import Turns, star

THREAD: RunnableConfig = {"configurable": {"thread_id": "party"}}
LONG = "A hundred guests. " * 5_000


@contextmanager
def no_pages(saver: GroupCommitSaver, path: Path) -> Generator[None]:
    """Let the database have no more pages, as on a full disk."""
    (pages,) = saver.conn.execute("PRAGMA page_count").fetchone()
    saver.conn.execute(f"PRAGMA max_page_count={pages}")
    yield
    saver.conn.execute("PRAGMA max_page_count=1000000")


@contextmanager
def no_bytes(saver: GroupCommitSaver, path: Path) -> Generator[None]:
    """Let no file of this process grow beyond what the log of the database has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.with_name(f"{path.name}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("full", [no_pages, no_bytes])
@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_run_on_a_full_disk_names_its_thread_and_goes_on_later(
    full: Callable[..., Any], way: str, tmp_path: Path
) -> None:
    path, turns = tmp_path / "a.db", Turns()
    with open_checkpointer(f"sqlite:///{path}") as saver:
        assert isinstance(saver, GroupCommitSaver)
        workflow = star(turns, ["ann", "bob"]).build(checkpointer=saver)
        workflow.invoke({"messages": [("user", "Go")]}, THREAD)
        before = workflow.get_state(THREAD).values
        asked: WorkflowInput = {"messages": [("user", LONG)]}
        with full(saver, path):
            with pytest.raises(StorageError, match=r"cannot be used: .*'party' is not stored"):
                if way == "sync":
                    workflow.invoke(asked, THREAD)
                else:
                    await workflow.ainvoke(asked, THREAD)
            assert workflow.get_state(THREAD).values == before
            assert [*saver.list(THREAD)]
            assert read_run(workflow, THREAD).requests
        result = await workflow.ainvoke(asked, THREAD)
        assert result["status"] == "completed"
