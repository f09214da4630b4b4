"""Files that can only be read, and files that go away while they are open."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asterism import open_checkpointer
from asterism.errors import StorageError
from asterism.storage.retention import export_thread
from tests.processes import run
from tests.teams import Turns, star

THREAD: Any = {"configurable": {"thread_id": "t"}, "metadata": {"graph": "toy"}}
READS = """
import os, sys
os.setgid(65534); os.setuid(65534)
from asterism import open_checkpointer
from asterism.errors import StorageError
from asterism.apps.cli.app import app
from typer.testing import CliRunner
for command in (["threads"], ["show", "t"], ["export", "t"], ["trace", "t"]):
    done = CliRunner().invoke(app, [*command, "--db", sys.argv[1]])
    assert done.exit_code == 0, (command, done.output)
    assert "Plan" in done.output, (command, done.output)
with open_checkpointer(f"sqlite:///{sys.argv[1]}") as saver:
    try:
        saver.put_writes({"configurable": {"thread_id": "t", "checkpoint_ns": "",
                          "checkpoint_id": "x"}}, [("a", 1)], "task")
    except StorageError as error:
        print("refused:", error)
"""


@pytest.fixture
def path() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        with open_checkpointer(f"sqlite:///{folder}/a.db") as saver:
            star(Turns(), ["venue"]).build(checkpointer=saver).invoke(
                {"messages": [("user", "Plan it")]}, THREAD
            )
        with closing(sqlite3.connect(folder / "a.db")) as connection, connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        yield folder / "a.db"
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root becomes another user")
@pytest.mark.parametrize(("file", "folder"), [(0o444, 0o777), (0o444, 0o555), (0o666, 0o555)])
def test_what_can_only_be_read_is_read(path: Path, file: int, folder: int) -> None:
    path.chmod(file)
    path.parent.chmod(folder)
    done = run(READS, str(path))
    assert done.returncode == 0, done.stderr
    if file == 0o444:
        assert "refused: The database" in done.stdout


def test_a_file_that_is_gone_is_noticed(path: Path) -> None:
    with open_checkpointer(f"sqlite:///{path}") as saver:
        workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
        path.unlink()
        with pytest.raises(StorageError, match="is gone"):
            workflow.invoke({"messages": [("user", "Plan it")]}, THREAD)


async def test_a_file_that_is_replaced_is_noticed(path: Path) -> None:
    with open_checkpointer(f"sqlite:///{path}") as saver:
        workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
        copy = path.with_name("b.db")
        shutil.copy(path, copy)
        copy.replace(path)
        with pytest.raises(StorageError, match="is gone"):
            await workflow.ainvoke({"messages": [("user", "Plan it")]}, THREAD)
    with open_checkpointer(f"sqlite:///{path}") as saver:
        assert export_thread(saver, "t")["thread_id"] == "t"
