"""Going on with what was stopped."""

from collections.abc import Mapping
from typing import Any, TypeGuard, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.pregel import Pregel
from langgraph.runtime import RunControl
from langgraph.types import StateSnapshot

from asterism.errors import NothingPendingError
from asterism.plain import as_dict

Graph = Pregel[Any, Any, Any, Any]
"""Any compiled LangGraph graph."""


REOPENS = "human"
"""The node after which the supervisor decides anew: as if a person had said to go on."""
CUT_SHORT = ("limit", "stalled", "failed")
"""How a run ends that could go on, once the cause is gone."""
REOPENING: dict[str, Any] = {"decision": None, "status": "running", "reason": None}
"""The update, as of that node, that opens such a run again."""


def is_graph(thing: object) -> TypeGuard[Graph]:
    """Whether `thing` is a compiled LangGraph graph."""
    return isinstance(thing, Pregel)


def is_runnable(thing: object) -> TypeGuard[Runnable[Any, Any]]:
    """Whether `thing` is a LangChain Runnable."""
    return isinstance(thing, Runnable)


def needs_async(graph: Graph) -> bool:
    """Whether a node of a graph, or a tool of one, has no sync form, so that `invoke` fails."""
    return any(is_async_only(node.bound) for node in graph.nodes.values())


def is_async_only(thing: object) -> bool:
    """Whether a Runnable, a part of it or a tool of it can be called in async alone."""
    if is_graph(thing):
        return needs_async(thing)
    tools: Mapping[str, Any] = getattr(thing, "tools_by_name", None) or {}
    if tools:
        return any(map(is_async_tool, tools.values()))
    parts: list[Any] = [*(getattr(thing, "steps", None) or ()), getattr(thing, "bound", None)]
    if any(is_async_only(cast(object, part)) for part in parts if isinstance(part, Runnable)):
        return True
    functions = getattr(thing, "func", None), getattr(thing, "afunc", None)
    return functions[0] is None and functions[1] is not None


def is_async_tool(tool: object) -> bool:
    """Whether a tool has an async function and no sync one, as those of MCP servers."""
    return getattr(tool, "func", None) is None and getattr(tool, "coroutine", None) is not None


def proceed(graph: Graph, config: RunnableConfig, *, control: RunControl | None = None) -> Any:
    """Continue a run that was stopped: by a crash, a drain, a failure, a limit since raised.

    Finished work is not repeated. A run that ended at a limit goes on with the next decision.

    Args:
        graph: The workflow.
        config: The thread.
        control: Stops the run at its next step, as `invoke` takes it.

    Raises:
        NothingPendingError: Nothing is unfinished, or what is open waits for a person.
    """
    if update := _reopening(graph.get_state(config)):
        graph.update_state(config, update, as_node=REOPENS)
    return graph.invoke(None, config, control=control)


async def aproceed(
    graph: Graph, config: RunnableConfig, *, control: RunControl | None = None
) -> Any:
    """Continue a run that was stopped; see `proceed`."""
    await areopen(graph, config)
    return await graph.ainvoke(None, config, control=control)


async def areopen(graph: Graph, config: RunnableConfig) -> None:
    """Make ready what `aproceed` continues: `graph.astream(None, config)` then goes on.

    Raises:
        NothingPendingError: Nothing is unfinished, or what is open waits for a person.
    """
    if update := _reopening(await graph.aget_state(config)):
        await graph.aupdate_state(config, update, as_node=REOPENS)


def is_unfinished(snapshot: StateSnapshot) -> bool:
    """Whether a run has work left.

    `next` alone does not tell: it is empty when a step's results are stored and its
    checkpoint is not.
    """
    return bool(snapshot.next or snapshot.tasks)


def _reopening(snapshot: StateSnapshot) -> dict[str, Any] | None:
    """Return the update that opens a run again which ended before it was complete."""
    if snapshot.interrupts:
        raise NothingPendingError(
            "The run waits for a person, so it cannot just go on; answer with resume()."
        )
    status = as_dict(snapshot.values).get("status")
    if is_unfinished(snapshot) or status == "running":
        return None
    if status in CUT_SHORT:
        return REOPENING
    raise NothingPendingError(
        "Nothing is unfinished on this thread; start a request with invoke()."
    )
