"""Who calls a service now, and who waits for it: one queue for threads and event loops alike."""

import math
import threading
from bisect import insort
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import Any, Self

from asterism.core.numbers import count_faults, raise_number_faults
from asterism.errors import CapacityTimeoutError

WINDOW = 60.0
"""Seconds that a call stands in the window that the limits per minute look at."""


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """What a service can bear. None: as much as one likes."""

    tokens_per_minute: int | None = None
    requests_at_once: int | None = None
    requests_per_minute: int | None = None
    aging: float = 5.0
    """Seconds of waiting that are worth one level of priority."""


@dataclass(eq=False)
class _Charge:
    """What a call takes: a place, and for a minute a request and tokens."""

    until: float
    tokens: int
    requests: int = 0
    running: int = 0
    counts: bool = True
    """Whether it still stands in the window."""
    settled: bool = False


class Reservation:
    """Leave to make one call. It takes a place and tokens until they are given back.

    `with` and `async with` give the place back at the end; so does a slot that is dropped.
    """

    def __init__(self, admission: "AdmissionQueue", charge: _Charge) -> None:
        self.tokens = charge.tokens
        """What was reserved."""
        self.admitted_at = charge.until - WINDOW
        """When the call was admitted, in seconds of the manager's clock."""
        self.admission = admission
        self._charge = charge

    def settle(self, actual_tokens: int) -> None:
        """Say how many tokens the call took; only the first word counts.

        What was reserved and not taken is free at once. What was taken beyond it stands in the
        window for a minute from now on. Without a word, what was reserved stands: providers
        count calls that fail, too.
        """
        raise_number_faults(count_faults("actual_tokens", actual_tokens, least=0))
        settle = partial(self.admission.settle, self._charge, self.tokens, actual_tokens)
        self.admission.post(settle)

    def release(self) -> None:
        """Give the place back: the call has ended. The tokens are the matter of `settle`."""
        self.admission.post(partial(self.admission.release, self._charge))

    def withdraw(self) -> None:
        """Give everything back: the call was not made."""
        self.admission.post(partial(self.admission.withdraw, self._charge))

    def is_held(self) -> bool:
        """Whether it still takes a place."""
        return bool(self._charge.running)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        if self._charge.running:
            self.release()


@dataclass(eq=False, kw_only=True)
class QueuedCall:
    """A call that wants to pass."""

    rank: tuple[float, int]
    """Its turn: the time at which it came, earlier for a higher priority; then its number."""
    priority: int
    tokens: int
    since: float
    deadline: float
    notify: Callable[[], Any]
    """Tells a thread or a task to look at the outcome. Raises a RuntimeError if it is gone."""
    outcome: Reservation | CapacityTimeoutError | None = None

    def result(self) -> Reservation:
        """Return the slot, or raise the refusal."""
        if isinstance(self.outcome, Reservation):
            return self.outcome
        raise self.outcome or RuntimeError("nobody has let this call pass yet")


class AdmissionQueue:
    """Lets calls pass as long as there is capacity, and the others when their turn comes.

    Only the first in the queue may pass, so a big call is not overtaken for ever by small ones.

    Nobody polls: whoever comes, settles, gives a place back or gives up has the queue looked
    at, and one thread sleeps until time alone lets somebody pass. It is there only while
    somebody waits.

    Nobody blocks either: what is to be done is posted, and done by whoever is at it. So a slot
    can be given back by a generator or an object that is collected as garbage, which can happen
    in the middle of anything, and an event loop never waits for a lock.
    """

    def __init__(self, name: str | None, limits: RateLimits, clock: Callable[[], float]) -> None:
        self.name, self.limits, self.clock = name, limits, clock
        self.queue: list[QueuedCall] = []
        self.running = self.tokens = self.requests = 0
        self._window: deque[_Charge] = deque()
        self._inbox: deque[Callable[[float], None]] = deque()
        self._busy = threading.Lock()
        self._numbers = count()
        self._alarm: SimpleQueue[None] | None = None
        self._due = math.inf

    def join(
        self, tokens: int, priority: int, timeout: float | None, notify: Callable[[], Any]
    ) -> QueuedCall:
        """Queue a call up; it may pass at once."""
        now = self.clock()
        waiter = QueuedCall(
            rank=(now - priority * self.limits.aging, next(self._numbers)),
            priority=priority,
            tokens=tokens,
            since=now,
            deadline=math.inf if timeout is None else now + timeout,
            notify=notify,
        )
        self.post(lambda _: insort(self.queue, waiter, key=lambda one: one.rank))
        return waiter

    def leave(self, waiter: QueuedCall) -> None:
        """Let a call go that shall not be made any more, whether it was admitted or not."""

        def drop(_: float) -> None:
            if waiter in self.queue:
                self.queue.remove(waiter)
            elif isinstance(waiter.outcome, Reservation):
                waiter.outcome.withdraw()

        self.post(drop)

    def post(self, action: Callable[[float], None]) -> None:
        """Have something done now, here or by whoever is at it already."""
        self._inbox.append(action)
        while self._inbox and self._busy.acquire(blocking=False):
            try:
                while self._inbox:
                    self._inbox.popleft()(self.clock())
                self._serve(self.clock())
            finally:
                self._busy.release()

    def status(self) -> tuple[int, int, int, int]:
        """Return how many calls wait and run, and the tokens and requests in the window."""
        answer: SimpleQueue[tuple[int, int, int, int]] = SimpleQueue()

        def look(now: float) -> None:
            self._serve(now)
            answer.put((len(self.queue), self.running, self.tokens, self.requests))

        self.post(look)
        return answer.get()

    def settle(self, charge: _Charge, reserved: int, actual: int, now: float) -> None:
        """Charge what a call took instead of what was reserved. Only to be posted."""
        if charge.settled:
            return
        charge.settled = True
        self._correct(charge, min(actual, reserved), charge.requests)
        if actual > reserved:
            self._add(_Charge(now + WINDOW, actual - reserved))

    def release(self, charge: _Charge, *_: float) -> None:
        """Free the place of a call. Only to be posted."""
        self.running -= charge.running
        charge.running = 0

    def withdraw(self, charge: _Charge, *_: float) -> None:
        """Undo an admission. Only to be posted."""
        self.release(charge)
        charge.settled = True
        self._correct(charge, 0, 0)

    def _add(self, charge: _Charge) -> None:
        self._window.append(charge)
        self.tokens += charge.tokens
        self.requests += charge.requests
        self.running += charge.running

    def _correct(self, charge: _Charge, tokens: int, requests: int) -> None:
        if charge.counts:
            self.tokens += tokens - charge.tokens
            self.requests += requests - charge.requests
            charge.tokens, charge.requests = tokens, requests

    def _serve(self, now: float) -> None:
        while self._window and self._window[0].until <= now:
            self._correct(self._window[0], 0, 0)
            self._window.popleft().counts = False
        while self.queue and (self._fits(self.queue[0]) or self.queue[0].deadline <= now):
            first = self.queue.pop(0)
            self._admit(first, now) if self._fits(first) else self._refuse(first, now)
        for late in [one for one in self.queue if one.deadline <= now]:
            self.queue.remove(late)
            self._refuse(late, now)
        self._set_alarm()

    def _fits(self, waiter: QueuedCall) -> bool:
        wanted = (
            (self.limits.requests_at_once, self.running + 1),
            (self.limits.requests_per_minute, self.requests + 1),
            (self.limits.tokens_per_minute, self.tokens + waiter.tokens),
        )
        return all(limit is None or use <= limit for limit, use in wanted)

    def _admit(self, waiter: QueuedCall, now: float) -> None:
        charge = _Charge(now + WINDOW, waiter.tokens, requests=1, running=1)
        self._add(charge)
        if not self._tell(waiter, Reservation(self, charge)):
            self.withdraw(charge)

    def _tell(self, waiter: QueuedCall, outcome: Reservation | CapacityTimeoutError) -> bool:
        waiter.outcome = outcome
        try:
            waiter.notify()
        except RuntimeError:  # its event loop is closed
            return False
        return True

    def _refuse(self, waiter: QueuedCall, now: float) -> None:
        waited = now - waiter.since
        error = CapacityTimeoutError(
            f"No call is made, because {repr(self.name) if self.name else 'the service'} had no "
            f"capacity for it within {waited:.1f} s (others waiting: {len(self.queue)}). Wait "
            "longer, or raise its limits or the priority of the call.",
            service=self.name or "",
            waited=waited,
        )
        self._tell(waiter, error)

    def _set_alarm(self) -> None:
        """Have the queue looked at when time alone may let somebody pass, or go."""
        before, self._due = self._due, min([one.deadline for one in self.queue], default=math.inf)
        if self._window and self.queue:
            self._due = min(self._due, self._window[0].until)
        alarm = self._alarm
        if not self.queue:
            self._alarm = None
        elif alarm is None:
            self._alarm = SimpleQueue()
            watch = partial(self._watch, self._alarm)
            threading.Thread(target=watch, name="asterism-capacity", daemon=True).start()
        if alarm and (not self.queue or self._due < before):
            alarm.put(None)

    def _watch(self, alarm: "SimpleQueue[None]") -> None:
        while self._alarm is alarm:
            seconds = min(max(self._due - self.clock(), 0.0), threading.TIMEOUT_MAX)
            with suppress(Empty):
                alarm.get(timeout=seconds)
            self.post(lambda _: None)
