"""Logic written once for sync and async: a generator that yields the calls it needs."""

import asyncio
import inspect
import os
import threading
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Sequence,
)
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import cached_property
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import run_in_executor

from asterism.core.continuation import is_async_only, is_runnable

T = TypeVar("T")


class Call(NamedTuple):
    """A call that a generator wants made: the same in both worlds."""

    sync: Callable[..., Any]
    """Makes the call and returns its value."""
    asynchronous: Callable[..., Awaitable[Any]]
    """Makes the call and returns an awaitable of its value."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None


Steps = Generator[Call, Any, T]
"""Logic that yields calls, is sent their values, and returns its result."""


def run_steps(steps: Steps[T]) -> T:
    """Drive steps to their end, making each call in place."""
    try:
        call = steps.send(None)
        while True:
            try:
                value = call.sync(*call.args, **(call.kwargs or {}))
            except Exception as error:  # noqa: BLE001 - goes to the steps, which raise it again
                call = steps.throw(error)
            else:
                call = steps.send(value)
    except StopIteration as done:  # a generator turns one of its own into another error
        result: T = done.value
        return result
    finally:
        steps.close()


async def arun_steps(steps: Steps[T]) -> T:
    """Drive steps to their end, awaiting each call."""
    try:
        call = steps.send(None)
        while True:
            try:
                value = await call.asynchronous(*call.args, **(call.kwargs or {}))
            except Exception as error:  # noqa: BLE001 - goes to the steps, which raise it again
                call = steps.throw(error)
            else:
                call = steps.send(value)
    except StopIteration as done:  # a generator turns one of its own into another error
        result: T = done.value
        return result
    finally:
        steps.close()


def sync_async_pair(
    function: Any,
) -> tuple[Callable[..., Any], Callable[..., Awaitable[Any]]]:
    """Make a sync and an async caller of any function or Runnable.

    A sync function called from async code runs in a worker thread, so that it may block.
    An async function called from sync code runs in the event loop of all such calls.
    """
    if is_runnable(function):
        if is_async_only(function):
            return (lambda *args: run_coroutine(function.ainvoke(*args))), function.ainvoke
        return function.invoke, function.ainvoke
    if is_async(function):

        async def alone(*args: Any) -> Any:
            with no_exit():
                return await function(*args)

        return (lambda *args: run_coroutine(alone(*args))), alone
    inside = without_exit(function)
    return inside, (lambda *args: run_in_executor(None, inside, *args))


@contextmanager
def no_exit() -> Generator[None]:
    """Turn the wish of some code to end the process into an error of that code.

    Raises:
        RuntimeError: It raised SystemExit.
    """
    try:
        yield
    except SystemExit as error:
        raise RuntimeError(f"it wanted to end the process (SystemExit: {error.code})") from error


def without_exit(function: Callable[..., T]) -> Callable[..., T]:
    """Return a function that cannot end the process; see `no_exit`."""

    def inside(*args: Any, **kwargs: Any) -> T:
        with no_exit():
            return function(*args, **kwargs)

    return inside


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a coroutine."""
    call = getattr(function, "__call__", None)  # noqa: B004 - an object may have an async one
    return any(inspect.iscoroutinefunction(candidate) for candidate in (function, call))


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that this thread runs, if any."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from sync code, in an event loop that all such calls share.

    So what belongs to a loop, as a client's connections do, works in later calls as well. Sync
    code that such a coroutine calls may hold that loop up, so what it runs goes to a loop of the
    next level; and a loop that something blocks for `BLOCKED` seconds is replaced.
    """
    level = _level.get()
    context = copy_context()
    context.run(_level.set, level + 1)
    return _Errand(coroutine, context).run(level)


BLOCKED = 10.0
"""Seconds after which a shared loop that begins nothing new is taken for blocked."""
CANCELLING = 1.0
"""Seconds that a coroutine has to end once it is cancelled."""

_level: ContextVar[int] = ContextVar("asterism_loop_level", default=0)
"""How many shared loops are held up by what runs here, at most."""
_loops: dict[int, asyncio.AbstractEventLoop] = {}
_making = threading.Lock()


def _get_loop(level: int) -> asyncio.AbstractEventLoop:
    """Return the loop of a level; it runs in a thread that ends with the process."""
    with _making:
        if level not in _loops:
            loop = _loops[level] = asyncio.new_event_loop()
            name = f"asterism loop {level}"
            threading.Thread(target=loop.run_forever, name=name, daemon=True).start()
        return _loops[level]


def _forget_loops() -> None:
    """Begin anew in a forked process, which has none of the threads."""
    global _making
    _making = threading.Lock()
    _loops.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_loops)


class _Errand(Generic[T]):
    """A coroutine that a loop runs while a thread waits for it."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], context: Context) -> None:
        self._coroutine = coroutine
        self._context = context
        self._claim = threading.Lock()
        self._begun = threading.Event()
        self._result: Future[T] = Future()
        self._task: asyncio.Task[None] | None = None

    def run(self, level: int) -> T:
        """Hand it to the loop of a level, and wait; whoever is made to stop waiting cancels it."""
        try:
            while True:
                loop = _get_loop(level)
                loop.call_soon_threadsafe(self._begin)
                if self._begun.wait(BLOCKED):
                    return self._result.result()
                with _making:
                    if _loops.get(level) is loop:
                        del _loops[level]
        except BaseException:
            self._cancel()
            raise

    def _begin(self) -> None:
        """Begin in the loop that runs; one that was blocked comes too late."""
        if self._claim.acquire(blocking=False):
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._carry(), context=self._context)
            self._task.add_done_callback(self._end)
            self._begun.set()

    async def _carry(self) -> None:
        try:
            value = await self._coroutine
        except BaseException as error:  # noqa: BLE001 - raised where the result is waited for
            self._result.set_exception(error)
        else:
            self._result.set_result(value)

    def _end(self, task: "asyncio.Task[None]") -> None:
        if not self._result.done():  # cancelled before its first step
            self._coroutine.close()
            self._result.set_exception(asyncio.CancelledError())

    def _cancel(self) -> None:
        if self._claim.acquire(blocking=False):
            self._coroutine.close()
        elif not self._result.done() and self._begun.wait(CANCELLING) and self._task is not None:
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
            wait({self._result}, CANCELLING)


class NodeSteps(Protocol):
    """The logic of a node: state and config in, calls out, an update at the end."""

    def __call__(self, state: Any, config: RunnableConfig) -> Steps[Any]:
        """Start the logic."""
        ...


class StepsNode(RunnableLambda[Any, Any]):
    """A node of a graph that runs the same steps in sync and async.

    Args:
        steps: The logic.
        name: The name of the node.
        graphs: The graphs that the node runs, so that the engine can see into them.
    """

    def __init__(
        self, steps: NodeSteps, *, name: str, graphs: tuple[Runnable[Any, Any], ...] = ()
    ) -> None:
        super().__init__(self.invoke, self.ainvoke, name=name)
        self.logic = steps
        self._graphs = list(graphs)

    @cached_property
    def deps(self) -> list[Runnable[Any, Any]]:
        """The graphs that the node runs; LangGraph looks for its subgraphs here."""
        return self._graphs

    # LangGraph has already opened a run for the node, so nothing is traced twice here.

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the steps."""
        return run_steps(self.logic(input, config or {}))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the steps, awaiting their calls."""
        return await arun_steps(self.logic(input, config or {}))

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[Any]:
        """Run the steps and yield the one result."""
        yield self.invoke(input, config)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Run the steps, awaiting their calls, and yield the one result."""
        yield await self.ainvoke(input, config)


class Started:
    """Work that is done, or under way in the event loop; it may be awaited, and need not be.

    Args:
        work: What is done: at once where no event loop runs, else by tasks of it.
    """

    def __init__(self, work: Sequence[Coroutine[Any, Any, None]]) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        for coroutine in work:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                asyncio.run(coroutine)
            else:
                self._tasks.append(loop.create_task(coroutine))

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is done."""
        for task in self._tasks:
            yield from task.__await__()
