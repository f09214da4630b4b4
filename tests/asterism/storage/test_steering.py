"""Steering messages stay beside a thread: in order, for every process, until they are dropped."""

import copy
import multiprocessing
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism import open_checkpointer
from asterism.core.steering import (
    SteeringMessage,
    add_steering,
    drop_steering,
    load_steering,
    read_steering,
    steering_store,
)
from asterism.core.sync_async import arun_steps, run_steps
from asterism.core.thread_lease import WriteFence, take_lease
from asterism.errors import StorageError

Saver = BaseCheckpointSaver[str]


def texts(saver: Any, thread: str = "t") -> list[Any]:
    return [message.content for message in run_steps(read_steering(saver, thread))]


def add(saver: Any, *contents: Any, thread: str = "t") -> list[SteeringMessage]:
    messages = [SteeringMessage(content=content) for content in contents]
    for message in messages:
        run_steps(add_steering(saver, thread, message))
    return messages


def test_messages_stay_in_order_until_they_are_dropped(saver: Saver) -> None:
    first, second, _ = add(saver, "one", [{"type": "text", "text": "two"}], "three")
    add(saver, "elsewhere", thread="other")
    assert texts(saver) == ["one", [{"type": "text", "text": "two"}], "three"]
    run_steps(add_steering(saver, "t", second))  # a call that is repeated adds nothing
    run_steps(drop_steering(saver, "t", [first.id, second.id, "unknown"]))
    assert texts(saver) == ["three"]
    assert texts(saver, "other") == ["elsewhere"]


async def test_in_async_too(saver: Saver) -> None:
    message = SteeringMessage(content="one", to="venue", when="idle")
    await arun_steps(add_steering(saver, "t", message))
    assert await arun_steps(read_steering(saver, "t")) == [message]
    await arun_steps(drop_steering(saver, "t", [message.id]))
    assert await arun_steps(read_steering(saver, "t")) == []


def test_whoever_drives_the_thread_and_who_does_not_see_the_same(saver: Saver) -> None:
    release = take_lease(saver, "t")
    assert release is not None
    add(saver, "while it is driven")
    assert texts(saver) == ["while it is driven"]
    release()
    assert texts(saver) == ["while it is driven"]


def test_copies_of_a_saver_share_the_messages(saver: Saver) -> None:
    steering_store(saver)
    add(saver, "one")
    assert texts(WriteFence().saver(saver)) == texts(copy.copy(saver)) == ["one"]


@pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)
def test_a_thread_is_deleted_with_its_messages(saver: Saver) -> None:
    add(saver, "one")
    add(saver, "two", thread="other")
    saver.delete_thread("t")
    assert (texts(saver), texts(saver, "other")) == ([], ["two"])


def test_what_is_encrypted_cannot_be_read_or_moved(tmp_path: Path) -> None:
    path, key = tmp_path / "threads.db", b"k" * 32
    with open_checkpointer(f"sqlite:///{path}", key=key) as saver:
        add(saver, "secret words")
        assert texts(saver) == ["secret words"]
    connection = sqlite3.connect(path)
    (value,) = connection.execute("SELECT value FROM asterism_steering").fetchone()
    assert b"secret" not in value
    connection.execute("UPDATE asterism_steering SET thread_id = 'stolen'")
    connection.commit()
    connection.close()
    with (
        open_checkpointer(f"sqlite:///{path}", key=key) as saver,
        pytest.raises(StorageError, match="'stolen' cannot be read"),
    ):
        texts(saver, "stolen")


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"content": 3, "to": "", "when": "asap"}, id="a number"),
        pytest.param({"content": "x", "to": None, "when": "asap"}, id="for nobody"),
        pytest.param({"content": "x", "to": "", "when": "never"}, id="at no time"),
    ],
)
def test_a_damaged_message_is_told(stored: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="a steering message is"):
        load_steering("1", stored)


def _add_elsewhere(url: str) -> None:
    with open_checkpointer(url) as saver:
        add(saver, "from another process")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_another_process_adds_to_a_thread_that_is_driven_here(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    postgres = kind == "postgres"
    url = request.getfixturevalue(kind) if postgres else f"sqlite:///{tmp_path / 'threads.db'}"
    with open_checkpointer(url) as saver:
        release = take_lease(saver, "t")
        assert release is not None
        process = multiprocessing.get_context("spawn").Process(target=_add_elsewhere, args=(url,))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        assert texts(saver) == ["from another process"]
        release()
