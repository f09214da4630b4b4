"""The drawings that are asked for by name and format."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig

from asterism.core.continuation import Graph, is_graph
from asterism.errors import ConfigurationError
from asterism.observability.from_checkpoints import read_run
from asterism.observability.record import RunRecord
from asterism.observability.render.flowchart import draw_flowchart
from asterism.observability.render.mermaid import flowchart_mermaid, trace_mermaid
from asterism.observability.render.timeline import draw_timeline, timeline_json, timeline_mermaid
from asterism.observability.render.trace_tree import draw_trace

Format = Literal["ascii", "mermaid", "json"]
"""How a picture is drawn."""

_Drawers = Mapping[str, Callable[[RunRecord], str]]


class Drawable:
    """What knows the workflow and the thread that it came of."""

    graph: Graph
    config: RunnableConfig


def generate_orchestrator_flowchart(
    run: RunRecord | Graph | Drawable,
    config: RunnableConfig | None = None,
    *,
    format: Format = "ascii",
) -> str:
    """Draw boxes and arrows of what really ran, with tools and a summary.

    Args:
        run: A record from `read_run`; or a workflow, whose thread is then read; or the response
            of an orchestrator, or its `tool_outputs`.
        config: The thread, where a workflow is given.
        format: `"ascii"`, `"mermaid"`, or `"json"`: the record itself.

    Raises:
        ConfigurationError: There is no such format, or no thread.
    """
    drawers = {"ascii": draw_flowchart, "mermaid": flowchart_mermaid, "json": _record}
    return _draw(run, config, format, drawers)


def generate_detailed_tool_trace(
    run: RunRecord | Graph | Drawable,
    config: RunnableConfig | None = None,
    *,
    format: Format = "ascii",
) -> str:
    """Draw the tree of decisions, visits and tools: ok or failed, tokens and money.

    The arguments are those of `generate_orchestrator_flowchart`.
    """
    drawers = {"ascii": draw_trace, "mermaid": trace_mermaid, "json": _record}
    return _draw(run, config, format, drawers)


def generate_timeline(
    run: RunRecord | Graph | Drawable,
    config: RunnableConfig | None = None,
    *,
    format: Format = "ascii",
) -> str:
    """Draw what ran when, and what ran at the same time.

    The arguments are those of `generate_orchestrator_flowchart`; Mermaid's picture is a Gantt
    chart, and JSON has the bars of each request.
    """
    drawers: _Drawers = {
        "ascii": draw_timeline,
        "mermaid": timeline_mermaid,
        "json": lambda record: _as_json(timeline_json(record)),
    }
    return _draw(run, config, format, drawers)


def _draw(
    run: RunRecord | Graph | Drawable, config: RunnableConfig | None, format: str, drawers: _Drawers
) -> str:
    if format not in drawers:
        raise ConfigurationError(
            f"There is no format {format!r} of this picture; allowed: {', '.join(drawers)}."
        )
    if isinstance(run, RunRecord):
        return drawers[format](run)
    if isinstance(run, Drawable):
        run, config = run.graph, run.config
    if not is_graph(run):
        raise ConfigurationError(
            f"A picture is drawn of a {type(run).__name__}; allowed: a record of read_run, a "
            "workflow with a config, or the response of an orchestrator or its tool_outputs."
        )
    return drawers[format](read_run(run, config or {}))


def _record(run: RunRecord) -> str:
    return _as_json(run.as_json())


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
