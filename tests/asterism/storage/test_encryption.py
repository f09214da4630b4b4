"""Encrypted rows belong to their place; keys are changed without a loss."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer, resume
from asterism.apps.stored_threads import list_threads, reader_of
from asterism.errors import ConfigurationError, StorageError
from asterism.storage.retention import export_thread, import_thread
from asterism.storage.serializers import StrictEncryptedSerializer, serializer
from tests.damage import team
from tests.teams import follow

OLD, NEW, OTHER = (bytes([number]) * 32 for number in (1, 2, 3))
REQUEST: Any = {"messages": [("user", "Tell about the swordfish")]}


def place(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}, "metadata": {"graph": "toy"}}


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def told(saver: Any, thread: str) -> str:
    values = reader_of(saver).get_state(place(thread)).values
    return str(values["messages"][0].text)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with threads of alice and mallory."""
    where = url_of(tmp_path / "a.db")
    if request.param == "postgres":
        where = request.getfixturevalue("postgres")
    with open_checkpointer(where, key=OLD) as saver:
        for thread in ("alice", "mallory"):
            team(saver).invoke(REQUEST, place(thread))
    return where


def execute(url: str, *statements: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            for statement in statements:
                file.execute(statement)
    else:
        with psycopg.connect(url) as server:
            for statement in statements:
                server.execute(statement.encode())


def tables(url: str) -> tuple[str, ...]:
    if url.startswith("sqlite"):
        return ("checkpoints", "writes")
    return ("checkpoints", "checkpoint_blobs", "checkpoint_writes")


def test_a_thread_with_a_key_goes_on(url: str) -> None:
    with open_checkpointer(url, key=OLD) as saver:
        assert told(saver, "alice") == "Tell about the swordfish"
        assert resume(team(saver), place("alice"), "blue")["status"] == "completed"
        again = team(saver).invoke({"messages": [("user", "Again")]}, place("alice"))
        assert again["status"] in ("waiting", "completed")
        assert len([*saver.list(place("alice"))]) > 3


def test_rows_that_are_moved_to_another_thread_are_refused(url: str) -> None:
    moves = [f"DELETE FROM {table} WHERE thread_id = 'mallory'" for table in tables(url)]
    moves += [
        f"UPDATE {table} SET thread_id = 'mallory' WHERE thread_id = 'alice'"
        for table in tables(url)
    ]
    execute(url, *moves)
    with open_checkpointer(url, key=OLD) as saver:
        for read in (
            lambda: told(saver, "mallory"),
            lambda: export_thread(saver, "mallory"),
            lambda: team(saver).get_state(place("mallory"), subgraphs=True),
            lambda: resume(team(saver), place("mallory"), "blue"),
        ):
            with pytest.raises(StorageError, match="'mallory'"):
                read()


def test_writes_that_are_moved_are_refused(url: str) -> None:
    table = tables(url)[-1]
    execute(
        url,
        f"DELETE FROM {table} WHERE thread_id = 'mallory'",
        f"UPDATE {table} SET thread_id = 'mallory' WHERE thread_id = 'alice'",
    )
    with open_checkpointer(url, key=OLD) as saver, pytest.raises(StorageError, match="'mallory'"):
        export_thread(saver, "mallory")


def test_labels_and_checkpoints_that_are_changed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for number, change in enumerate(
        (
            "UPDATE checkpoints SET metadata = replace(CAST(metadata AS TEXT), 'toy', 'os:system')",
            "UPDATE checkpoints SET checkpoint_id = '2' || substr(checkpoint_id, 2)",
            "UPDATE checkpoints SET checkpoint_ns = 'x'",
        )
    ):
        path = tmp_path / f"{number}.db"
        with open_checkpointer(url_of(path), key=OLD) as saver:
            team(saver).invoke(REQUEST, place("t"))
        execute(url_of(path), change)
        refused = pytest.raises(StorageError, match="'t' cannot be read")
        with open_checkpointer(url_of(path), key=OLD) as saver, refused:
            [*saver.list(place("t"))]


def test_keys_are_changed(url: str) -> None:
    with open_checkpointer(url, key=[NEW, OLD]) as saver:
        assert told(saver, "alice") == "Tell about the swordfish"
        team(saver).invoke(REQUEST, place("bob"))
    with open_checkpointer(url, key=NEW) as saver:
        assert told(saver, "bob") == "Tell about the swordfish"
        with pytest.raises(StorageError, match="cannot be decrypted"):
            told(saver, "alice")
    with open_checkpointer(url, key=[OTHER]) as saver, pytest.raises(StorageError):
        told(saver, "bob")
    with open_checkpointer(url, key=[NEW, OLD]) as saver:  # written anew, with the new key
        data = export_thread(saver, "alice")
        saver.delete_thread("alice")
        import_thread(saver, data)
    with open_checkpointer(url, key=NEW) as saver:
        assert told(saver, "alice") == "Tell about the swordfish"


def test_what_older_versions_have_encrypted_is_read(tmp_path: Path) -> None:
    older = StrictEncryptedSerializer([OLD])
    kind, data = older.dumps_typed({"a": 1})  # without a place, as for a database in memory
    assert kind == "msgpack+aes"
    assert serializer([NEW, OLD]).loads_typed((kind, data)) == {"a": 1}
    with pytest.raises(StorageError, match="cannot be decrypted"):
        serializer(NEW).loads_typed((kind, data))


@pytest.mark.parametrize("key", [[], b"short", [OLD, b"short"]])
def test_a_key_that_is_none_is_refused(key: Any) -> None:
    with pytest.raises(ConfigurationError):
        serializer(key)


async def test_a_long_thread_is_read_again_from_its_histories(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    def build(saver: Any) -> Any:
        return (
            SupervisorWorkflowBuilder("Team", finish="forward")
            .participants(clerk=Participant(runs=lambda m: "Done.", description="Works."))
            .with_manager(follow(["clerk"]))
            .build(checkpointer=saver)
        )

    for _ in range(4):
        with open_checkpointer(url_of(path), key=OLD) as saver:
            for _ in range(3):
                await build(saver).ainvoke(REQUEST, place("t"))
    with open_checkpointer(url_of(path), key=OLD) as saver:
        state = await build(saver).aget_state(place("t"))
        assert len(state.values["messages"]) >= 24
        (row,) = await asyncio.ensure_future(list_threads(saver, 5))
        assert row["status"] == "completed"
