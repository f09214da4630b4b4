"""Calls on one sqlite connection: they share transactions, and hold nobody up."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asterism import open_checkpointer
from asterism.storage.sqlite.group_commit import SqliteGroupCommit

PATIENCE = 30


class Base:
    """A table, and the groups on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = sqlite3.connect(path, check_same_thread=False, timeout=PATIENCE)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("CREATE TABLE rows (n INTEGER)")
        self.connection.commit()
        self.lock: Any = threading.RLock()
        self.groups = SqliteGroupCommit(self.connection, self.lock)
        self.threads: list[str] = []

    def add(self, number: int) -> int:
        self.threads.append(threading.current_thread().name)
        self.connection.execute("INSERT INTO rows VALUES (?)", (number,))
        return number

    async def put(self, number: int, *, short: bool = True) -> int:
        return await self.groups.run(lambda: self.add(number), short=short)

    def stored(self) -> list[int]:
        with closing(sqlite3.connect(self.path)) as other, other:
            return [n for (n,) in other.execute("SELECT n FROM rows ORDER BY n")]


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Base]:
    made = Base(tmp_path / "rows.db")
    yield made
    made.groups.close()
    made.connection.close()


async def ticks_while(work: "asyncio.Task[Any]", least: int = 20) -> None:
    """Wait until the loop has gone on for a while although the work is not done."""
    for _ in range(least):
        await asyncio.sleep(0.005)
    assert not work.done()


async def test_short_calls_share_a_transaction_and_need_no_thread(base: Base) -> None:
    said: list[str] = []
    base.connection.set_trace_callback(said.append)
    assert await asyncio.gather(*map(base.put, range(5))) == [*range(5)]
    base.connection.set_trace_callback(None)
    assert said.count("COMMIT") == 1
    assert set(base.threads) == {"MainThread"}
    assert base.stored() == [*range(5)]


async def test_long_calls_run_in_a_thread_with_all_that_waits(base: Base) -> None:
    await asyncio.gather(base.put(1, short=False), base.put(2), base.put(3, short=False))
    assert "MainThread" not in base.threads
    assert base.stored() == [1, 2, 3]


async def test_the_loop_goes_on_while_another_thread_has_the_connection(base: Base) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with base.lock:
            held.set()
            free.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(PATIENCE)
    work = asyncio.create_task(base.put(1))
    await ticks_while(work)
    free.set()
    assert await work == 1
    holder.join()


async def test_the_loop_goes_on_while_another_process_writes(base: Base) -> None:
    other = sqlite3.connect(base.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    work = asyncio.create_task(base.put(1))
    await ticks_while(work)
    other.execute("COMMIT")
    other.close()
    assert await work == 1
    assert base.stored() == [1]


async def test_one_that_fails_fails_alone(base: Base) -> None:
    def fail() -> None:
        base.add(7)
        raise LookupError("no")

    outcomes = await asyncio.gather(
        base.put(1), base.groups.run(fail, short=True), base.put(2), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [int, LookupError, int]
    assert base.stored() == [1, 2]


def test_a_loop_that_stopped_keeps_nobody_waiting(base: Base) -> None:
    left = asyncio.new_event_loop()
    waiting = left.create_task(base.put(1))
    left.call_soon(left.stop)
    left.run_forever()  # it has asked, and has not been served
    assert base.stored() == []
    assert asyncio.run(asyncio.wait_for(base.put(2), PATIENCE)) == 2
    assert base.stored() == [1, 2]
    assert left.run_until_complete(waiting) == 1
    left.close()


def test_many_loops_lose_nothing(base: Base) -> None:
    async def work(first: int) -> None:
        for number in range(first, first + 40, 4):
            await asyncio.gather(*(base.put(number + k, short=k != 2) for k in range(4)))

    threads = [
        threading.Thread(target=lambda first=first: asyncio.run(work(first)))
        for first in range(0, 320, 40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert base.stored() == [*range(320)]


def test_what_waits_is_done_when_the_groups_are_closed(base: Base) -> None:
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(base.put(1))
    loop.call_soon(loop.stop)
    loop.run_forever()
    base.groups.close()
    assert base.stored() == [1]
    assert loop.run_until_complete(waiting) == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        loop.run_until_complete(base.put(2))
    loop.close()


def test_an_interrupt_in_the_middle_leaves_no_call_waiting(base: Base) -> None:
    again: list[int] = []

    def interrupted() -> int:
        if not again:
            again.append(1)
            raise KeyboardInterrupt
        return base.add(1)

    loop = asyncio.new_event_loop()
    work = loop.create_task(base.groups.run(interrupted, short=True))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(work)
    assert loop.run_until_complete(work) == 1
    assert loop.run_until_complete(base.put(2)) == 2
    loop.close()


async def test_who_is_no_event_loop_waits_for_another_process_also_after_a_short_call(
    tmp_path: Path,
) -> None:
    path = tmp_path / "threads.db"
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "1"}}
    with open_checkpointer(f"sqlite:///{path}") as saver:
        await saver.aput_writes(config, [("a", 1)], "task")  # in the loop, which never waits
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, other.execute, ("COMMIT",))
        release.start()
        saver.put_writes(config, [("b", 2)], "task")
        release.join()
        other.close()
        await saver.aput_writes(config, [("c", 3)], "other")
