"""A listener: a handler with the events that it wants and those that wait for it."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from asterism.core.sync_async import is_async
from asterism.events.model import CALLS, Event, EventType

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
        self._loop = _running_loop()
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
            self._loop, self._working = _running_loop(), False
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


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
    def settle() -> None:
        if not future.done():
            future.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
