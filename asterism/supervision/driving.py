"""Where the run of an attempt is driven: in the loop of its supervisor, or in one of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from asterism.supervision.threads import install_thread_executor

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Drive(Generic[T]):
    """A coroutine that is being driven."""

    done: "asyncio.Future[T]"
    """Its result, in the loop of the supervisor."""
    cancel: Callable[[], None]
    """Cancels it, as often as one likes."""


def in_task(coroutine: Coroutine[Any, Any, T], context: Context, name: str) -> Drive[T]:
    """Drive a coroutine beside the supervisor: what blocks in it blocks everybody."""
    loop = asyncio.get_running_loop()
    install_thread_executor(loop)
    task = loop.create_task(coroutine, context=context, name=name)
    _held.add(task)  # one that does not let itself be cancelled is left alone, not lost
    task.add_done_callback(_held.discard)
    return Drive(done=task, cancel=lambda: _cancel(task))


def in_thread(coroutine: Coroutine[Any, Any, T], context: Context, name: str) -> Drive[T]:
    """Drive a coroutine in a loop and a thread of its own: what blocks in it blocks nobody."""
    result: Future[T] = Future()
    own = asyncio.new_event_loop()
    install_thread_executor(own)
    task = own.create_task(coroutine, context=context, name=name)

    def drive() -> None:
        result.set_running_or_notify_cancel()
        with asyncio.Runner(loop_factory=lambda: own) as runner:
            try:
                value = runner.get_loop().run_until_complete(task)
            except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
                result.set_exception(error)
            else:
                result.set_result(value)

    def cancel() -> None:
        with suppress(RuntimeError):  # it is over, and its loop closed
            own.call_soon_threadsafe(_cancel, task)

    threading.Thread(target=drive, name="child", daemon=True).start()
    return Drive(done=asyncio.wrap_future(result), cancel=cancel)


def _cancel(task: "asyncio.Task[Any]") -> None:
    """Cancel a task once: a second time would break off the engine's own clearing up."""
    if not task.cancelling():
        task.cancel()


_held: set["asyncio.Task[Any]"] = set()
