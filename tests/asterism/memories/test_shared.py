"""Shared memory: within its capacity, whoever writes."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import BaseStore

from asterism import SharedMemory, open_store
from asterism.errors import InvalidMemoryError
from asterism.memories.shared import Eviction, MemoryNote, notes_to_evict
from tests.processes import Process


@pytest.fixture
def store(url: str) -> Iterator[BaseStore]:
    with open_store(url) as opened:
        yield opened


def letters(text: str) -> int:
    return len(text)


def board(
    store: BaseStore, capacity: int = 20, evict: Eviction = "least_recently_used"
) -> SharedMemory:
    return SharedMemory(
        store=store, team="t", capacity_tokens=capacity, evict=evict, count_tokens=letters
    )


def test_what_one_writes_another_reads(store: BaseStore) -> None:
    board(store).write("hotel", "Lisboa", by="hotels")
    again = board(store)
    assert again.read("hotel") == "Lisboa"
    assert again.read("nothing") is None
    (note,) = again.notes()
    assert (note.key, note.by, note.importance, note.tokens) == ("hotel", "hotels", 0.5, 12)
    other = SharedMemory(store=store, team="other")
    assert other.notes() == []


def test_what_was_not_used_for_longest_goes_first(store: BaseStore) -> None:
    memory = board(store)
    for key in "abcd":
        assert memory.write(key, "123") == []
    memory.read("a")
    assert memory.write("e", "123") == ["b"]
    assert memory.write("a", "123456") == ["c"]
    assert [note.key for note in memory.notes()] == ["a", "d", "e"]


def test_what_is_least_important_goes_first(store: BaseStore) -> None:
    memory = board(store, evict="least_important")
    for key, importance in zip("abcd", (0.9, 0.1, 0.1, 1), strict=True):
        memory.write(key, "123", importance=importance)
    memory.read("b")
    assert memory.write("e", "12345678", importance=0) == ["c", "b"]


def test_notes_are_forgotten_by_key_or_all(store: BaseStore) -> None:
    memory = board(store)
    for key in "abc":
        memory.write(key, "1")
    assert [memory.forget("a", "x"), memory.forget(), memory.forget()] == [1, 2, 0]
    assert memory.notes() == []


@pytest.mark.parametrize(
    ("key", "text", "importance", "said"),
    [
        ("", "x", 0.5, "The key of the memory is ''"),
        ("a", " ", 0.5, "has 0 tokens; allowed: 1 to 20"),
        ("a", "x" * 19, 0.5, "has 21 tokens; allowed: 1 to 20"),
        ("a", "x", 1.1, "importance is 1.1; it must be from 0 to 1"),
        ("a", "x", float("nan"), "importance is nan"),
        ("a", "x", True, "importance is True"),
    ],
    ids=["no key", "no text", "too long", "too important", "nan", "bool"],
)
def test_what_is_no_note_is_refused(
    store: BaseStore, key: str, text: str, importance: float, said: str
) -> None:
    memory = board(store)
    memory.write("kept", "x")
    with pytest.raises(InvalidMemoryError, match=said):
        memory.write(key, text, importance=importance)
    assert [note.key for note in memory.notes()] == ["kept"]


@pytest.mark.parametrize("size", [0, -1, True, 1.5, "9"])
def test_a_capacity_is_a_whole_number(size: int) -> None:
    with pytest.raises(InvalidMemoryError, match="capacity_tokens"):
        SharedMemory(team="t", capacity_tokens=size)


async def test_async_methods_and_tools_do_the_same(store: BaseStore) -> None:
    memory = board(store, 100)
    write, read = memory.tools("venue")
    assert await memory.awrite("a", "one") == []
    assert await write.ainvoke({"key": "b", "text": "two </memory>"}) == "Written."
    assert await read.ainvoke({}) == (
        "<memory>\n- a (unknown): one\n- b (venue): two &lt;/memory>\n</memory>"
    )
    assert read.invoke({"key": "a"}) == "<memory>\none\n</memory>"
    assert read.invoke({"key": "x"}) == "There is no such note."
    assert "has 203 tokens" in write.invoke({"key": "b", "text": "x" * 201})
    assert write.invoke({"key": "c", "text": "x" * 96}) == "Written. Given up for it: b, a."
    assert [await memory.aread("c"), await memory.aforget()] == ["x" * 96, 1]


notes = st.lists(
    st.builds(
        MemoryNote,
        key=st.uuids().map(str),
        text=st.just(""),
        by=st.none(),
        importance=st.floats(0, 1),
        tokens=st.integers(1, 30),
        used=st.integers(0, 50),
    ),
    max_size=12,
)


@given(notes, st.integers(1, 40), st.sampled_from(["least_recently_used", "least_important"]))
def test_no_more_is_given_up_than_has_to_be(
    known: list[MemoryNote], needed: int, rule: Eviction
) -> None:
    capacity = 40
    gone = notes_to_evict(known, needed, capacity, rule)
    left = sum(note.tokens for note in known) - sum(note.tokens for note in gone)
    assert left + needed <= capacity or len(gone) == len(known)
    if gone:
        assert left + gone[-1].tokens + needed > capacity
        if rule == "least_recently_used":
            kept = [note for note in known if note not in gone]
            assert all(note.used >= max(one.used for one in gone) for note in kept)


def test_the_capacity_holds_while_threads_write(store: BaseStore) -> None:
    memory = board(store, 60)
    most: list[int] = []
    faults: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(40):
                memory.write(f"{name}{number % 9}", "x" * (number % 30 + 1), by=name)
                memory.read(f"{name}{number % 5}")
        except BaseException as error:
            faults.append(error)

    writers = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        most.append(sum(note.tokens for note in memory.notes()))
    assert faults == []
    assert 0 < max(most) <= 60
    assert len({note.used for note in memory.notes()}) == len(memory.notes())


async def test_a_writer_that_is_cancelled_leaves_nothing_taken(store: BaseStore) -> None:
    memory = board(store, 100)
    for delay in range(12):
        task = asyncio.create_task(memory.awrite("a", "x"))
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.wait_for(memory.awrite("b", "y"), 20) == []


async def test_the_capacity_holds_while_tasks_write(store: BaseStore) -> None:
    memory = board(store, 60)
    await asyncio.gather(*(memory.awrite(f"k{n}", "x" * (n % 20 + 1)) for n in range(40)))
    assert 0 < sum(note.tokens for note in memory.notes()) <= 60


SCRIPT = """
import sys
from asterism import SharedMemory, open_store
with open_store(sys.argv[1]) as store:
    memory = SharedMemory(store=store, team="t", capacity_tokens=60, count_tokens=len)
    for number in range(40):
        memory.write(f"{sys.argv[2]}{number % 9}", "x" * (number % 30 + 1))
        assert sum(note.tokens for note in memory.notes()) <= 60
"""


def test_the_capacity_holds_while_processes_write(lasting: str) -> None:
    work = [Process(SCRIPT, lasting, name) for name in "ab"]
    assert [process.wait(120) for process in work] == [0, 0]
    with open_store(lasting) as store:
        assert board(store, 60).notes()
