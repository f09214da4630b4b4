"""Calls wait for capacity before they are made: in order, never for ever, and never too many."""

import asyncio
import gc
import math
import os
import pickle
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asterism.errors import AsterismError, CapacityTimeoutError
from asterism.events import EventBus, WorkflowEventType
from asterism.limits.admission_queue import Reservation
from asterism.limits.rate_limits import (
    CAPACITIES,
    HIGHEST,
    CapacityRegistry,
    CapacityStatus,
    ResourceManager,
)

EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "25"))


class Clock:
    """A clock that is set by hand, and has the queues of its managers looked at."""

    def __init__(self) -> None:
        self.now = 100.0
        self.managers: list[ResourceManager] = []

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for manager in self.managers:
            manager.wake()


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., ResourceManager]


@pytest.fixture
def make(clock: Clock) -> Iterator[Make]:
    """Makes managers that share one registry and one clock; afterwards nobody waits."""
    registry: CapacityRegistry = {}

    def make(name: str | None = None, **limits: Any) -> ResourceManager:
        manager = ResourceManager(name, clock=clock, registry=registry, **limits)
        clock.managers.append(manager)
        return manager

    yield make
    assert [
        manager.status().waiting for manager in clock.managers if manager.status().waiting
    ] == []
    assert watchers() == 0


def watchers() -> int:
    """How many threads watch the time, once those that shall end have ended."""
    named = [thread for thread in threading.enumerate() if thread.name == "asterism-capacity"]
    for thread in named:
        thread.join(1)
    return sum(thread.is_alive() for thread in named)


async def idle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def start(*calls: Coroutine[Any, Any, Reservation]) -> list["asyncio.Task[Reservation]"]:
    """Start calls one after the other, each until it waits."""
    tasks: list[asyncio.Task[Reservation]] = []
    for call in calls:
        tasks.append(asyncio.create_task(call))
        await idle()
    return tasks


def passed(tasks: list["asyncio.Task[Reservation]"]) -> list[int]:
    """Which calls were admitted, by their places."""
    return [place for place, task in enumerate(tasks) if task.done() and not task.cancelled()]


def passes(manager: ResourceManager, tokens: int = 0, priority: int = 0) -> bool:
    """Whether a call would be admitted at once; it is not made."""
    try:
        manager.reserve(tokens, priority=priority, timeout=0).withdraw()
    except CapacityTimeoutError:
        return False
    return True


async def test_tokens_stand_in_the_window_for_a_minute(make: Make, clock: Clock) -> None:
    manager = make(tokens_per_minute=100)
    manager.reserve(60).release()
    clock.advance(30)
    manager.reserve(40).release()
    (call,) = await start(manager.areserve(50))
    clock.advance(29.5)
    await idle()
    assert not call.done()
    assert manager.status() == CapacityStatus(waiting=1, running=0, tokens=100, requests=2)
    clock.advance(0.5)
    assert (await call).admitted_at == 160
    assert manager.status() == CapacityStatus(waiting=0, running=1, tokens=90, requests=2)
    (await call).release()


async def test_requests_are_counted_over_a_minute(make: Make, clock: Clock) -> None:
    manager = make(requests_per_minute=2)
    for _ in range(2):
        manager.reserve(10**9).release()
        clock.advance(20)
    calls = await start(manager.areserve(0), manager.areserve(0), manager.areserve(0))
    assert passed(calls) == []
    clock.advance(20)
    await idle()
    assert passed(calls) == [0]
    clock.advance(20)
    await idle()
    assert passed(calls) == [0, 1]
    clock.advance(40)
    await idle()
    assert [call.result().admitted_at for call in calls] == [160, 180, 220]


async def test_only_so_many_run_at_once(make: Make) -> None:
    manager = make(requests_at_once=2)
    first, second = manager.reserve(5), manager.reserve(5)
    calls = await start(manager.areserve(5), manager.areserve(5))
    first.release()
    first.release()
    await idle()
    assert passed(calls) == [0], "a place is given back once"
    second.release()
    await idle()
    assert passed(calls) == [0, 1]
    assert manager.status().running == 2
    for call in calls:
        call.result().release()
    assert manager.status().running == 0


async def test_what_was_not_taken_is_free_at_once(make: Make) -> None:
    manager = make(tokens_per_minute=100)
    slot = manager.reserve(100)
    (call,) = await start(manager.areserve(70))
    slot.settle(30)
    slot.settle(99)
    assert (await call).tokens == 70
    assert manager.status().tokens == 100, "only the first word counts"


async def test_what_was_taken_beyond_it_stands_for_a_minute_from_then(
    make: Make, clock: Clock
) -> None:
    manager = make(tokens_per_minute=100)
    slot = manager.reserve(40)
    clock.advance(50)
    slot.settle(140)
    assert manager.status().tokens == 140
    (call,) = await start(manager.areserve(0))
    clock.advance(10)
    await idle()
    assert (passed([call]), manager.status().tokens) == ([0], 100)
    (call,) = await start(manager.areserve(1))
    clock.advance(49)
    await idle()
    assert passed([call]) == []
    clock.advance(1)
    assert (await call).admitted_at == 210


def test_a_late_settlement_gives_nothing_back_twice(make: Make, clock: Clock) -> None:
    manager = make(tokens_per_minute=100)
    slot = manager.reserve(80)
    clock.advance(60)
    assert manager.status().tokens == 0
    slot.settle(20)
    assert manager.status().tokens == 0
    slot.release()


def test_a_call_that_says_nothing_keeps_its_tokens_in_the_window(make: Make) -> None:
    manager = make(tokens_per_minute=100, requests_at_once=1)
    with pytest.raises(ValueError, match="mine"), manager.reserve(60):
        raise ValueError("mine")
    assert manager.status() == CapacityStatus(waiting=0, running=0, tokens=60, requests=1)
    manager.reserve(40).withdraw()
    assert manager.status() == CapacityStatus(waiting=0, running=0, tokens=60, requests=1)


async def test_slots_are_context_managers_of_both_kinds(make: Make) -> None:
    manager = make(requests_at_once=1)
    with manager.reserve(1) as slot:
        assert (slot.is_held(), manager.status().running) == (True, 1)
    async with await manager.areserve(1) as slot:
        assert (slot.is_held(), manager.status().running) == (True, 1)
    assert (slot.is_held(), manager.status().running) == (False, 0)


def test_a_slot_that_is_dropped_gives_its_place_back(make: Make) -> None:
    manager = make(requests_at_once=1)
    slot = manager.reserve(1)
    assert not passes(manager)
    del slot
    gc.collect()
    assert passes(manager)


async def test_higher_priorities_pass_first_and_equal_ones_as_they_came(make: Make) -> None:
    manager = make(requests_at_once=1)
    held = manager.reserve(1)
    order: list[str] = []

    async def call(name: str, priority: int) -> None:
        async with await manager.areserve(1, priority=priority):
            order.append(name)

    names = {"a": 0, "b": 5, "c": -3, "d": 5, "e": 0, "f": -3, "g": 9}
    tasks = [asyncio.create_task(call(*item)) for item in names.items()]
    await idle()
    held.release()
    await asyncio.gather(*tasks)
    assert order == ["g", "b", "d", "a", "e", "c", "f"]


async def test_a_new_call_passes_ahead_of_a_lower_one_that_does_not_fit(make: Make) -> None:
    manager = make(tokens_per_minute=100)
    manager.reserve(50)
    (big,) = await start(manager.areserve(80))
    assert not passes(manager, 10), "of the same priority, and later"
    assert passes(manager, 10, priority=1)
    big.cancel()
    await idle()
    assert passes(manager, 10)


async def test_waiting_raises_a_call(make: Make, clock: Clock) -> None:
    """A call is overtaken by a call `n` levels higher only within `n * aging` seconds."""
    manager = make(requests_at_once=1, aging=10.0)
    held = manager.reserve(1)
    (low,) = await start(manager.areserve(1))
    clock.advance(29.9)
    (just,) = await start(manager.areserve(1, priority=3))
    clock.advance(0.1)
    (late,) = await start(manager.areserve(1, priority=3))
    held.release()
    await idle()
    assert passed([low, just, late]) == [1]
    just.result().release()
    await idle()
    assert passed([low, just, late]) == [0, 1]
    low.result().release()
    (await late).release()


@settings(max_examples=EXAMPLES)
@given(
    gap=st.integers(1, 30),
    aging=st.integers(1, 20),
    priority=st.integers(0, 8),
    ahead=st.integers(0, 5),
)
def test_no_call_starves(gap: int, aging: int, priority: int, ahead: int) -> None:
    """One place, always wanted by a fresh call of a higher priority, every `gap` seconds."""

    async def run() -> float:
        clock = Clock()
        manager = ResourceManager(requests_at_once=1, aging=aging, clock=clock)
        running = manager.reserve(1)
        higher = await start(*(manager.areserve(1, priority=priority) for _ in range(ahead)))
        (low,) = await start(manager.areserve(1))
        while not low.done():
            clock.now += gap
            higher += await start(manager.areserve(1, priority=priority))
            running.release()
            await idle()
            running = next((h.result() for h in higher if h.done()), running)
            higher = [h for h in higher if not h.done()]
        for task in higher:
            task.cancel()
        await idle()
        assert manager.status().waiting == 0
        return low.result().admitted_at - 100

    waited = asyncio.run(run())
    # Those before it, and those that come while they still count as earlier, one per gap.
    overtaking = math.ceil(priority * aging / gap)
    assert waited <= (ahead + overtaking + 1) * gap


@pytest.mark.parametrize("way", ["thread", "task"])
async def test_a_call_waits_no_longer_than_it_may(make: Make, clock: Clock, way: str) -> None:
    manager = make("openai", requests_at_once=1)
    held = manager.reserve(1)
    if way == "task":
        call = asyncio.create_task(manager.areserve(7, priority=2, timeout=5))
    else:
        call = asyncio.create_task(asyncio.to_thread(manager.reserve, 7, priority=2, timeout=5))
    while not manager.status().waiting:
        await asyncio.sleep(0)
    (other,) = await start(manager.areserve(1))
    clock.advance(4.75)
    await idle()
    assert manager.status().waiting == 2
    clock.advance(0.25)
    with pytest.raises(CapacityTimeoutError) as caught:
        await call
    assert str(caught.value) == (
        "No call is made, because 'openai' had no capacity for it within 5.0 s (others waiting: "
        "1). Wait longer, or raise its limits or the priority of the call."
    )
    assert (caught.value.service, caught.value.waited) == ("openai", 5)
    assert caught.value.code == "capacity_timeout"
    assert isinstance(caught.value, AsterismError)
    assert isinstance(caught.value, TimeoutError)
    stored: CapacityTimeoutError = pickle.loads(pickle.dumps(caught.value))
    assert (str(stored), stored.service, stored.waited) == (str(caught.value), "openai", 5)
    held.release()
    (await other).release()


async def test_a_big_call_that_gives_up_lets_the_next_pass(make: Make, clock: Clock) -> None:
    manager = make(tokens_per_minute=100)
    manager.reserve(50)
    big, small = await start(manager.areserve(80, timeout=5), manager.areserve(50, timeout=6))
    clock.advance(5)
    await idle()
    assert isinstance(big.exception(), CapacityTimeoutError)
    assert small.result().admitted_at == 105


async def test_a_timeout_of_zero_does_not_wait(make: Make) -> None:
    manager = make(requests_at_once=1)
    async with await manager.areserve(1, timeout=0):
        with pytest.raises(CapacityTimeoutError, match=r"the service had no .* within 0\.0 s \("):
            await manager.areserve(1, timeout=0)
        with pytest.raises(CapacityTimeoutError):
            manager.reserve(1, timeout=0)


async def test_a_waiter_that_is_cancelled_leaves_the_queue(make: Make) -> None:
    manager = make(requests_at_once=1)
    held = manager.reserve(1)
    calls = await start(*(manager.areserve(1) for _ in range(4)))
    for place in (0, 2):
        calls[place].cancel()
    await idle()
    assert manager.status().waiting == 2
    held.release()
    await idle()
    assert passed(calls) == [1]
    calls[1].result().release()
    (await calls[3]).release()


async def test_a_waiter_that_is_cancelled_just_when_it_is_admitted_gives_all_back(
    make: Make,
) -> None:
    manager = make(requests_at_once=1, tokens_per_minute=100)
    held = manager.reserve(10)
    (call,) = await start(manager.areserve(90))
    held.release()
    call.cancel()
    assert manager.status().running == 1, "it was admitted, and does not know it yet"
    with pytest.raises(asyncio.CancelledError):
        await call
    assert manager.status() == CapacityStatus(waiting=0, running=0, tokens=10, requests=1)


async def test_a_timeout_of_asyncio_leaves_the_queue_right(make: Make) -> None:
    manager = make(requests_at_once=1)
    with manager.reserve(1), pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await manager.areserve(1)
    assert manager.status() == CapacityStatus(waiting=0, running=0, tokens=1, requests=1)


def test_a_waiter_of_a_closed_loop_holds_nobody_up(make: Make) -> None:
    manager = make(requests_at_once=1)
    held = manager.reserve(1)
    loop = asyncio.new_event_loop()
    call = loop.create_task(manager.areserve(1))
    loop.run_until_complete(idle())
    loop.close()
    assert manager.status().waiting == 1
    held.release()
    assert manager.status() == CapacityStatus(waiting=0, running=0, tokens=1, requests=1)
    assert passes(manager)
    cast(Any, call)._log_destroy_pending = False  # on purpose


async def test_a_loop_that_is_blocked_holds_nobody_up(make: Make, clock: Clock) -> None:
    """A task waits; then its loop blocks in a sync call, which needs the time that passes."""
    manager = make(tokens_per_minute=100)
    manager.reserve(100)
    (call,) = await start(manager.areserve(50))
    timer = threading.Timer(0.01, clock.advance, [60])
    timer.start()
    assert manager.reserve(50).admitted_at == 160
    timer.join()
    assert (await call).admitted_at == 160


def test_time_alone_lets_calls_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody who wakes: the real clock, a short window, threads and a loop."""
    monkeypatch.setattr("asterism.limits.admission_queue.WINDOW", 0.05)
    manager = ResourceManager(tokens_per_minute=10)

    async def tasks() -> None:
        await asyncio.gather(*(manager.areserve(5) for _ in range(3)))

    with ThreadPoolExecutor(4) as pool:
        futures: list[Any] = [pool.submit(manager.reserve, 5) for _ in range(3)]
        futures.append(pool.submit(asyncio.run, tasks()))
        for future in futures:
            future.result(5)
    with pytest.raises(CapacityTimeoutError):
        manager.reserve(10, timeout=0.01)
    assert manager.status().waiting == 0
    assert watchers() == 0


async def test_a_short_wait_ends_while_a_long_one_goes_on() -> None:
    manager = ResourceManager(tokens_per_minute=10)
    manager.reserve(10)
    (long,) = await start(manager.areserve(5))
    with pytest.raises(CapacityTimeoutError):
        await asyncio.wait_for(manager.areserve(5, timeout=0.01), 5)
    long.cancel()
    await idle()
    assert watchers() == 0


def test_a_slot_that_is_collected_in_the_middle_of_anything_is_given_back() -> None:
    """A generator that nobody reads any more is closed when garbage is collected: anywhere."""
    registry: CapacityRegistry = {}

    def stream() -> Iterator[int]:
        with ResourceManager("a", requests_at_once=1, clock=now, registry=registry).reserve(1):
            yield 1

    def now() -> float:  # is asked in the midst of the queue's work
        gc.collect()
        return 100.0

    manager = ResourceManager("a", requests_at_once=1, clock=now, registry=registry)
    gc.freeze()  # what other tests have loaded need not be looked through each time
    for _ in range(3):
        chunks: list[Any] = [stream()]
        chunks.append(chunks)  # only the collector finds it
        next(chunks[0])
        del chunks
        manager.reserve(1, timeout=0).release()
    gc.unfreeze()
    assert manager.status().running == 0


async def test_waits_are_told(make: Make, clock: Clock) -> None:
    bus = EventBus()
    manager = make("openai", requests_at_once=1, events=bus)
    held = manager.reserve(1)
    first, second = await start(
        manager.areserve(20, priority=3), manager.areserve(30, priority=3, timeout=2)
    )
    clock.advance(2)
    await idle()
    assert isinstance(second.exception(), CapacityTimeoutError)
    held.release()
    clock.advance(1)
    await idle()
    (third,) = await start(manager.areserve(40))
    third.cancel()
    first.result().release()
    await idle()
    keys = ("state", "tokens", "priority", "waited_seconds", "queue_length")
    assert [tuple(event.facts[key] for key in keys) for event in bus.history()] == [
        ("waiting", 20, 3, 0, 1),
        ("waiting", 30, 3, 0, 2),
        ("gave_up", 30, 3, 2, 1),
        ("admitted", 20, 3, 2, 0),
        ("waiting", 40, 0, 0, 1),
        ("gave_up", 40, 0, 0, 0),
    ]
    assert {(event.type, event.facts["service"]) for event in bus.history()} == {
        (WorkflowEventType.WAITING_FOR_CAPACITY, "openai")
    }


def test_managers_of_one_name_share_it(make: Make) -> None:
    one, two, other, own = (
        make(name, requests_at_once=1) for name in ("openai", "openai", "google", None)
    )
    with one.reserve(1):
        assert [passes(manager) for manager in (two, other, own)] == [False, True, True]
    assert passes(two)


def test_one_name_has_one_set_of_limits(make: Make) -> None:
    make("openai", requests_at_once=1)
    with pytest.raises(
        ValueError, match=r"^'openai' has other limits already: RateLimits\(.*at_once=1"
    ):
        make("openai", requests_at_once=2)
    with pytest.raises(ValueError, match=r"another name$"):
        make("openai", requests_at_once=1, aging=1)


def test_the_process_has_a_registry() -> None:
    try:
        with ResourceManager("a test", requests_at_once=1).reserve(1):
            assert not passes(ResourceManager("a test", requests_at_once=1))
    finally:
        del CAPACITIES["a test"]


def test_a_manager_without_limits_holds_nobody_back(make: Make) -> None:
    manager = make()
    slots = [manager.reserve(10**9) for _ in range(50)]
    assert manager.status().running == len(slots)


COUNTS: list[Any] = [0, -1, True, False, 1.0, "1", math.nan, math.inf]
SECONDS: list[Any] = [-1, True, "30", math.nan, math.inf, -math.inf, 10**400]
NUMBERS: dict[str, list[Any]] = {
    "tokens_per_minute": COUNTS,
    "requests_at_once": COUNTS,
    "requests_per_minute": COUNTS,
    "aging": [*SECONDS, 0, 0.0, None],
    "name": ["", "  ", 3, True],
}
TERMS: dict[str, list[Any]] = {
    "tokens": [-1, True, 1.0, "1", None, math.nan],
    "priority": [True, 1.0, "1", None, math.nan, -HIGHEST - 1],
    "timeout": SECONDS,
}


def cases(table: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name} {repr(value)[:20]}")
        for name, values in table.items()
        for value in values
    ]


@pytest.mark.parametrize(("name", "value"), cases(NUMBERS))
def test_what_is_no_limit_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is ") as caught:
        ResourceManager(**{name: value})
    assert f"{name} is {value!r}; it must be a" in str(caught.value)


@pytest.mark.parametrize(("name", "value"), cases(TERMS))
async def test_what_are_no_terms_is_refused_by_name(make: Make, name: str, value: Any) -> None:
    manager = make(requests_at_once=1)
    terms = {"tokens": 1, **{name: value}}
    with pytest.raises(ValueError, match=rf"^{name} is .*; it must be "):
        manager.reserve(**terms)
    with pytest.raises(ValueError, match=rf"^{name} is .*; it must be "):
        await manager.areserve(**terms)
    assert manager.status().requests == 0


def test_more_than_may_ever_pass_is_refused(make: Make) -> None:
    manager = make(tokens_per_minute=100)
    with pytest.raises(ValueError, match=r"^tokens is 101, but tokens_per_minute is 100: the call"):
        manager.reserve(101)
    with pytest.raises(ValueError, match=r"^priority is 1000001; it must be at most 1000000$"):
        manager.reserve(1, priority=HIGHEST + 1)
    with pytest.raises(ValueError, match=r"^actual_tokens is -1; it must be a whole number"):
        manager.reserve(1).settle(-1)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Lets threads be interrupted wherever they can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_and_the_tasks_of_several_loops_share_the_places(make: Make) -> None:
    manager = make(requests_at_once=3)
    inside, worst, done = [0], [0], [0]
    lock = threading.Lock()

    def step(change: int) -> None:
        with lock:
            inside[0] += change
            worst[0] = max(worst[0], inside[0])
            done[0] += change < 0

    def in_a_thread() -> None:
        for turn in range(40):
            with manager.reserve(1, priority=turn % 3):
                step(1)
                step(-1)

    async def in_a_task(turn: int) -> None:
        async with await manager.areserve(1, priority=turn % 3):
            step(1)
            try:
                await asyncio.sleep(0)
            finally:
                step(-1)

    async def in_a_loop() -> None:
        tasks = [asyncio.create_task(in_a_task(turn)) for turn in range(60)]
        await asyncio.sleep(0)
        for task in tasks[::5]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with ThreadPoolExecutor(9) as pool:
        futures = [pool.submit(in_a_thread) for _ in range(6)]
        futures += [pool.submit(asyncio.run, in_a_loop()) for _ in range(3)]
        for future in futures:
            future.result(30)
    assert worst[0] == 3
    assert 6 * 40 + 3 * 48 <= done[0] <= 6 * 40 + 3 * 60
    status = manager.status()
    assert (status.waiting, status.running) == (0, 0)


def most_in_a_window(admissions: list[tuple[float, int]]) -> int:
    """The most tokens that were admitted in any 60 seconds."""
    return max(
        sum(tokens for at, tokens in admissions if begin <= at < begin + 60)
        for begin, _ in admissions
    )


@pytest.mark.usefixtures("hasty_threads")
def test_many_threads_are_never_admitted_more_than_the_tokens_of_a_minute(
    make: Make, clock: Clock
) -> None:
    manager = make(tokens_per_minute=50, requests_per_minute=9)
    admissions: list[tuple[float, int]] = []
    over = threading.Event()

    def call(thread: int) -> None:
        for turn in range(12):
            tokens = (thread * 7 + turn * 5) % 20
            with manager.reserve(tokens, priority=thread % 3) as slot:
                taken = tokens // 2 if turn % 2 else tokens
                slot.settle(taken)
                admissions.append((slot.admitted_at, taken))

    def pass_time() -> None:
        while not over.is_set():
            clock.advance(0.5)

    timer = threading.Thread(target=pass_time)
    timer.start()
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(call, thread) for thread in range(8)]:
            future.result(60)
    over.set()
    timer.join()
    assert len(admissions) == 96
    assert most_in_a_window(admissions) <= 50
    assert most_in_a_window([(at, 1) for at, _ in admissions]) <= 9


@dataclass(eq=False)
class Call:
    """What the model knows about a call."""

    number: int
    came: int
    priority: int
    tokens: int
    deadline: float
    task: "asyncio.Task[Reservation]"
    state: str = "waiting"
    admitted: int = 0
    extra: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """When it was charged more than it had reserved, and how much."""
    counts: bool = True
    settled: bool = False
    running: bool = False


TOKENS, AT_ONCE, PER_MINUTE, AGING = 20, 3, 6, 5


class Capacity(RuleBasedStateMachine):
    """One manager, many calls, and a model that counts everything anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.now = 0
        self.manager = ResourceManager(
            tokens_per_minute=TOKENS,
            requests_at_once=AT_ONCE,
            requests_per_minute=PER_MINUTE,
            aging=AGING,
            clock=self.clock,
        )
        self.clock.managers.append(self.manager)
        self.loop = asyncio.new_event_loop()
        self.calls: list[Call] = []

    def teardown(self) -> None:
        for call in self.calls:
            call.task.cancel()
        self.run()
        self.loop.close()
        assert self.manager.status().waiting == 0

    def run(self) -> None:
        self.loop.run_until_complete(idle())

    def having(self, *states: str) -> list[Call]:
        return [call for call in self.calls if call.state in states]

    def tokens(self) -> int:
        since = self.clock.now - 60
        charges = [(c.admitted, c.tokens) for c in self.having("admitted") if c.counts]
        charges += [charge for call in self.calls for charge in call.extra]
        return sum(tokens for at, tokens in charges if at > since)

    def requests(self) -> int:
        since = self.clock.now - 60
        return sum(c.counts and c.admitted > since for c in self.having("admitted"))

    def serve(self) -> None:
        """Admit and refuse as the rules say, then compare."""
        while queue := self.having("waiting"):
            first = min(queue, key=lambda c: (c.came - c.priority * AGING, c.number))
            fits = (
                sum(call.running for call in self.calls) < AT_ONCE
                and self.requests() < PER_MINUTE
                and self.tokens() + first.tokens <= TOKENS
            )
            if fits:
                first.state, first.admitted, first.running = "admitted", int(self.clock.now), True
                for other in self.having("waiting"):
                    levels = first.priority - other.priority
                    ahead = other.came + levels * AGING
                    assert (first.came, first.number) < (ahead, other.number), "unfair"
            elif first.deadline <= self.clock.now:
                first.state = "refused"
            else:
                break
        for late in self.having("waiting"):
            if late.deadline <= self.clock.now:
                late.state = "refused"

    @rule(
        tokens=st.integers(0, TOKENS),
        priority=st.integers(-2, 2),
        timeout=st.sampled_from([None, None, 0, 4, 30]),
    )
    def come(self, tokens: int, priority: int, timeout: int | None) -> None:
        now = int(self.clock.now)
        deadline = math.inf if timeout is None else now + timeout
        task = self.loop.create_task(
            self.manager.areserve(tokens, priority=priority, timeout=timeout)
        )
        self.calls.append(Call(len(self.calls), now, priority, tokens, deadline, task))
        self.run()
        self.serve()

    @rule(seconds=st.sampled_from([1, 3, 7, 29, 60]))
    def wait(self, seconds: int) -> None:
        for _ in range(seconds):  # time does not jump over what it would let happen
            self.clock.now += 1
            self.manager.wake()
            self.serve()

    @precondition(lambda self: self.having("admitted"))
    @rule(data=st.data(), actual=st.integers(0, 2 * TOKENS))
    def settle(self, data: st.DataObject, actual: int) -> None:
        call = data.draw(st.sampled_from(self.having("admitted")))
        call.task.result().settle(actual)
        if not call.settled:
            call.settled = True
            if actual > call.tokens:
                call.extra.append((int(self.clock.now), actual - call.tokens))
            call.tokens = min(actual, call.tokens)
        self.serve()

    @precondition(lambda self: self.having("admitted"))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.having("admitted")))
        call.task.result().release()
        call.running = False
        self.serve()

    @precondition(lambda self: any(call.running for call in self.calls))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        running = [c for c in self.having("admitted") if c.running and not c.settled]
        if running:
            call = data.draw(st.sampled_from(running))
            call.task.result().withdraw()
            call.running = call.counts = False
            call.settled = True
            self.serve()

    @precondition(lambda self: self.having("waiting"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.having("waiting")))
        call.task.cancel()
        call.state = "cancelled"
        self.run()
        self.serve()

    @invariant()
    def everybody_is_where_the_model_says(self) -> None:
        self.run()
        for call in self.calls:
            assert call.task.done() is (call.state != "waiting")
            assert call.task.cancelled() is (call.state == "cancelled")
            if call.state == "admitted":
                assert call.task.result().admitted_at == call.admitted
                assert call.task.result().is_held() is call.running
            elif call.state == "refused":
                assert isinstance(call.task.exception(), CapacityTimeoutError)

    @invariant()
    def the_counts_are_right(self) -> None:
        assert self.manager.status() == CapacityStatus(
            waiting=len(self.having("waiting")),
            running=sum(call.running for call in self.calls),
            tokens=self.tokens(),
            requests=self.requests(),
        )

    @invariant()
    def no_window_has_too_much(self) -> None:
        made = [call for call in self.having("admitted") if call.counts]
        if made:
            assert most_in_a_window([(call.admitted, call.tokens) for call in made]) <= TOKENS
            assert most_in_a_window([(call.admitted, 1) for call in made]) <= PER_MINUTE


Capacity.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=40)
TestCapacity = Capacity.TestCase
