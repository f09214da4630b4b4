"""What is drawn of a thread of a database."""

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.errors import ConfigurationError
from asterism.graphs.request_checks import check_thread
from asterism.observability import (
    Format,
    RunRecord,
    aread_thread,
    compare_runs,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
    generate_timeline,
)

PICTURES: Mapping[str, Callable[..., str]] = {
    "flowchart": generate_orchestrator_flowchart,
    "tools": generate_detailed_tool_trace,
    "timeline": generate_timeline,
}


async def picture(
    saver: BaseCheckpointSaver[Any],
    thread: str,
    *,
    chosen: Mapping[str, bool],
    format: Format,
    other: str | None = None,
) -> str:
    """Draw a thread, or what differs between two.

    Args:
        saver: The database.
        thread: The thread.
        chosen: Which picture; none: the flowchart.
        format: How it is drawn.
        other: The thread that it is compared with: the later one.

    Raises:
        ConfigurationError: Several pictures are chosen, or one that cannot be drawn so.
        UnknownThreadError: A thread is not in the database.
        InvalidThreadError: That is no name of a thread.
    """
    wanted = [name for name, is_chosen in chosen.items() if is_chosen]
    if len(wanted) > 1 or (other is not None and wanted):
        raise ConfigurationError("Choose one picture: --tools, --timeline or --diff.")
    run = await _read(saver, thread)
    if other is None:
        return PICTURES[wanted[0] if wanted else "flowchart"](run, format=format)
    difference = compare_runs(run, await _read(saver, other))
    if format == "mermaid":
        raise ConfigurationError("--diff is a text or --json; it has no --mermaid.")
    if format == "json":
        return json.dumps(difference.as_json(), ensure_ascii=False, indent=2) + "\n"
    return str(difference)


async def _read(saver: BaseCheckpointSaver[Any], thread: str) -> RunRecord:
    place: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    check_thread(place)
    saved = await saver.aget_tuple(place)
    facts = cast(Mapping[str, Any], saved.metadata if saved else {})
    return await aread_thread(saver, thread, name=str(facts.get("graph") or ""))
