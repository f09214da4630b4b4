"""Going on with what was stopped."""

from typing import Any, TypeGuard

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from asterism.errors import NothingPendingError

Graph = Pregel[Any, Any, Any, Any]
"""Any compiled LangGraph graph."""


def is_graph(thing: object) -> TypeGuard[Graph]:
    """Whether `thing` is a compiled LangGraph graph."""
    return isinstance(thing, Pregel)


def is_runnable(thing: object) -> TypeGuard[Runnable[Any, Any]]:
    """Whether `thing` is a LangChain Runnable."""
    return isinstance(thing, Runnable)


def proceed(graph: Graph, config: RunnableConfig) -> Any:
    """Continue a run that was stopped: by a crash, a drain, a failure, a limit since raised.

    Raises:
        NothingPendingError: Nothing is unfinished, or what is open waits for a person.
    """
    _check(graph.get_state(config))
    return graph.invoke(None, config)


async def aproceed(graph: Graph, config: RunnableConfig) -> Any:
    """Continue a run that was stopped; see `proceed`."""
    _check(await graph.aget_state(config))
    return await graph.ainvoke(None, config)


def is_unfinished(snapshot: StateSnapshot) -> bool:
    """Whether a run has work left.

    `next` alone does not tell: it is empty when a step's results are stored and its
    checkpoint is not.
    """
    return bool(snapshot.next or snapshot.tasks)


def _check(snapshot: StateSnapshot) -> None:
    if snapshot.interrupts:
        raise NothingPendingError(
            "The run waits for a person, so it cannot just go on; answer with resume()."
        )
    if not is_unfinished(snapshot):
        raise NothingPendingError(
            "Nothing is unfinished on this thread; start a request with invoke()."
        )
