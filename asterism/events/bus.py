"""The event bus, its handlers, and the functions that emit events from within a run."""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from asterism.core.messages import clean_text
from asterism.core.numbers import count_faults, raise_number_faults
from asterism.core.sync_async import is_async, running_loop
from asterism.core.values import as_dict, describe_error, log_failure, plain_facts
from asterism.events.types import (
    CALLS,
    TYPES,
    Event,
    EventType,
    SupervisionEvent,
    SupervisionEventType,
    WorkflowEvent,
    WorkflowEventType,
)

BACKLOG = 10_000
"""How many events may wait for an async handler; what comes on top is not given to it."""

Handler = Callable[[Any], Any]
"""A function of an event, sync or async; what it returns is ignored."""


class Listener:
    """A handler with the events that it wants and, where it is async, those that wait for it."""

    def __init__(
        self,
        handler: Handler,
        kinds: frozenset[EventType] | None,
        where: Callable[[Event], bool] | None,
        failed: "Callable[[Listener, Event, BaseException], None]",
    ) -> None:
        self.handler = handler
        self.kinds = kinds
        """The types that it asked for; None: all but `CALLS`."""
        self._where = where
        self._failed = failed
        self._async = is_async(handler)
        self._context = copy_context()
        self._loop = running_loop()
        self._lock = threading.Lock()
        self._waiting: deque[Event | Callable[[], None]] = deque()
        self._working = False
        self._worker: asyncio.Task[None] | None = None

    def wants(self, kind: EventType) -> bool:
        """Whether it is told of this type."""
        return kind not in CALLS if self.kinds is None else kind in self.kinds

    def take(self, event: Event) -> None:
        """Give an event that it wants to the handler, or let it wait for its turn."""
        if not self.wants(event.type):
            return
        if self._where is not None and not self._where(event):
            return
        if self._async:
            with self._lock:
                if not (full := len(self._waiting) >= BACKLOG):
                    self._waiting.append(event)
                    self._start()
            if full:
                self._failed(self, event, OverflowError(f"{BACKLOG} events wait for it"))
            return
        try:
            self.handler(event)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told, not spread
            self._failed(self, event, error)

    async def wait_until_idle(self) -> None:
        """Wait until the handler is done with what waits for it now."""
        if not self._async or self._worker is asyncio.current_task():
            return
        loop = asyncio.get_running_loop()
        reached = loop.create_future()
        with self._lock:
            self._waiting.append(lambda: _settle(loop, reached))
            self._start()
        await reached

    def _start(self) -> None:
        """Start to work on what waits, in a loop that can; the lock is held."""
        if self._loop is None or self._loop.is_closed():
            self._loop, self._working = running_loop(), False
        if self._working or self._loop is None:
            return
        self._working = True
        self._loop.call_soon_threadsafe(self._begin, self._loop, context=self._context)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._worker = loop.create_task(self._work())

    async def _work(self) -> None:
        try:
            while True:
                with self._lock:
                    if not self._waiting:
                        self._working, self._worker = False, None
                        return
                    item = self._waiting.popleft()
                if not isinstance(item, Event):
                    item()
                    continue
                try:
                    await self.handler(item)
                except Exception as error:  # noqa: BLE001 - told, not spread
                    self._failed(self, item, error)
        except BaseException:  # the loop is being shut down; another one takes up the rest
            with self._lock:
                self._working, self._worker = False, None
            raise


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    def settle() -> None:
        if not future.done():
            future.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)


_log = logging.getLogger(__name__)

H = TypeVar("H", bound=Handler)

Wanted = EventType | str | Collection[EventType | str]
"""A type of event or its name, or several."""


@dataclass(frozen=True, kw_only=True)
class HandlerFailure:
    """A handler that failed."""

    handler: str
    """Its name."""
    error: str
    """What it raised first."""
    sequence: int
    """The event with which it failed first."""
    times: int = 1
    """How often it has failed."""


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class EventBus:
    """Tells events to handlers, in the order in which they were emitted.

    It may be used from any thread. Sync handlers are called by whoever emits; while another
    thread is at it, that one calls them. Async handlers get their events one after the other
    in the event loop that they were registered in, or else in that of the first who emits.
    A handler that fails harms nobody: it is logged once, and counted in `failures`.

    Example:
        ```python
        bus = EventBus()

        @bus.on("task_completed")
        def tell(event: Event) -> None:
            print(event.source, event.facts)
        ```

    Args:
        history: How many events are kept for `history`, the latest ones.
        clock: The time in UTC.
    """

    def __init__(self, *, history: int = 1000, clock: Callable[[], datetime] = utc_now) -> None:
        raise_number_faults(count_faults("history", history, least=0))
        self._clock = clock
        self._lock = threading.Lock()
        self._sequence = 0
        self._history: deque[Event] = deque(maxlen=history)
        self._undelivered: deque[Event] = deque()
        self._delivering = False
        self._listeners: list[Listener] = []
        self._failures: dict[Listener, HandlerFailure] = {}
        self._heard: frozenset[EventType] = frozenset()
        self._listen([])

    def __deepcopy__(self, memo: Any) -> "EventBus":
        """Stay the one that it is: servers copy the configs of runs."""
        return self

    @overload
    def on(self, what: H) -> H: ...
    @overload
    def on(self, what: Wanted | None = None) -> Callable[[H], H]: ...
    @overload
    def on(
        self, what: Wanted | None, handler: H, *, where: Callable[[Event], bool] | None = None
    ) -> H: ...
    def on(self, what: Any = None, handler: Any = None, *, where: Any = None) -> Any:
        """Register a handler: `@bus.on("killed")`, `@bus.on()`, `bus.on("killed", tell)`.

        Args:
            what: The type of event, or its name, or several. None: every event but
                `model_called` and `tool_called`, of which there are many.
            handler: What is called with each. None: what the decorator stands above.
            where: Which of them it is called with. None: all.

        Raises:
            ValueError: There is no such type.
        """
        if handler is None and callable(what) and not isinstance(what, str):
            what, handler = None, what
        kinds = None if what is None else _kinds(what)

        def register(handler: H) -> H:
            listener = Listener(handler, kinds, where, self._log_handler_failure)
            with self._lock:
                self._listen([*self._listeners, listener])
            return handler

        return register if handler is None else register(handler)

    def off(self, handler: Handler) -> None:
        """Call a handler no more, whatever it was registered for."""
        with self._lock:
            self._listen([kept for kept in self._listeners if kept.handler != handler])

    def has_handler(self, type: EventType) -> bool:
        """Whether events of this type are kept or handled by anybody."""
        return type in self._heard

    def emit(
        self,
        type: EventType,
        source: str,
        facts: Mapping[str, Any] | None = None,
        *,
        run: str = "",
        at: datetime | None = None,
    ) -> SupervisionEvent | WorkflowEvent:
        """Tell of something that happened.

        Args:
            type: What.
            source: To whom.
            facts: What else there is to know; what is no JSON value is made one.
            run: The run of a workflow that it belongs to.
            at: When, in UTC. None: now.
        """
        plain = plain_facts(facts or {})
        with self._lock:
            self._sequence += 1
            place, at = self._sequence, at or self._clock()
            event: SupervisionEvent | WorkflowEvent
            if isinstance(type, SupervisionEventType):
                event = SupervisionEvent(
                    sequence=place, type=type, source=source, at=at, facts=plain
                )
            else:
                event = WorkflowEvent(
                    sequence=place, type=type, source=source, at=at, facts=plain, run=run
                )
            self._history.append(event)
            self._undelivered.append(event)
            if self._delivering:
                return event  # whoever delivers takes it along
            self._delivering = True
        self._deliver()
        return event

    def history(self, source: str | None = None) -> list[Event]:
        """Return the latest events, oldest first: all, or those of one source."""
        with self._lock:
            return [event for event in self._history if source in (None, event.source)]

    def failures(self) -> list[HandlerFailure]:
        """Return the handlers that have failed."""
        with self._lock:
            return list(self._failures.values())

    async def drained(self) -> None:
        """Wait until the async handlers are done with everything emitted so far."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            await listener.wait_until_idle()

    def _listen(self, listeners: list[Listener]) -> None:
        """Tell these from now on; the lock is held."""
        self._listeners = listeners
        kept = self._history.maxlen != 0
        self._heard = frozenset(
            kind
            for kind in TYPES.values()
            if (kept and kind not in CALLS) or any(listener.wants(kind) for listener in listeners)
        )

    def _deliver(self) -> None:
        try:
            while True:
                with self._lock:
                    if not self._undelivered:
                        self._delivering = False
                        return
                    event = self._undelivered.popleft()
                    listeners = self._listeners
                for listener in listeners:
                    listener.take(event)
        except BaseException:  # an interrupt from the keyboard: the next one delivers the rest
            with self._lock:
                self._delivering = False
            raise

    def _log_handler_failure(self, listener: Listener, event: Event, error: BaseException) -> None:
        name = getattr(listener.handler, "__qualname__", None) or repr(listener.handler)
        said = describe_error(error)
        with self._lock:
            earlier = self._failures.get(listener)
            self._failures[listener] = (
                replace(earlier, times=earlier.times + 1)
                if earlier
                else HandlerFailure(handler=name, error=said, sequence=event.sequence)
            )
        if earlier is None:
            words = "The event handler %s failed with %s (%s); it is told of what follows."
            log_failure(_log, words, name, event.type.value, said, error=error)


def _kinds(what: Any) -> frozenset[EventType]:
    names = [what] if isinstance(what, str) else what
    if unknown := [name for name in names if str(name) not in TYPES]:
        raise ValueError(f"there is no event {unknown[0]!r}; allowed: {', '.join(TYPES)}")
    return frozenset(TYPES[str(name)] for name in names)


BUS = "asterism_bus"
"""The config key under which a run is given an event bus, and carries its `EventScope`."""
EXCERPT, TAIL = 2_000, 500
"""How many characters of a text events tell at most, and how many of these are its last."""


@dataclass(frozen=True, kw_only=True)
class EventScope:
    """Where a run tells what happens in it; a workflow inside another shares that one's."""

    bus: EventBus
    run: str = ""
    """The name of the run in its events."""
    owner: object = None
    """The background of the workflow whose run it is. None: the bus was given with a config."""


def emit(config: RunnableConfig, what: WorkflowEventType, **facts: Any) -> None:
    """Tell the event bus of a run what happens, if it has one.

    Args:
        config: The config of a node, or of the run.
        what: What happens.
        **facts: What else there is to know; what is None is left out, a long text is cut.
    """
    configurable = as_dict(config.get("configurable"))
    line = event_scope(configurable)
    if line is not None and line.bus.has_handler(what):
        known = {name: _cut(fact) for name, fact in facts.items() if fact is not None}
        line.bus.emit(what, str(configurable.get("thread_id") or ""), known, run=line.run)


def has_event_bus(config: RunnableConfig) -> bool:
    """Whether the run of a config has a bus, so that there is somebody to `tell`."""
    return bool(as_dict(config.get("configurable")).get(BUS))


def emit_from_context(what: WorkflowEventType, to: EventBus | None = None, **facts: Any) -> None:
    """Tell a bus of the run that the code at hand belongs to.

    Args:
        what: What happens.
        to: The bus. None: the one that the run carries.
        **facts: What else there is to know; what is None is left out.
    """
    around = var_child_runnable_config.get() or {}
    configurable = as_dict(around.get("configurable"))
    line = event_scope(configurable)
    if to is not None and (line is None or line.bus is not to):
        line = EventScope(bus=to)
    emit({"configurable": {**configurable, BUS: line}}, what, **facts)


def event_scope(configurable: Mapping[str, Any]) -> EventScope | None:
    """Return where a run tells what happens; one that is no workflow has only the bus."""
    found: EventScope | EventBus | None = configurable.get(BUS)
    return EventScope(bus=found) if isinstance(found, EventBus) else found


def _cut(fact: Any) -> Any:
    """Return a fact as events tell it: a long text is cut in the middle."""
    if not isinstance(fact, str):
        return fact
    long = len(fact) > EXCERPT
    return clean_text(f"{fact[: EXCERPT - TAIL]} … {fact[-TAIL:]}" if long else fact)
