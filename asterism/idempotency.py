"""A key by which an effect is known again when the turn that makes it runs twice."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config

from asterism.errors import ConfigurationError
from asterism.plain import as_dict

HANDOFF = "handoff_id"
"""The metadata key under which runs and checkpoints carry the visit that they belong to."""
CALLS = "asterism_calls"
"""The config key that counts the calls of one attempt of a visit."""


def counter() -> Iterator[int]:
    """Start to count the calls of an attempt."""
    return itertools.count(1)


def idempotency_key(runtime: Any = None) -> str:
    """Name the effect that a tool is about to make: the same however often its turn runs.

    A turn that was in flight when the process died runs again, on any engine. Hand this key
    to the service whose effect must not happen twice.

    Args:
        runtime: The `ToolRuntime` of the tool, where there is one. The key then holds the
            place of the tool call among those of the visit; else, how many keys this attempt
            of the visit has asked for.

    Returns:
        `thread/handoff/number`: stable over retries and restarts, different for each visit
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
    number = _place(runtime, str(handoff)) if runtime is not None else None
    if number is None:
        number = next(cast(Iterator[int], configurable[CALLS]))
    return f"{facts.get('thread_id') or configurable.get('thread_id')}/{handoff}/{number}"


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
