"""Threads for what blocks: each child has its own, so that a hanging one holds up nobody.

An async run hands sync functions to the default executor of the event loop. Its threads are
few and shared, nobody can tell whose function hangs, and the interpreter waits for them when
it exits. So the supervisor gives the loop an executor that sends the functions of a child to
threads of that child, which can be counted, left alone, and die with the process.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from typing_extensions import ParamSpec

from asterism.core.values import describe_error

P = ParamSpec("P")
T = TypeVar("T")

MOST = 32
"""How many threads a child may have."""
IDLE = 5.0
"""Seconds for which a thread waits for more to do."""

_Job = tuple[Future[Any], Callable[[], Any]]


class ChildThreads:
    """The threads of one attempt of a child."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0
        self._closed = False

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Run a function in a thread."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:  # whoever was given up begins nothing any more
                future.cancel()
                return future
            self._busy += 1
            self._jobs.put((future, job))
            if self._threads < min(self._busy, MOST):
                self._threads += 1
                threading.Thread(target=self._work, name="child", daemon=True).start()
        return future

    def busy(self) -> int:
        """Return how many functions run or wait."""
        return self._busy

    def close(self) -> None:
        """Let threads end that have nothing to do, and begin no function any more."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE)
            except queue.Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._threads -= 1
                        return
                continue
            if job is None:
                return
            future, function = job
            if self._closed:
                future.cancel()
            elif future.set_running_or_notify_cancel():
                _run(future, function)
            del job, future, function
            with self._lock:
                self._busy -= 1


def _run(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        value = function()
    except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
        future.set_exception(error)
    else:
        future.set_result(value)


CREW: ContextVar[ChildThreads | None] = ContextVar("crew", default=None)
"""The threads of the child that the code at hand belongs to."""


class _Executor(ThreadPoolExecutor):
    """The default executor of a loop: what belongs to a child goes to the child's threads."""

    def __init__(self, others: ThreadPoolExecutor | None) -> None:
        super().__init__(thread_name_prefix="asyncio")
        self._others = others

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        crew = CREW.get()
        if crew is not None:
            return crew.submit(partial(fn, *args, **kwargs))
        if self._others is not None:
            return self._others.submit(fn, *args, **kwargs)
        return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self._others is not None:
            self._others.shutdown(wait, cancel_futures=cancel_futures)
        super().shutdown(wait, cancel_futures=cancel_futures)


class EscapedError(RuntimeError):
    """Stands for what no library catches (`SystemExit`, `KeyboardInterrupt`), raised in a child.

    An event loop ends when a task raises one of them, and with it everybody else.
    """


def wrap_escape(error: BaseException) -> BaseException:
    """Return what an error stands for."""
    return error.__cause__ or error if isinstance(error, EscapedError) else error


class _Contained(Coroutine[Any, Any, T]):
    """A coroutine of a child; what it raises ends the child alone."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def send(self, value: Any) -> Any:
        """Go on."""
        return self._go(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        """Go on with an exception."""
        return self._go(self._coroutine.throw, *error)

    def close(self) -> None:
        """End it where it stands."""
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def _go(self, step: Callable[..., Any], *values: Any) -> Any:
        try:
            return step(*values)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise EscapedError(describe_error(error)) from error


def _containing(others: Any) -> Any:
    """Return a factory of tasks that knows children; other tasks are made as before."""

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        context: Context | None = options.get("context")
        crew = CREW.get() if context is None else context.get(CREW)
        given = coroutine if crew is None else _Contained(coroutine)
        return (others or _make_task)(loop, given, **options)

    return make


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
    make: Any = asyncio.Task  # without its type: a generic alias takes as long as the task
    return make(coroutine, loop=loop, **options)


_equipped: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def install_thread_executor(loop: asyncio.AbstractEventLoop) -> None:
    """Give an event loop an executor and tasks that know children; other work is as it was."""
    if loop not in _equipped:
        loop.set_task_factory(_containing(loop.get_task_factory()))
        loop.set_default_executor(_Executor(getattr(loop, "_default_executor", None)))
        _equipped.add(loop)


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
