"""Going on with what was stopped."""

from typing import Any, TypeGuard

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
    if update := _reopening(await graph.aget_state(config)):
        await graph.aupdate_state(config, update, as_node=REOPENS)
    return await graph.ainvoke(None, config, control=control)


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
