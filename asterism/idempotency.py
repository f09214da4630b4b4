"""A key by which an effect is known again when the turn that makes it runs twice."""

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from asterism.errors import ConfigurationError
from asterism.plain import as_dict

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
