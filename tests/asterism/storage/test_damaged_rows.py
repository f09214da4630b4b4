"""Damaged rows are a `StorageError` that names the thread, in every call; others are not hidden."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from asterism import open_checkpointer
from asterism.apps.stored_threads import list_threads
from asterism.errors import StorageError
from asterism.storage.retention import export_thread, prune
from tests.damage import PACKED, RESUME, fault_of, store_two, thread_calls, threads_in

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
    **PACKED,
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


PLAIN = ("null", "empty", "text", "number", "real", "blob")
FITTING = {
    "checkpoint": (*PLAIN, *PACKED),
    "value": (*PLAIN, *PACKED),
    "metadata": (*PLAIN, *(name for name in VALUES if "json" in name)),
}
"""Values of further kinds, which tell something in these columns alone."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database with two threads, one of which waits for an answer."""
    path = tmp_path_factory.mktemp("whole") / "a.db"
    with open_checkpointer(f"sqlite:///{path}") as saver:
        store_two(saver)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.read_bytes()


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


def cases() -> Iterator[Any]:
    """Yield what is damaged, and how; `make torture` tries every value in every column."""
    for table, names in COLUMNS.items():
        for column in names:
            fitting = FITTING.get(column, PLAIN)
            for name in VALUES if "ASTERISM_EXAMPLES" in os.environ else fitting:
                yield pytest.param(table, column, VALUES[name], id=f"{table}-{column}-{name}")


@pytest.mark.parametrize(("table", "column", "value"), [*cases()])
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
                    untyped += fault_of(name, call, named=table != "asterism")
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
        assert rows["good"]["status"] == "waiting"
        assert "bad" in rows
        assert export_thread(saver, "good")["thread_id"] == "good"
        assert "good" in threads_in(saver.list(None))
        assert "good" in threads_in(saver.list(None, filter={"graph": "toy"}))
        pruned = prune(saver, older_than=timedelta(0), unfinished=True)
        assert (pruned.threads, pruned.damaged) in [(1, 1), (2, 0)]
