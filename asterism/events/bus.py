"""The bus: tells events to whoever listens."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from asterism.core.values import describe_error, log_failure, plain_facts
from asterism.events.listeners import Handler, Listener
from asterism.events.model import (
    CALLS,
    TYPES,
    Event,
    EventType,
    SupervisionEvent,
    SupervisionEventType,
    WorkflowEvent,
)

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
        size: Any = history
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise ValueError(f"history is {history!r}; it must be a whole number from 0")
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
        self,
        what: Wanted | None,
        handler: H,
        *,
        where: Callable[[Event], bool] | None = None,
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
