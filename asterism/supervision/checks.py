"""What a child may be made of."""

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.core.continuation import Graph, is_graph
from asterism.errors import ConfigurationError
from asterism.supervision.quotas import AgentQuota

ID_LIMIT = 255
"""The longest thread id, in characters."""


def validate_child_graph(graph: object) -> tuple[Graph, BaseCheckpointSaver[Any]]:
    """Return a graph with its saver.

    Raises:
        ConfigurationError: It is no graph, or has no saver.
    """
    if not is_graph(graph):
        raise ConfigurationError(
            f"graph is {repr(graph)[:100]}. Allowed: a compiled LangGraph graph, such as what "
            "SupervisorWorkflowBuilder(...).build(checkpointer=saver) returns."
        )
    if not _stores(graph):
        raise ConfigurationError(
            f"The graph {graph.name!r} has no checkpointer, so a child of it could not be "
            "restarted or paused. Build it with one: with "
            "open_checkpointer('sqlite:///runs.db') as saver: graph = "
            "builder.build(checkpointer=saver)."
        )
    return graph, cast(BaseCheckpointSaver[Any], graph.checkpointer)


def validate_child_name(name: object) -> str:
    """Return the name of a child.

    Raises:
        ConfigurationError: It is no short printable text.
    """
    text = name if isinstance(name, str) else ""
    if not text.strip() or not text.isprintable() or len(text) > 100:
        raise ConfigurationError(
            f"name is {repr(name)[:120]}. Allowed: 1 to 100 printable characters, such as "
            "'invoices'."
        )
    return text


def validate_child_thread(thread_id: object) -> str:
    """Return the id of a thread.

    Raises:
        ConfigurationError: It is none.
    """
    text = thread_id if isinstance(thread_id, str) else ""
    if not text.strip() or not text.isprintable() or len(text) > ID_LIMIT:
        raise ConfigurationError(
            f"thread_id is {repr(thread_id)[:100]}. Allowed: 1 to {ID_LIMIT} printable characters."
        )
    return text


def validate_quota(quotas: object, default: AgentQuota) -> AgentQuota:
    """Return what a child may use.

    Raises:
        ConfigurationError: It is no `AgentQuota`.
    """
    if quotas is None:
        return default
    if not isinstance(quotas, AgentQuota):
        raise ConfigurationError(
            f"quotas is {repr(quotas)[:100]}. Allowed: AgentQuota(max_tokens=...), or None."
        )
    return quotas


def quota_from(record: Mapping[str, Any], default: AgentQuota) -> AgentQuota:
    """Return the quota in the record of a child; of another version's, what is known here."""
    known = {part.name for part in fields(AgentQuota)}
    stored = {name: value for name, value in record.items() if name in known}
    if isinstance(cost := stored.get("max_cost_usd"), str):
        stored["max_cost_usd"] = Decimal(cost)
    return AgentQuota(**stored) if stored else default


def _stores(graph: Graph) -> bool:
    return isinstance(graph.checkpointer, BaseCheckpointSaver)
