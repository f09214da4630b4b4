"""Logic written once for sync and async: a generator that yields the calls it needs."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import run_in_executor

from asterism.runs import is_runnable

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


def run(steps: Steps[T]) -> T:
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


async def arun(steps: Steps[T]) -> T:
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


def both_ways(
    function: Any,
) -> tuple[Callable[..., Any], Callable[..., Awaitable[Any]]]:
    """Make a sync and an async caller of any function or Runnable.

    A sync function called from async code runs in a worker thread, so that it may block.
    An async function called from sync code runs in an event loop of its own.
    """
    if is_runnable(function):
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
    """Run a coroutine to its end from sync code, also where an event loop is running."""
    if running_loop() is None:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, coroutine).result()


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
        self._steps = steps
        self._graphs = list(graphs)

    @cached_property
    def deps(self) -> list[Runnable[Any, Any]]:
        """The graphs that the node runs; LangGraph looks for its subgraphs here."""
        return self._graphs

    # LangGraph has already opened a run for the node, so nothing is traced twice here.

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the steps."""
        return run(self._steps(input, config or {}))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the steps, awaiting their calls."""
        return await arun(self._steps(input, config or {}))

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
