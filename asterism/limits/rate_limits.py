"""The capacity of a service, shared by all who call it: a call waits for its turn."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import KW_ONLY, InitVar, dataclass, field
from queue import SimpleQueue
from typing import Any, Literal, TypeVar, cast

from langchain_core.runnables import Runnable
from langchain_core.runnables.config import var_child_runnable_config

from asterism.core.numbers import count_faults, raise_number_faults, seconds_faults
from asterism.core.values import as_dict
from asterism.events import EventBus, WorkflowEventType, emit_from_context
from asterism.limits.admission_queue import AdmissionQueue, QueuedCall, RateLimits, Reservation
from asterism.limits.rate_limited_model import Estimate, ModelAdmission, with_admission

__all__ = [
    "CapacityRegistry",
    "CapacityStatus",
    "Reservation",
    "ResourceManager",
    "on_queue_change",
]

HIGHEST = 1_000_000
"""The highest priority; the lowest is its negative."""

PRIORITY = "priority"
"""The key of `configurable` under which a run says its priority."""
PRIORITIES: Mapping[str, int] = {"low": -10, "normal": 0, "high": 10}
"""The priorities that a word stands for."""

_Model = TypeVar("_Model", bound=Runnable[Any, Any])


@dataclass(frozen=True, kw_only=True)
class CapacityStatus:
    """How much of a capacity is in use."""

    waiting: int
    """Calls that wait."""
    running: int
    """Calls that were admitted and have not given their place back."""
    tokens: int
    """Tokens in the window of a minute."""
    requests: int
    """Calls in the window of a minute."""


on_queue_change: ContextVar[Callable[[bool], None] | None] = ContextVar("waits", default=None)
"""Is told when a call of the code at hand begins to wait, and when it does no more."""

CapacityRegistry = dict[str, AdmissionQueue]
"""What is shared, by name."""

CAPACITIES: CapacityRegistry = {}
"""What is shared in this process."""
_guard = threading.Lock()


@dataclass(frozen=True)
class ResourceManager:
    """Holds calls back before they are made, so that a service is never asked for too much.

    Tokens and requests per minute are counted over a sliding window: in no 60 seconds more is
    admitted than the limit. A token bucket would allow twice as much at its edges. A call
    reserves what it may take and settles what it took: what is left over is free at once, and
    what it took beyond it stands in the window for a minute from then on.

    Higher priorities pass first, and calls of one priority as they came. `aging` seconds of
    waiting are worth one level, so a call is overtaken only by calls of a priority `n` levels
    higher that come within `n * aging` seconds after it, and none waits for ever. A run says the
    priority of all its calls with `config={"configurable": {"priority": "high"}}`: a whole
    number, or `"low"` (-10), `"normal"` (0), `"high"` (10).

    All managers of this process with the same name share its capacity, whether they are used by
    threads or by any number of event loops. Without a name a manager shares it with no other.

    Args:
        name: Whose capacity it is, such as `"openai"`.
        tokens_per_minute: How many tokens may be admitted in 60 seconds. None: as many as one
            likes.
        requests_at_once: How many calls may be under way. None: as many as one likes.
        requests_per_minute: How many calls may be admitted in 60 seconds. None: as many as one
            likes.
        aging: Seconds of waiting that are worth one level of priority.
        events: The bus that is told of every wait. None: that of the run in which a call waits.
        clock: The time in seconds. After a clock that is set by hand, call `wake`.
        registry: Where the capacities are kept. Managers with different registries share
            nothing.
        max_tokens_per_minute: Another name for `tokens_per_minute`.
        max_concurrent_requests: Another name for `requests_at_once`.
        priority_queue: Calls always pass by their priority; there is no queue without.
    """

    name: str | None = None
    _: KW_ONLY
    tokens_per_minute: int | None = None
    requests_at_once: int | None = None
    requests_per_minute: int | None = None
    aging: float = 5.0
    events: EventBus | None = field(default=None, compare=False)
    clock: Callable[[], float] = time.monotonic
    registry: CapacityRegistry = field(
        default_factory=lambda: CAPACITIES, repr=False, compare=False
    )
    max_tokens_per_minute: InitVar[int | None] = None
    max_concurrent_requests: InitVar[int | None] = None
    priority_queue: InitVar[bool] = True
    _admission: AdmissionQueue = field(init=False, repr=False, compare=False)

    def __post_init__(
        self,
        max_tokens_per_minute: int | None,
        max_concurrent_requests: int | None,
        priority_queue: bool,
    ) -> None:
        if priority_queue is not True:
            raise ValueError(
                f"priority_queue is {priority_queue!r}; calls always pass by their priority. "
                "Give them all the same one, and they pass as they came."
            )
        for limit, value in (
            ("tokens_per_minute", max_tokens_per_minute),
            ("requests_at_once", max_concurrent_requests),
        ):
            if value is not None:
                object.__setattr__(self, limit, value)
        name: Any = self.name
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise ValueError(f"name is {name!r}; it must be a name, or None")
        faults = list(seconds_faults("aging", self.aging, above_zero=True))
        for limit in ("tokens_per_minute", "requests_at_once", "requests_per_minute"):
            if getattr(self, limit) is not None:
                faults += count_faults(limit, getattr(self, limit))
        raise_number_faults(faults)
        limits = RateLimits(
            tokens_per_minute=self.tokens_per_minute,
            requests_at_once=self.requests_at_once,
            requests_per_minute=self.requests_per_minute,
            aging=float(self.aging),
        )
        admission = AdmissionQueue(self.name, limits, self.clock)
        if self.name is not None:
            with _guard:
                admission = self.registry.setdefault(self.name, admission)
        if admission.limits != limits:
            raise ValueError(
                f"{self.name!r} has other limits already: {admission.limits}. Give all its "
                "managers the same ones, or this one another name"
            )
        object.__setattr__(self, "_admission", admission)

    def reserve(
        self, tokens: int, *, priority: int = 0, timeout: float | None = None
    ) -> Reservation:
        """Wait in this thread until a call may be made.

        Args:
            tokens: How many the call may take.
            priority: Higher passes first.
            timeout: Seconds to wait at most. None: as long as it takes; 0: not at all.

        Returns:
            What the call takes; give it back with `with`, or with `release`.

        Raises:
            CapacityTimeoutError: It was not admitted in time.
            ValueError: A value is not allowed, or more tokens than ever may pass.
        """
        ready: SimpleQueue[None] = SimpleQueue()
        with self._wait(tokens, priority, timeout, lambda: ready.put(None)) as waiter:
            ready.get()
        return waiter.result()

    async def areserve(
        self, tokens: int, *, priority: int = 0, timeout: float | None = None
    ) -> Reservation:
        """Wait in this task until a call may be made; see `reserve`. It may be cancelled."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            loop.call_soon_threadsafe(ready.set)

        with self._wait(tokens, priority, timeout, notify) as waiter:
            if waiter.outcome is None:
                await ready.wait()
        return waiter.result()

    def status(self) -> CapacityStatus:
        """Return how much is in use now."""
        waiting, running, tokens, requests = self._admission.status()
        return CapacityStatus(waiting=waiting, running=running, tokens=tokens, requests=requests)

    def wake(self) -> None:
        """Let pass whoever may by now; needed only where the clock is set by hand."""
        self._admission.status()

    def wrap(
        self,
        model: _Model,
        *,
        priority: int = 0,
        timeout: float | None = None,
        estimate: Estimate | None = None,
    ) -> _Model:
        """Return a chat model that waits before each call, and settles what the call took.

        It is a copy of its class: it binds tools, answers in a structure and streams as the
        model does, and an answer from a cache does not wait. A stream keeps its place until it
        is read to its end or closed. Where the client of the provider retries by itself, set
        its `max_retries` to 0: its retries are not seen here.

        Args:
            model: A chat model, also with bound arguments, retries or fallbacks.
            priority: Higher passes first. A run that says a priority of its own has that one.
            timeout: Seconds that a call may wait. None: as long as it takes.
            estimate: How many tokens a call may take, from its messages and options. None: as
                many as the prompt has by a rough count, and 500 for the answer, or fewer where
                `max_tokens` says so. More than may ever pass are taken as just as many.

        Raises:
            TypeError: It is no chat model.
            ValueError: A value is not allowed.
        """
        _check_terms(priority, timeout)

        def reserve(tokens: int) -> Reservation:
            return self.reserve(tokens, priority=priority_of_run(priority), timeout=timeout)

        def areserve(tokens: int) -> Awaitable[Reservation]:
            return self.areserve(tokens, priority=priority_of_run(priority), timeout=timeout)

        gate = ModelAdmission(
            admission=self._admission, reserve=reserve, areserve=areserve, estimate=estimate
        )
        return cast(_Model, with_admission(model, gate))

    @contextmanager
    def _wait(
        self, tokens: int, priority: int, timeout: float | None, notify: Callable[[], None]
    ) -> Generator[QueuedCall]:
        """Queue a call up, tell of its wait, and leave the queue right however that ends."""
        raise_number_faults(count_faults("tokens", tokens, least=0))
        _check_terms(priority, timeout)
        if self.tokens_per_minute is not None and tokens > self.tokens_per_minute:
            raise ValueError(
                f"tokens is {tokens}, but tokens_per_minute is {self.tokens_per_minute}: the call "
                "could never pass. Ask for less, or raise the limit"
            )
        waiter = self._admission.join(tokens, priority, timeout, notify)
        waits = waiter.outcome is None
        try:
            if waits:
                self._tell("waiting", waiter)
            yield waiter
        except BaseException:
            self._admission.leave(waiter)
            if waits:
                self._tell("gave_up", waiter)
            raise
        if waits:
            self._tell("admitted" if isinstance(waiter.outcome, Reservation) else "gave_up", waiter)

    def _tell(self, state: Literal["waiting", "admitted", "gave_up"], waiter: QueuedCall) -> None:
        """Tell that a wait begins, has ended well, or was cancelled or out of time."""
        slot = waiter.outcome
        until = slot.admitted_at if isinstance(slot, Reservation) else self.clock()
        if told := on_queue_change.get():
            told(state == "waiting")
        emit_from_context(
            WorkflowEventType.WAITING_FOR_CAPACITY,
            self.events,
            service=self.name,
            state=state,
            priority=waiter.priority,
            tokens=waiter.tokens,
            waited_seconds=until - waiter.since,
            queue_length=len(self._admission.queue),
        )


def read_priority(given: object) -> int:
    """Return a priority that is given as a number or as a word.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(given, str) and given.lower() in PRIORITIES:
        return PRIORITIES[given.lower()]
    if isinstance(given, bool) or not isinstance(given, int) or abs(given) > HIGHEST:
        raise ValueError(
            f"priority is {given!r}; allowed: {', '.join(map(repr, PRIORITIES))}, or a whole "
            f"number from {-HIGHEST} to {HIGHEST}"
        )
    return given


def priority_of_run(default: int) -> int:
    """Return the priority that the run at hand says for its calls, or the default."""
    config = var_child_runnable_config.get() or {}
    given = as_dict(config.get("configurable")).get(PRIORITY)
    return default if given is None else read_priority(given)


def _check_terms(priority: int, timeout: float | None) -> None:
    faults = list(count_faults("priority", priority, least=-HIGHEST))
    if not faults and priority > HIGHEST:
        faults.append(f"priority is {priority}; it must be at most {HIGHEST}")
    if timeout is not None:
        faults += seconds_faults("timeout", timeout)
    raise_number_faults(faults)
