"""Events: one order, handlers of both kinds, and nobody harmed by a handler that fails."""

import asyncio
import copy
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from asterism.events import (
    BACKLOG,
    Event,
    EventBus,
    SupervisionEvent,
    SupervisionEventType,
    WorkflowEvent,
    WorkflowEventType,
)

DONE = WorkflowEventType.TASK_COMPLETED
KILLED = SupervisionEventType.KILLED


def sequences(events: list[Event]) -> list[int]:
    return [event.sequence for event in events]


def test_there_are_thirteen_types_for_supervision() -> None:
    assert [kind.value for kind in SupervisionEventType] == [
        "spawned",
        "started",
        "heartbeat",
        "heartbeat_lost",
        "progress",
        "quota_warning",
        "quota_exceeded",
        "paused",
        "resumed",
        "completed",
        "failed",
        "killed",
        "cancelled",
    ]


def test_no_two_types_have_the_same_name() -> None:
    names = [kind.value for enum in (SupervisionEventType, WorkflowEventType) for kind in enum]
    assert len(names) == len(set(names)) == 33


def test_an_event_is_told_with_its_place_time_and_facts() -> None:
    times = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=i) for i in range(9))
    bus = EventBus(clock=lambda: next(times))
    first = bus.emit(KILLED, "child-1", {"cost": Decimal("0.10"), "why": ("a", "b")})
    second = bus.emit(DONE, "thread-1")
    assert first == SupervisionEvent(
        sequence=1,
        type=KILLED,
        source="child-1",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        facts={"cost": "0.10", "why": ["a", "b"]},
    )
    assert isinstance(second, WorkflowEvent)
    assert second.sequence == 2
    assert json.loads(json.dumps(first.as_json())) == {
        "sequence": 1,
        "type": "killed",
        "source": "child-1",
        "run": "",
        "at": "2026-01-01T00:00:00+00:00",
        "facts": {"cost": "0.10", "why": ["a", "b"]},
    }


@pytest.mark.parametrize("fact", [object(), {1, 2}, float("nan"), ValueError("x"), b"\xff", print])
def test_whatever_the_facts_are_they_become_json(fact: Any) -> None:
    event = EventBus().emit(DONE, "t", {"fact": fact, "more": {"deep": [fact]}})
    assert json.loads(json.dumps(event.as_json(), allow_nan=False))["facts"].keys() == {
        "fact",
        "more",
    }


def test_facts_that_cannot_be_told_are_told_as_a_text() -> None:
    event = EventBus().emit(DONE, "t", {"said": "broken \ud800"})
    assert event.facts == {"facts": "{'said': 'broken \\ud800'}"}


def test_handlers_get_what_they_are_registered_for() -> None:
    bus = EventBus()
    named: list[Event] = []
    typed: list[Event] = []
    every: list[Event] = []
    some: list[Event] = []

    @bus.on("task_completed")
    def by_name(event: Event) -> None:
        named.append(event)

    @bus.on(KILLED)
    def by_type(event: Event) -> None:
        typed.append(event)

    @bus.on()
    def all_of_them(event: Event) -> None:
        every.append(event)

    bus.on(None, some.append, where=lambda event: event.source == "b")
    bus.emit(DONE, "a")
    bus.emit(KILLED, "b")
    assert (sequences(named), sequences(typed)) == ([1], [2])
    assert (sequences(every), sequences(some)) == ([1, 2], [2])
    by_name(every[0])  # it stays what it was
    assert sequences(named) == [1, 1]


def test_a_decorator_without_parentheses_gets_every_event() -> None:
    bus = EventBus()
    found: list[Event] = []

    @bus.on
    def note(event: Event) -> None:
        found.append(event)

    bus.emit(DONE, "t")
    assert sequences(found) == [1]


def test_several_types_can_be_asked_for_at_once() -> None:
    bus, found = EventBus(), list[Event]()
    bus.on(["killed", DONE], found.append)
    for kind in (KILLED, WorkflowEventType.ROUTED, DONE):
        bus.emit(kind, "t")
    assert sequences(found) == [1, 3]
    with pytest.raises(ValueError, match="there is no event 'task_done'"):
        bus.on(["killed", "task_done"], found.append)


def test_calls_are_told_only_to_who_asks_for_them_by_name() -> None:
    call = WorkflowEventType.MODEL_CALLED
    bus, everything, calls = EventBus(), list[Event](), list[Event]()
    bus.on(None, everything.append)
    assert not bus.has_handler(call)
    bus.on(call, calls.append)
    assert bus.has_handler(call)
    bus.emit(call, "t")
    assert (sequences(everything), sequences(calls)) == ([], [1])
    bus.off(calls.append)
    assert not bus.has_handler(call)


def test_a_bus_hears_what_it_keeps_or_somebody_wants() -> None:
    assert EventBus().has_handler(DONE)
    bus = EventBus(history=0)
    assert not bus.has_handler(DONE)
    bus.on(DONE, print)
    assert (bus.has_handler(DONE), bus.has_handler(KILLED)) == (True, False)


def test_a_copy_of_a_bus_is_the_bus() -> None:
    """Servers copy the configs of runs."""
    bus = EventBus()
    assert copy.deepcopy({"bus": bus})["bus"] is bus


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no event 'task_done'; allowed: spawned"):
        EventBus().on("task_done")


@pytest.mark.parametrize("history", [-1, True, 1.5, None, "9"])
def test_a_history_that_is_no_length_is_refused(history: Any) -> None:
    with pytest.raises(ValueError, match=r"history is .*; it must be a whole number of at least 0"):
        EventBus(history=history)


def test_a_handler_can_be_taken_away() -> None:
    bus = EventBus()
    found: list[Event] = []
    note = found.append
    bus.on("killed", note)
    bus.on(None, note)
    bus.emit(KILLED, "a")
    bus.off(found.append)  # another bound method that is equal
    bus.emit(KILLED, "a")
    assert sequences(found) == [1, 1]


def test_the_history_is_bounded_and_can_be_read_by_source() -> None:
    bus = EventBus(history=3)
    for source in "abababab":
        bus.emit(DONE, source)
    assert sequences(bus.history()) == [6, 7, 8]
    assert sequences(bus.history("a")) == [7]
    assert sequences(bus.history("c")) == []
    silent = EventBus(history=0)
    silent.emit(DONE, "a")
    assert silent.history() == []


def test_a_failing_handler_harms_nobody_and_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = EventBus()
    before: list[Event] = []
    after: list[Event] = []

    def fails(event: Event) -> None:
        raise KeyError(event.sequence)

    bus.on(None, before.append)
    bus.on(None, fails)
    bus.on(None, after.append)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            bus.emit(DONE, "t")
    assert sequences(before) == sequences(after) == [1, 2, 3]
    (failure,) = bus.failures()
    assert failure.handler.endswith("fails")
    assert (failure.error, failure.sequence, failure.times) == ("KeyError: 1", 1, 3)
    (said,) = caplog.messages
    assert "fails failed with task_completed (KeyError: 1)" in said and "Traceback" in said
    assert {(r.name, r.levelname) for r in caplog.records} == {("asterism.events.bus", "WARNING")}


def test_a_handler_that_raises_a_cancellation_cancels_nobody() -> None:
    bus = EventBus()

    @bus.on()
    def fails(event: Event) -> None:
        raise asyncio.CancelledError

    bus.emit(DONE, "t")
    assert [failure.error for failure in bus.failures()] == ["CancelledError"]


def test_after_an_interrupt_from_the_keyboard_the_rest_is_told() -> None:
    bus = EventBus()
    found: list[Event] = []

    @bus.on()
    def stops(event: Event) -> None:
        if event.sequence == 1:
            raise KeyboardInterrupt

    bus.on(None, found.append)
    with pytest.raises(KeyboardInterrupt):
        bus.emit(DONE, "t")
    bus.emit(DONE, "t")
    assert sequences(found) == [2]


def test_what_a_handler_emits_comes_after_what_it_was_told() -> None:
    bus = EventBus()
    found: list[Event] = []

    @bus.on("killed")
    def follows(event: Event) -> None:
        bus.emit(DONE, "t")
        assert sequences(found) == []

    bus.on(None, found.append)
    bus.emit(KILLED, "c")
    assert sequences(found) == [1, 2]


def test_threads_emit_in_one_order(run: int = 4, each: int = 500) -> None:
    bus = EventBus(history=run * each)
    found: list[Event] = []
    bus.on(None, found.append)

    def emit(source: str) -> None:
        for place in range(each):
            bus.emit(DONE, source, {"place": place})

    threads = [threading.Thread(target=emit, args=(str(i),)) for i in range(run)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sequences(found) == list(range(1, run * each + 1)) == sequences(bus.history())
    for source in map(str, range(run)):
        places = [event.facts["place"] for event in found if event.source == source]
        assert places == list(range(each))


async def test_async_handlers_get_their_events_in_order_one_after_the_other() -> None:
    bus = EventBus()
    found: list[int] = []
    at_once: Counter[str] = Counter()

    @bus.on()
    async def slow(event: Event) -> None:
        at_once["slow"] += 1
        assert at_once["slow"] == 1
        await asyncio.sleep(0.001 * (3 - event.sequence))
        found.append(event.sequence)
        at_once["slow"] -= 1

    for _ in range(3):
        bus.emit(DONE, "t")
    assert found == []  # whoever emits does not wait
    await bus.drained()
    assert found == [1, 2, 3]
    await bus.drained()
    assert bus.failures() == []


async def test_a_slow_async_handler_holds_up_no_other() -> None:
    bus = EventBus()
    found: list[Event] = []
    free = asyncio.Event()

    @bus.on()
    async def stuck(event: Event) -> None:
        await free.wait()

    @bus.on()
    async def quick(event: Event) -> None:
        found.append(event)

    bus.on(None, found.append)
    bus.emit(DONE, "t")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sequences(found) == [1, 1]
    free.set()
    await bus.drained()


async def test_a_failing_async_handler_is_told_of_what_follows() -> None:
    bus = EventBus()
    found: list[int] = []

    @bus.on()
    async def fails(event: Event) -> None:
        found.append(event.sequence)
        raise RuntimeError("no")

    bus.emit(DONE, "t")
    bus.emit(DONE, "t")
    await bus.drained()
    assert found == [1, 2]
    assert [(f.error, f.times) for f in bus.failures()] == [("RuntimeError: no", 2)]


async def test_async_handlers_are_called_in_the_loop_that_they_were_registered_in() -> None:
    bus = EventBus()
    home = asyncio.get_running_loop()
    found: list[bool] = []

    @bus.on()
    async def note(event: Event) -> None:
        found.append(asyncio.get_running_loop() is home)

    def elsewhere(emit: Callable[[], Any]) -> None:
        thread = threading.Thread(target=emit)
        thread.start()
        thread.join()

    async def emitting() -> None:
        bus.emit(DONE, "from another loop")

    elsewhere(lambda: bus.emit(DONE, "from a thread"))
    elsewhere(lambda: asyncio.run(emitting()))
    await bus.drained()
    assert found == [True, True]


def test_without_a_loop_async_handlers_wait_for_one() -> None:
    bus = EventBus()
    found: list[int] = []

    @bus.on()
    async def note(event: Event) -> None:
        found.append(event.sequence)

    bus.emit(DONE, "t")
    assert found == []
    asyncio.run(bus.drained())
    bus.emit(DONE, "t")  # that loop is closed
    asyncio.run(bus.drained())
    assert found == [1, 2]


def test_a_loop_that_ends_while_a_handler_is_at_it_leaves_the_rest_to_the_next() -> None:
    bus = EventBus()
    found: list[int] = []

    @bus.on()
    async def note(event: Event) -> None:
        if event.sequence == 1:
            await asyncio.Event().wait()
        found.append(event.sequence)

    async def emitting() -> None:
        bus.emit(DONE, "t")
        bus.emit(DONE, "t")
        await asyncio.sleep(0.01)

    asyncio.run(emitting())
    asyncio.run(bus.drained())
    assert found == [2]


async def test_a_handler_may_wait_for_the_others() -> None:
    bus = EventBus()
    found: list[int] = []

    @bus.on()
    async def waits(event: Event) -> None:
        await bus.drained()
        found.append(event.sequence)

    bus.emit(DONE, "t")
    async with asyncio.timeout(5):
        await bus.drained()
    assert found == [1]


async def test_the_backlog_of_a_stuck_handler_is_bounded() -> None:
    bus = EventBus(history=1)
    free = asyncio.Event()
    told = 0

    @bus.on()
    async def stuck(event: Event) -> None:
        nonlocal told
        await free.wait()
        told += 1

    for _ in range(BACKLOG + 5):
        bus.emit(DONE, "t")
    (failure,) = bus.failures()
    assert failure.error == f"OverflowError: {BACKLOG} events wait for it"
    assert failure.times == 5
    free.set()
    await bus.drained()
    assert told == BACKLOG


async def test_no_task_is_left_when_everything_is_told() -> None:
    bus = EventBus()

    @bus.on()
    async def note(event: Event) -> None:
        await asyncio.sleep(0)

    before = asyncio.all_tasks()
    bus.emit(DONE, "t")
    await bus.drained()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
