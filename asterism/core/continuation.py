"""Continue an unfinished run (`proceed`); know a turn again that runs twice (`idempotency_key`)."""

from collections.abc import Mapping
from typing import Any, TypeGuard, cast, overload

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.config import get_config
from langgraph.pregel import Pregel
from langgraph.runtime import RunControl
from langgraph.types import StateSnapshot

from asterism.core.run_types import Returns, T, WorkflowResult
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError, InvalidRequestError, NothingPendingError

HANDOFF = "handoff_id"
"""The metadata key under which runs and checkpoints carry the visit that they belong to."""
AFTER = "asterism_after"
"""The metadata key that names the message after which a visit begins, where that is no request."""
CALLS = "asterism_calls"
"""The config key that counts the calls of one attempt of a visit."""


def counter() -> dict[str, int]:
    """Start to count the calls of an attempt, by the step that makes them."""
    return {}


def idempotency_key(runtime: Any = None) -> str:
    """Name the effect that a tool is about to make: the same however often its turn runs.

    A turn that was in flight when the process died runs again, on any engine. Hand this key
    to the service whose effect must not happen twice.

    Args:
        runtime: The `ToolRuntime` of the tool, where there is one. The key then holds the
            place of the tool call among those of the visit; else, the step of the graph and
            how many keys it has asked for.

    Returns:
        `thread/handoff/place`: stable over retries and restarts, different for each visit
        and each call.

    Raises:
        ConfigurationError: There is no visit: the caller does not run inside a participant.
    """
    config: RunnableConfig = runtime.config if runtime is not None else _ambient()
    facts: Mapping[str, Any] = config.get("metadata") or {}
    configurable = as_dict(config.get("configurable"))
    handoff = facts.get(HANDOFF)
    if not handoff:
        raise ConfigurationError(
            "idempotency_key() was called outside of a visit; call it in a tool or a function "
            "of a participant, and pass the tool's runtime if it has one"
        )
    number: int | str | None = _place(runtime, str(handoff)) if runtime is not None else None
    if number is None:
        number = _next(configurable[CALLS], facts)
    return f"{facts.get('thread_id') or configurable.get('thread_id')}/{handoff}/{number}"


def _next(calls: dict[str, int], facts: Mapping[str, Any]) -> str:
    """Count the keys that this step of the participant's graph has asked for.

    A turn that goes on in its middle does not run its first steps again, so each step counts
    for itself.
    """
    step = f"{facts.get('langgraph_node')}.{facts.get('langgraph_step')}"
    calls[step] = calls.get(step, 0) + 1
    return f"{step}.{calls[step]}"


def _ambient() -> RunnableConfig:
    try:
        return get_config()
    except RuntimeError:
        return {}


def _place(runtime: Any, handoff: str) -> int | None:
    """Count the tool calls of the visit up to the one that is running."""
    messages = cast(list[BaseMessage], as_dict(runtime.state).get("messages") or [])
    start = next((i for i, m in enumerate(messages) if m.id == handoff), None)
    if start is None:
        return None
    calls = [c["id"] for m in messages[start:] if isinstance(m, AIMessage) for c in m.tool_calls]
    return calls.index(runtime.tool_call_id) + 1 if runtime.tool_call_id in calls else None


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


ThreadLike = RunnableConfig | str
"""A thread: a config with its id, or the id itself."""


def thread_config(thread: ThreadLike) -> RunnableConfig:
    """Return the config of a thread that is named by its id, or by a config already."""
    return {"configurable": {"thread_id": thread}} if isinstance(thread, str) else thread


@overload
def proceed(
    graph: Returns[T], config: ThreadLike, *, control: RunControl | None = None
) -> WorkflowResult[T]: ...
@overload
def proceed(graph: Graph, config: ThreadLike, *, control: RunControl | None = None) -> Any: ...
def proceed(graph: Any, config: ThreadLike, *, control: RunControl | None = None) -> Any:
    """Continue a run that was stopped: by a crash, a drain, a failure, a limit since raised.

    Finished work is not repeated. A run that ended at a limit goes on with the next decision. A
    message that came too late for the run (see `asterism.steer`) is the next request.

    Args:
        graph: The workflow.
        config: The thread, or its id.
        control: Stops the run at its next step, as `invoke` takes it.

    Raises:
        NothingPendingError: Nothing is unfinished, or what is open waits for a person.
    """
    config = thread_config(config)
    state = graph.get_state(config)
    takes_up = _may_take_up(graph, state) and graph.has_waiting(config)
    if not takes_up and (update := _reopening(state)):
        graph.update_state(config, update, as_node=REOPENS)
    return graph.invoke(None, config, control=control)


@overload
async def aproceed(
    graph: Returns[T], config: ThreadLike, *, control: RunControl | None = None
) -> WorkflowResult[T]: ...
@overload
async def aproceed(
    graph: Graph, config: ThreadLike, *, control: RunControl | None = None
) -> Any: ...
async def aproceed(graph: Any, config: ThreadLike, *, control: RunControl | None = None) -> Any:
    """Continue a run that was stopped; see `proceed`."""
    config = thread_config(config)
    await areopen(graph, config)
    return await graph.ainvoke(None, config, control=control)


async def areopen(graph: Any, config: RunnableConfig) -> None:
    """Make ready what `aproceed` continues: `graph.astream(None, config)` then goes on.

    Raises:
        NothingPendingError: Nothing is unfinished, or what is open waits for a person.
    """
    state = await graph.aget_state(config)
    takes_up = _may_take_up(graph, state) and await graph.ahas_waiting(config)
    if not takes_up and (update := _reopening(state)):
        await graph.aupdate_state(config, update, as_node=REOPENS)


def is_unfinished(snapshot: StateSnapshot) -> bool:
    """Whether a run has work left.

    `next` alone does not tell: it is empty when a step's results are stored and its
    checkpoint is not.
    """
    return bool(snapshot.next or snapshot.tasks)


def _may_take_up(graph: object, snapshot: StateSnapshot) -> bool:
    """Whether a run is over, and messages may wait beside its thread."""
    status = as_dict(snapshot.values).get("status")
    is_open = snapshot.interrupts or is_unfinished(snapshot) or status == "running"
    return not is_open and hasattr(graph, "has_waiting")


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


def read_request(task: object) -> dict[str, Any]:
    """Make a task the input of a graph.

    Raises:
        InvalidRequestError: It is neither a text nor a mapping.
    """
    if isinstance(task, str) and task.strip():
        return {"messages": [("user", task)]}
    if isinstance(task, Mapping):
        return dict(cast(Mapping[str, Any], task))
    raise InvalidRequestError(
        f"The task is {repr(task)[:100]}. Allowed: a text that says something, or an input of "
        'the graph such as {"messages": [("user", "what you want")]}.'
    )
