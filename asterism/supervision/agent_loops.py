"""Loops of one's own as graphs of one step, so that a supervisor can keep them as children."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from inspect import Parameter, isawaitable, iscoroutinefunction, signature
from typing import Any, cast

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.config import get_config
from langgraph.func import entrypoint

from asterism.core.continuation import Graph
from asterism.errors import ConfigurationError
from asterism.supervision.attempt import CURRENT


def create_loop_graph(
    name: str, graph: object, loop_factory: Callable[[], Any] | None, agent_loop: Any
) -> Graph:
    """Create the graph of a loop, which is made for each attempt, or is there already.

    Raises:
        ConfigurationError: Not one of the three is given, or it is no loop.
    """
    if [graph, loop_factory, agent_loop].count(None) != 2:
        raise ConfigurationError(
            f"The child {name!r} needs one of graph, loop_factory and agent_loop; give "
            "graph=builder.build(checkpointer=saver), or agent_loop=an object with an async run."
        )
    if loop_factory is None:
        runner_of(agent_loop)
    elif not callable(loop_factory):
        raise ConfigurationError(
            f"loop_factory is {loop_factory!r}. Allowed: a function without arguments that "
            "returns an object with an async run."
        )
    saver = InMemorySaver(serde=JsonPlusSerializer(pickle_fallback=True))

    @entrypoint(checkpointer=saver)
    async def run_loop(request: Mapping[str, Any]) -> Any:
        return await _run(agent_loop if loop_factory is None else loop_factory(), request["task"])

    return cast(Graph, run_loop)


def runner_of(loop: Any) -> Callable[..., Any]:
    """Return what runs a loop.

    Raises:
        ConfigurationError: It is none.
    """
    run = getattr(loop, "run", None)
    if not callable(run):
        raise ConfigurationError(
            f"The loop is {repr(loop)[:100]}. Allowed: an object with run(task), or "
            "run(task, session_id)."
        )
    return cast(Callable[..., Any], run)


async def _run(loop: Any, task: Any) -> Any:
    """Run a loop to its end, and return its output."""
    run, attempt = runner_of(loop), CURRENT.get()
    if attempt is not None:
        with suppress(AttributeError):  # it takes no hook
            own = getattr(loop, "on_iteration", None)
            own = own.own if isinstance(own, _Hook) else own  # that of an earlier attempt goes
            loop.on_iteration = _Hook(own, attempt.iterates)
    known = signature(run).parameters.values()
    takes = any(p.name == "session_id" or p.kind is Parameter.VAR_KEYWORD for p in known)
    session = get_config().get("configurable", {}).get("thread_id")
    more = {"session_id": session} if takes else {}
    blocks = not iscoroutinefunction(run)
    found = await asyncio.to_thread(run, task, **more) if blocks else run(task, **more)
    result = await found if isawaitable(found) else found
    if attempt is not None:
        used: Any = getattr(result, "tokens_used", 0)
        tokens = int(used or 0) if not hasattr(used, "values") else sum(used.values())
        attempt.reports(tokens, Decimal(str(getattr(result, "cost_usd", 0) or 0)))
    return getattr(result, "output", result)


class _Hook:
    """What a loop awaits after each round."""

    def __init__(self, own: Any, note: Callable[[int], None]) -> None:
        self.own, self.note = own, note

    async def __call__(self, iteration: int, tool_results: Any = ()) -> None:
        """Note the round, and call the loop's own hook."""
        self.note(iteration)
        found = None if self.own is None else self.own(iteration, tool_results)
        if isawaitable(found):
            await found
