"""Damaged rows of Postgres are a `StorageError` that names the thread, in every call."""

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg
import pytest

from asterism import open_checkpointer
from asterism.apps.stored_threads import list_threads
from asterism.storage.open import migrate
from asterism.storage.retention import export_thread, prune
from tests.damage import PACKED, RESUME, fault_of, store_two, thread_calls, threads_in
from tests.databases import Server

TEXTS: dict[str, Any] = {"null": None, "empty": "", "text": "x", "number": "7"}
NUMBERS: dict[str, Any] = {"null": None, "below": -1, "big": 2**31 - 1}
BLOBS: dict[str, Any] = {"null": None, "empty": b"", "blob": b"\xff\xfe\x00", **PACKED}
OBJECTS: dict[str, Any] = {
    "null": None,
    **{
        name: json.dumps(value)
        for name, value in {
            "nothing": None,
            "list": [1],
            "number": 7,
            "text": "x",
            "empty": {},
            "others": {"step": "x", "source": 7, "parents": 3, "run_id": []},
            "older": {"v": 1, "id": "x", "ts": "x", "channel_versions": {}, "versions_seen": {}},
            "newer": {"v": 99, "id": "x", "ts": "x", "channel_versions": {}, "versions_seen": {}},
            "parts": {
                "v": 4,
                "id": 7,
                "ts": 7,
                "channel_values": 3,
                "channel_versions": 4,
                "versions_seen": 5,
            },
        }.items()
    },
    "deep": "[" * 5_000 + "]" * 5_000,
}
COLUMNS = {
    "checkpoints": {
        **dict.fromkeys(
            ("thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "type"), TEXTS
        ),
        **dict.fromkeys(("checkpoint", "metadata"), OBJECTS),
    },
    "checkpoint_blobs": {
        **dict.fromkeys(("thread_id", "checkpoint_ns", "channel", "version", "type"), TEXTS),
        "blob": BLOBS,
    },
    "checkpoint_writes": {
        **dict.fromkeys(("thread_id", "checkpoint_ns", "checkpoint_id", "task_id"), TEXTS),
        **dict.fromkeys(("channel", "type", "task_path"), TEXTS),
        "idx": NUMBERS,
        "blob": BLOBS,
    },
    "asterism_leases": {"number": NUMBERS, "seconds": NUMBERS},
    "asterism": {"key": TEXTS, "value": TEXTS},
    "checkpoint_migrations": {"v": NUMBERS},
}


WHOLE = "ASTERISM_EXAMPLES" in os.environ
"""Whether each value and each call is tried: `make torture` says so, `make test` tries a sample."""
FIRST = (0, RESUME, RESUME + 1, RESUME + 2) if WHOLE else (0, RESUME)
"""Where calls begin; each of the last ones changes the thread."""
SAMPLE = ("null", "text", "blob", "packed list", "packed map", "list", "older", "parts", "big")


def values_of(table: str, column: str) -> dict[str, Any]:
    """Return the values that a column is damaged with."""
    found = COLUMNS[table][column]
    return {name: found[name] for name in found if WHOLE or name in SAMPLE}


class Whole(NamedTuple):
    """A database with two threads, which is put back as it was before each change."""

    url: str

    def damage(self, table: str, column: str, value: Any) -> bool:
        """Damage a column of a thread; False where the database allows no such value."""
        where = " WHERE thread_id = 'bad'" if "check" in table and "migr" not in table else ""
        with psycopg.connect(self.url) as connection:
            for name in COLUMNS:
                connection.execute(f"TRUNCATE {name}".encode())
                connection.execute(f"INSERT INTO {name} SELECT * FROM whole.{name}".encode())
            connection.commit()
            try:
                change = f"UPDATE {table} SET {column} = %s{where}"
                connection.execute(change.encode(), (value,))
            except psycopg.Error:
                return False
        return True


@pytest.fixture(scope="module")
def whole(server: Server) -> Iterator[Whole]:
    url = server.create()
    with open_checkpointer(url) as saver:
        store_two(saver)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA whole")
        for name in COLUMNS:
            connection.execute(f"CREATE TABLE whole.{name} AS TABLE {name}".encode())
    yield Whole(url)
    server.drop(url)


def faults_of(url: str, calls: slice, named: bool) -> list[str]:
    """Make some calls on a damaged database, and say what is wrong with their errors."""
    found = list[str]()

    def use() -> None:
        with open_checkpointer(url) as saver:
            for name, call in [*thread_calls(saver)][calls]:
                found.extend(fault_of(name, call, named=named))

    found += fault_of("migrate", lambda: migrate(url), named=False)
    return [*fault_of("open", use, named=False), *found]


@pytest.mark.parametrize(
    ("table", "column"), [(table, name) for table, names in COLUMNS.items() for name in names]
)
def test_each_call_on_a_damaged_row_has_an_error_of_ours(
    table: str, column: str, whole: Whole
) -> None:
    untyped = list[str]()
    for what, value in values_of(table, column).items():
        for first in FIRST:
            if not whole.damage(table, column, value):
                break
            calls = slice(first, RESUME if first < RESUME else first + 1)
            named = table.startswith("checkpoint_w") or table in ("checkpoints", "checkpoint_blobs")
            untyped += [f"{what}: {fault}" for fault in faults_of(whole.url, calls, named)]
    assert not untyped, "\n".join(untyped)


@pytest.mark.parametrize("column", ["type", "checkpoint", "metadata"])
def test_one_bad_thread_hides_no_other(column: str, whole: Whole) -> None:
    for value in values_of("checkpoints", column).values():
        if not whole.damage("checkpoints", column, value):
            continue
        with open_checkpointer(whole.url) as saver:
            rows = {row["thread"]: row for row in asyncio.run(list_threads(saver, 9))}
            assert rows["good"]["status"] == "waiting"
            assert "bad" in rows
            assert export_thread(saver, "good")["thread_id"] == "good"
            assert "good" in threads_in(saver.list(None))
            assert "good" in threads_in(saver.list(None, filter={"graph": "toy"}))
            pruned = prune(saver, older_than=timedelta(0), unfinished=True)
            assert (pruned.threads, pruned.damaged) in [(1, 1), (2, 0)]
