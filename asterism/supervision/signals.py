"""Signals: the process is told to end, and has a moment for it."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any


def on_signal(
    number: signal.Signals, stop: Callable[[bool], Coroutine[Any, Any, Any]]
) -> Callable[[], None]:
    """Stop what the running loop does when the process is told to end.

    Args:
        number: How it is told: `SIGTERM`, or `SIGINT` from the keyboard.
        stop: Is awaited at each signal, and told whether it is not the first.

    Returns:
        What puts back the handler that was there.
    """
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[Any]] = []

    def told() -> None:
        stopping.append(loop.create_task(stop(bool(stopping))))

    def handler(number: int, frame: object) -> None:  # a loop's own handlers need Unix
        if not loop.is_closed():
            loop.call_soon_threadsafe(told)

    before = signal.signal(number, handler)

    def remove() -> None:
        if signal.getsignal(number) is handler:
            signal.signal(number, before)

    return remove
