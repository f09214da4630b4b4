"""What a run returns, collected with less work than the engine's own `invoke` takes."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langgraph.pregel import Pregel
from langgraph.types import GraphOutput

from asterism.core.continuation import Graph

INTERRUPT = "__interrupt__"


def invoke_options(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call of `invoke` by which the engine has the least to collect.

    LangGraph collects the updates of all steps to find the questions in them. In the second
    version of its stream, questions come with the state.
    """
    return {**asked, "version": "v2"} if _wants_state(asked) else dict(asked)


def collect_output(found: Any, asked: Mapping[str, Any]) -> Any:
    """Return what came of `lean(asked)` as `asked` wants it."""
    if not _wants_state(asked) or not isinstance(found, GraphOutput):
        return found
    values, questions = cast(tuple[Any, Sequence[Any]], (found.value, found.interrupts))
    state: dict[str, Any] = values or {}
    return {**state, INTERRUPT: [*questions]} if questions else values


def _wants_state(asked: Mapping[str, Any]) -> bool:
    return not asked.keys() & {"version", "stream_mode", "subgraphs", "output_keys"}


def supports_v2_stream(graph: Graph) -> bool:
    """Whether `lean` may be asked of a graph: it is LangGraph's own, and its state plain values."""
    own = all(getattr(type(graph), way) is getattr(Pregel, way) for way in ("invoke", "ainvoke"))
    return own and getattr(graph, "_output_mapper", None) is None


def output_keys(graph: Graph) -> tuple[str, ...]:
    """Return the keys of a graph's state that its runs return."""
    keys: str | Sequence[str] = graph.output_channels
    return (keys,) if isinstance(keys, str) else tuple(keys)
