"""A service that keeps failing is left alone, and tried again with a few calls."""

import asyncio
import gc
import math
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from langgraph.errors import GraphInterrupt

from asterism.errors import AsterismError, CircuitOpenError
from asterism.limits.circuit_breaker import CIRCUITS, Circuit, CircuitBreaker, Permit

EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "40"))
MODEL = "openai/gpt-5-mini"
DOWN = ConnectionError("down")


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(clock: Clock) -> Callable[..., CircuitBreaker]:
    """Makes breakers that share one registry: two failures open, ten seconds later it is tried."""
    registry: dict[str, Circuit] = {}

    def make(service: str | None = None, **numbers: Any) -> CircuitBreaker:
        given: dict[str, Any] = {"failure_threshold": 2, "recovery_timeout": 10.0, **numbers}
        return CircuitBreaker(service, clock=clock, registry=registry, **given)

    return make


Guard = Callable[..., CircuitBreaker]


def fail(breaker: CircuitBreaker, times: int, key: str = MODEL) -> None:
    for _ in range(times):
        breaker.admit(key).record_failure(DOWN)


def half_opened(guard: Guard, clock: Clock, **numbers: Any) -> CircuitBreaker:
    breaker = guard(**numbers)
    fail(breaker, breaker.failure_threshold)
    clock.now += breaker.recovery_timeout
    return breaker


def admitted(breaker: CircuitBreaker, key: str = MODEL) -> Permit | None:
    try:
        return breaker.admit(key)
    except CircuitOpenError:
        return None


def test_failures_in_a_row_open_it_and_probes_close_it(guard: Guard, clock: Clock) -> None:
    breaker = guard(failure_threshold=3, half_open_attempts=2)
    seen = [breaker.state(MODEL)]
    for _ in range(3):
        breaker.admit(MODEL).record_failure(DOWN)
        seen.append(breaker.state(MODEL))
    clock.now += 9.5
    seen.append(breaker.state(MODEL))
    clock.now += 0.5
    seen.append(breaker.state(MODEL))
    for _ in range(2):
        breaker.admit(MODEL).record_success()
        seen.append(breaker.state(MODEL))
    assert seen == [
        *("closed", "closed", "closed", "open"),
        *("open", "half_open"),
        *("half_open", "closed"),
    ]


def test_a_success_in_between_starts_the_count_anew(guard: Guard) -> None:
    breaker = guard(failure_threshold=3)
    for _ in range(5):
        fail(breaker, 2)
        breaker.admit(MODEL).record_success()
    assert breaker.state(MODEL) == "closed"
    fail(breaker, 3)
    assert breaker.state(MODEL) == "open"


def test_a_refusal_says_who_is_left_alone_and_for_how_long(guard: Guard, clock: Clock) -> None:
    breaker = guard()
    fail(breaker, 2)
    clock.now += 2.5
    with pytest.raises(CircuitOpenError) as caught:
        breaker.admit(MODEL)
    assert str(caught.value) == (
        "No call is made, because 'openai/gpt-5-mini' failed too often and is left alone. "
        "Try again in 7.5 s, or use another one meanwhile."
    )
    assert (caught.value.service, caught.value.retry_in) == (MODEL, 7.5)
    assert caught.value.code == "circuit_open"
    assert isinstance(caught.value, AsterismError)
    assert isinstance(caught.value, RuntimeError)
    stored: CircuitOpenError = pickle.loads(pickle.dumps(caught.value))
    assert (str(stored), stored.service, stored.retry_in) == (str(caught.value), MODEL, 7.5)


def test_a_call_passes_after_exactly_the_time_that_the_refusal_named(
    guard: Guard, clock: Clock
) -> None:
    breaker = guard()
    fail(breaker, 2)
    clock.now += 3.25
    with pytest.raises(CircuitOpenError) as caught:
        breaker.admit(MODEL)
    clock.now += caught.value.retry_in
    breaker.admit(MODEL).record_success()
    assert breaker.state(MODEL) == "closed"


def test_a_refusal_of_one_probe_too_many_says_so(guard: Guard, clock: Clock) -> None:
    breaker = half_opened(guard, clock)
    probe = breaker.admit(MODEL)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.admit(MODEL)
    assert str(caught.value) == (
        "No call is made, because 'openai/gpt-5-mini' failed too often and is being tried with "
        "as many calls as may pass. Try again in 10.0 s, or use another one meanwhile."
    )
    assert (caught.value.service, caught.value.retry_in) == (MODEL, 10)
    probe.release()


def test_the_calls_that_turn_a_circuit_know_it(guard: Guard, clock: Clock) -> None:
    breaker = guard(half_open_attempts=2)
    circuit = breaker.registry.setdefault(MODEL, Circuit())
    turned: list[tuple[str | None, str | None, float]] = []

    def call(ok: bool) -> None:
        permit = breaker.admit(MODEL)
        admitted = permit.turned
        permit.record_success() if ok else permit.record_failure(DOWN)
        turned.append((admitted, permit.turned, circuit.since))

    call(True)
    call(False)
    clock.now = 105.0
    call(False)  # opens it
    clock.now = 115.0
    call(False)  # tries it, and opens it again
    clock.now = 130.0
    call(True)  # tries it
    clock.now = 131.0
    call(True)  # closes it
    call(True)
    assert turned == [
        (None, None, 0.0),
        (None, None, 0.0),
        (None, "open", 105.0),
        ("half_open", "open", 115.0),
        ("half_open", None, 130.0),
        (None, "closed", 131.0),
        (None, None, 131.0),
    ]
    assert circuit.generation == 5


@pytest.mark.parametrize("allowed", [1, 2, 5])
def test_probes_are_bounded(guard: Guard, clock: Clock, allowed: int) -> None:
    breaker = half_opened(guard, clock, half_open_attempts=allowed)
    probes = [breaker.admit(MODEL) for _ in range(allowed)]
    with pytest.raises(CircuitOpenError, match="is being tried with as many calls") as caught:
        breaker.admit(MODEL)
    assert caught.value.retry_in == 10
    probes.pop().release()
    probes.append(breaker.admit(MODEL))
    for probe in probes:
        probe.record_success()
    assert breaker.state(MODEL) == "closed"


def test_a_probe_that_fails_opens_it_and_the_time_starts_anew(guard: Guard, clock: Clock) -> None:
    breaker = half_opened(guard, clock)
    probe = breaker.admit(MODEL)
    clock.now += 60
    probe.record_failure(DOWN)
    assert breaker.state(MODEL) == "open"
    clock.now += 9.75
    assert admitted(breaker) is None
    clock.now += 0.25
    assert admitted(breaker) is not None


def say_nothing(permit: Permit, error: BaseException | None) -> None:
    permit.record_failure(error) if error else permit.release()


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(None, id="given back"),
        pytest.param(GraphInterrupt(), id="an interrupt"),
        pytest.param(asyncio.CancelledError(), id="a cancellation"),
        pytest.param(KeyboardInterrupt(), id="control-C"),
        pytest.param(CircuitOpenError("no"), id="a refusal further in"),
    ],
)
def test_what_says_nothing_about_the_service_gives_the_permit_back(
    guard: Guard, clock: Clock, error: BaseException | None
) -> None:
    closed = guard("closed")
    for _ in range(5):
        say_nothing(closed.admit(), error)
    closed.admit().record_failure(DOWN)
    say_nothing(closed.admit(), error)
    assert closed.state() == "closed"
    closed.admit().record_failure(DOWN)
    assert closed.state() == "open", "what was given back is no success either"
    breaker = half_opened(guard, clock)
    for _ in range(3):
        say_nothing(breaker.admit(MODEL), error)
        assert breaker.state(MODEL) == "half_open"
    breaker.admit(MODEL).record_success()
    assert breaker.state(MODEL) == "closed"


def test_a_caller_may_say_which_errors_count(guard: Guard) -> None:
    def late(error: BaseException) -> bool:
        return isinstance(error, TimeoutError | asyncio.CancelledError)

    breaker = guard(counts=late)
    for _ in range(5):
        breaker.admit(MODEL).record_failure(ValueError("mine"))
        breaker.admit(MODEL).record_failure(GraphInterrupt())
    assert breaker.state(MODEL) == "closed"
    breaker.admit(MODEL).record_failure(TimeoutError())
    breaker.admit(MODEL).record_failure(asyncio.CancelledError())
    assert breaker.state(MODEL) == "open"


def test_only_the_first_word_about_a_call_counts(guard: Guard, clock: Clock) -> None:
    breaker = guard()
    permit = breaker.admit(MODEL)
    for _ in range(5):
        permit.record_failure(DOWN)
    assert breaker.state(MODEL) == "closed"
    permit.record_success()
    fail(breaker, 1)
    assert breaker.state(MODEL) == "open"
    clock.now += 10
    probe = breaker.admit(MODEL)
    probe.release()
    probe.record_success()
    assert breaker.state(MODEL) == "half_open"
    assert admitted(breaker) is not None, "it took no place any more"


@pytest.mark.parametrize("ok", [True, False], ids=["success", "failure"])
def test_a_permit_of_an_earlier_state_changes_nothing(guard: Guard, clock: Clock, ok: bool) -> None:
    breaker = guard()
    slow = [breaker.admit(MODEL) for _ in range(12)]

    def say() -> None:
        for _ in range(3):
            permit = slow.pop()
            permit.record_success() if ok else permit.record_failure(DOWN)

    fail(breaker, 2)
    clock.now += 5
    say()
    assert breaker.state(MODEL) == "open"
    clock.now += 5
    probe = breaker.admit(MODEL)
    say()
    assert breaker.state(MODEL) == "half_open"
    assert admitted(breaker) is None, "the probe is still under way"
    probe.record_success()
    say()
    assert breaker.state(MODEL) == "closed"
    fail(breaker, 1)
    say()
    assert breaker.state(MODEL) == "closed"
    fail(breaker, 1)
    assert breaker.state(MODEL) == "open", "late successes did not reset the count"


def test_a_probe_of_an_earlier_half_open_time_takes_no_place(guard: Guard, clock: Clock) -> None:
    breaker = half_opened(guard, clock, half_open_attempts=2)
    first, second = breaker.admit(MODEL), breaker.admit(MODEL)
    first.record_failure(DOWN)
    clock.now += 10
    probes = [breaker.admit(MODEL), breaker.admit(MODEL)]
    second.release()
    assert admitted(breaker) is None
    for probe in probes:
        probe.record_success()
    assert breaker.state(MODEL) == "closed"


@pytest.mark.parametrize("ok", [True, False], ids=["success", "failure"])
def test_a_probe_of_an_earlier_half_open_time_has_no_word(
    guard: Guard, clock: Clock, ok: bool
) -> None:
    breaker = half_opened(guard, clock, half_open_attempts=2)
    first, late = breaker.admit(MODEL), breaker.admit(MODEL)
    first.record_failure(DOWN)
    clock.now += 10
    breaker.admit(MODEL).record_success()
    late.record_success() if ok else late.record_failure(DOWN)
    assert late.turned is None
    assert breaker.state(MODEL) == "half_open", "one probe of this time has succeeded, of two"
    breaker.admit(MODEL).record_success()
    assert breaker.state(MODEL) == "closed"


def test_a_probe_that_was_forgotten_is_given_back(guard: Guard, clock: Clock) -> None:
    breaker = half_opened(guard, clock)
    probe = breaker.admit(MODEL)
    assert admitted(breaker) is None
    del probe
    gc.collect()
    breaker.admit(MODEL).record_success()
    assert breaker.state(MODEL) == "closed"


def test_two_breakers_of_one_service_share_it(guard: Guard, clock: Clock) -> None:
    one, two, keyed = guard("search"), guard("search"), guard()
    one.admit("ignored").record_failure(DOWN)
    two.admit().record_failure(DOWN)
    assert [one.state(), two.state("ignored"), keyed.state("search")] == ["open"] * 3
    assert guard("maps").state() == keyed.state("ignored") == "closed"
    with pytest.raises(CircuitOpenError, match="because 'search' failed too often"):
        one.admit("ignored")
    clock.now += 10
    probe = one.admit()
    assert admitted(two) is None
    probe.record_success()
    assert two.state() == "closed"


def test_each_breaker_judges_by_its_own_numbers(guard: Guard, clock: Clock) -> None:
    eager, patient = guard("search"), guard("search", failure_threshold=3, recovery_timeout=20.0)
    fail(patient, 2)
    assert eager.state() == patient.state() == "closed"
    fail(eager, 1)
    clock.now += 10
    assert (eager.state(), patient.state()) == ("half_open", "open")


def test_each_key_has_its_own_circuit(guard: Guard) -> None:
    breaker = guard()
    fail(breaker, 2, "openai/gpt-5")
    assert (breaker.state("openai/gpt-5"), breaker.state(MODEL)) == ("open", "closed")


def test_registries_share_nothing_and_the_default_is_the_process(clock: Clock) -> None:
    name = "tests/registries"
    try:
        shared = CircuitBreaker(name, failure_threshold=1, clock=clock)
        shared.admit().record_failure(DOWN)
        assert CircuitBreaker(name, clock=clock).state() == "open"
        assert CircuitBreaker(name, clock=clock, registry={}).state() == "closed"
    finally:
        del CIRCUITS[name]


def test_breakers_without_a_name_share_nothing(guard: Guard) -> None:
    one, other = guard(), guard()
    fail(one, 2, key="")
    assert (one.state(), other.state()) == ("open", "closed")
    with pytest.raises(CircuitOpenError, match="because the service failed too often"):
        one.admit()


NUMBERS: dict[str, list[Any]] = {
    "failure_threshold": [0, -1, True, False, 1.0, 2.5, "3", None, math.nan, math.inf],
    "half_open_attempts": [0, -1, True, False, 1.0, "1", None, math.nan, math.inf],
    "recovery_timeout": [0, 0.0, -1, True, "30", None, math.nan, math.inf, -math.inf, 10**400],
    "service": ["", "  ", 3, True],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in NUMBERS.items() for value in values],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:20],
)
def test_what_is_no_limit_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is ") as caught:
        CircuitBreaker(**{name: value})
    assert f"{name} is {value!r}; it must be a" in str(caught.value)


@pytest.mark.parametrize("seconds", [1e-3, 0.5, 1, sys.float_info.max])
def test_any_time_above_none_is_a_time_to_recover(clock: Clock, seconds: float) -> None:
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=seconds, clock=clock)
    breaker.admit().record_failure(DOWN)
    clock.now += seconds * 0.75
    assert breaker.state() == "open"
    clock.now += seconds * 0.5
    assert breaker.state() == "half_open"


def test_a_breaker_is_a_value() -> None:
    assert CircuitBreaker("a", recovery_timeout=5) == CircuitBreaker("a", recovery_timeout=5.0)
    assert CircuitBreaker("a") != CircuitBreaker("b")
    assert hash(CircuitBreaker("a")) == hash(CircuitBreaker("a"))
    assert repr(CircuitBreaker("a", counts=len, clock=max)) == (  # type: ignore[arg-type]  # short
        "CircuitBreaker(service='a', failure_threshold=5, recovery_timeout=30.0, "
        "half_open_attempts=1, counts=<built-in function len>, clock=<built-in function max>)"
    )
    with pytest.raises(AttributeError):
        CircuitBreaker("a").service = "b"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # frozen


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Lets threads be interrupted wherever they can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("allowed", [1, 3])
def test_threads_that_come_at_once_are_never_more_than_the_probes_allowed(
    guard: Guard, clock: Clock, allowed: int
) -> None:
    threads = 16
    breaker = guard(half_open_attempts=allowed)
    start = threading.Barrier(threads)

    def come() -> Permit | None:
        start.wait()
        return admitted(breaker)

    with ThreadPoolExecutor(threads) as pool:
        fail(breaker, 2)
        for _ in range(30):
            clock.now += 10
            comers = [pool.submit(come) for _ in range(threads)]
            probes = [probe for comer in comers if (probe := comer.result())]
            assert len(probes) == allowed
            probes[0].record_failure(DOWN)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_that_come_and_go_are_never_more_than_the_probes_allowed(
    guard: Guard, clock: Clock
) -> None:
    breaker = half_opened(guard, clock, half_open_attempts=3)
    inside, worst, passed = [0], [0], [0]
    lock = threading.Lock()

    def come_and_go() -> None:
        for _ in range(200):
            if probe := admitted(breaker):
                with lock:
                    inside[0] += 1
                    passed[0] += 1
                    worst[0] = max(worst[0], inside[0])
                with lock:
                    inside[0] -= 1
                probe.release()

    with ThreadPoolExecutor(12) as pool:
        for future in [pool.submit(come_and_go) for _ in range(12)]:
            future.result()
    assert worst[0] <= 3 <= passed[0]
    assert breaker.state(MODEL) == "half_open"


@pytest.mark.usefixtures("hasty_threads")
def test_failures_of_many_threads_are_all_counted(guard: Guard) -> None:
    breaker = guard(failure_threshold=1601)
    with ThreadPoolExecutor(16) as pool:
        for future in [pool.submit(fail, breaker, 100) for _ in range(16)]:
            future.result()
    assert breaker.state(MODEL) == "closed"
    fail(breaker, 1)
    assert breaker.state(MODEL) == "open"


async def test_tasks_and_threads_share_a_circuit(guard: Guard, clock: Clock) -> None:
    breaker = half_opened(guard, clock)
    held, entered = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        permit = breaker.admit(MODEL)
        try:
            entered.set()
            await held.wait()
        finally:
            permit.release()

    task = asyncio.create_task(call())
    await entered.wait()
    assert await asyncio.to_thread(admitted, breaker) is None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    probe = await asyncio.to_thread(admitted, breaker)
    assert probe is not None
    probe.record_success()
    assert breaker.state(MODEL) == "closed"


@dataclass(eq=False)
class Era:
    """The model: a circuit is a row of eras, and a call belongs to the era that let it in."""

    name: str
    since: float = 0.0
    failed: int = 0
    succeeded: int = 0
    inside: list["Call"] = field(default_factory=list["Call"])


@dataclass(eq=False)
class Call:
    """A permit, with what the model knows about it."""

    permit: Permit
    key: str
    era: Era
    settled: bool = False


THRESHOLD, REST, PROBES = 2, 10, 2
keys = st.sampled_from(["a", "b"])


class Breakers(RuleBasedStateMachine):
    """Three breakers, two circuits, many calls in flight."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.eras = {"a": Era("closed"), "b": Era("closed")}
        self.calls: list[Call] = []
        registry: dict[str, Circuit] = {}
        self.breakers = [
            CircuitBreaker(
                service,
                failure_threshold=THRESHOLD,
                recovery_timeout=REST,
                half_open_attempts=PROBES,
                clock=self.clock,
                registry=registry,
            )
            for service in (None, None, "a")
        ]

    def name(self, key: str) -> str:
        era = self.eras[key]
        rested = era.name == "open" and self.clock.now >= era.since + REST
        return "half_open" if rested else era.name

    @rule(which=st.integers(0, 2), key=keys)
    def call(self, which: int, key: str) -> None:
        breaker = self.breakers[which]
        at = breaker.service or key
        name = self.name(at)
        if name != self.eras[at].name:
            self.eras[at] = Era("half_open")
        era = self.eras[at]
        passes = name == "closed" or (name == "half_open" and len(era.inside) < PROBES)
        permit = admitted(breaker, key)
        assert (permit is not None) is passes
        if permit is not None:
            call = Call(permit, at, era)
            era.inside.append(call)
            self.calls.append(call)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), word=st.sampled_from(["ok", "down", "interrupt", "given back"]))
    def settle(self, data: st.DataObject, word: str) -> None:
        """Any call that was ever let in, also one that was settled."""
        self.say(self.calls[data.draw(st.integers(0, len(self.calls) - 1))], word)

    def say(self, call: Call, word: str) -> None:
        if word == "ok":
            call.permit.record_success()
        elif word == "down":
            call.permit.record_failure(DOWN)
        elif word == "interrupt":
            call.permit.record_failure(GraphInterrupt())
        else:
            call.permit.release()
        if not call.settled:
            call.settled = True
            call.era.inside.remove(call)
            if call.era is self.eras[call.key] and word in ("ok", "down"):
                self.eras[call.key] = self.after(call.era, word == "ok")

    def after(self, era: Era, ok: bool) -> Era:
        """Return the era after a call of the present one went so or so."""
        if era.name == "half_open":
            era.succeeded += ok
            if not ok:
                return Era("open", self.clock.now)
            return Era("closed") if era.succeeded == PROBES else era
        era.failed = 0 if ok else era.failed + 1
        return Era("open", self.clock.now) if era.failed == THRESHOLD else era

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        if not call.settled:
            call.era.inside.remove(call)

    @rule(key=keys)
    def break_down(self, key: str) -> None:
        """So many failures, and so much time, that the service is tried again."""
        while self.name(key) == "closed":
            self.call(0, key)
            self.say(self.calls[-1], "down")
        self.wait(REST)

    @rule(seconds=st.sampled_from([1, 4, REST - 1, REST, 3 * REST]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @invariant()
    def stands_as_the_model_says(self) -> None:
        for key in self.eras:
            assert {breaker.state(key) for breaker in self.breakers[:2]} == {self.name(key)}
        assert self.breakers[2].state("b") == self.name("a")

    @invariant()
    def probes_are_bounded(self) -> None:
        for era in self.eras.values():
            assert era.name != "half_open" or len(era.inside) <= PROBES


Breakers.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=50)
TestBreakers = Breakers.TestCase
