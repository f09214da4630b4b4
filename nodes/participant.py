"""The node of a participant: one focused request in, one report out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import (
    GraphBubbleUp,
    GraphRecursionError,
    NodeCancelledError,
    NodeTimeoutError,
    ParentCommand,
    is_invalid_resume,
)

from asterism.idempotency import CALLS, HANDOFF, counter
from asterism.messages import clean_text
from asterism.nodes.effects import Call, Steps, StepsNode
from asterism.nodes.engine import has_saver, is_resuming, new_turn
from asterism.nodes.guards import fingerprint
from asterism.nodes.view import label
from asterism.redaction import describe_error
from asterism.runs import Graph
from asterism.state import Report, ReportStatus, Visit

_FAILURES: tuple[tuple[type[Exception], ReportStatus], ...] = (
    (GraphRecursionError, "limit"),
    (NodeTimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (NodeCancelledError, "cancelled"),
)
_INNER: Mapping[str, ReportStatus] = {
    "running": "failed",
    "limit": "limit",
    "stalled": "failed",
    "failed": "failed",
    "cancelled": "cancelled",
}


def create_participant_node(name: str, graph: Graph) -> StepsNode:
    """Create the node that runs a participant.

    The participant sees its own history and the request, nothing else; the workflow gets one
    labelled text, nothing else. A failure becomes a report, so siblings and the run go on.

    Args:
        name: The participant's id.
        graph: Its graph, compiled with `checkpointer=True` and with a `messages` key.
    """
    # A workflow inside a workflow stores each of its steps; a single participant's turn is
    # stored once, because a crash within a turn repeats the turn in any case.
    durability = None if "reports" in graph.channels else "exit"

    def visit(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        visit = cast(Visit, state)
        try:
            values = yield from _turn(graph, visit, config, durability)
        except ParentCommand:
            report = _failure(visit, "failed", "it sent a command to its parent graph")
        except GraphBubbleUp:
            raise
        except Exception as error:
            if is_invalid_resume(error):
                raise  # a person's answer was refused; the question is still open
            report = _failure(visit, _status_of(error), describe_error(error))
        else:
            report = _report(visit, values)
        return {"reports": [report], "messages": [_message(report)]}

    return StepsNode(visit, name=name, graphs=(graph,))


def _turn(
    graph: Graph, visit: Visit, config: RunnableConfig, durability: str | None
) -> Steps[Mapping[str, Any]]:
    """Run one turn: begin it, continue it, or take it as it is when it was finished before."""
    outer = (config.get("metadata") or {}).get("participant_path")
    inner: RunnableConfig = {
        "configurable": {CALLS: counter()},
        "metadata": {
            "participant": visit["participant"],
            "participant_path": "/".join(filter(None, (outer, visit["participant"]))),
            HANDOFF: visit["id"],
        },
    }
    if is_resuming(config):
        last = yield Call(graph.get_state, graph.aget_state, (config,))
        facts: Mapping[str, Any] = last.metadata or {}
        if facts.get(HANDOFF) != visit["id"]:
            inner["configurable"] = {**(inner.get("configurable") or {}), **new_turn()}
        elif not last.tasks and facts.get("source") == "loop":
            return cast(Mapping[str, Any], last.values)
    request = {"messages": [HumanMessage(visit["request"], id=visit["id"])]}
    kwargs = {"durability": durability} if durability and has_saver(config) else None
    runner: Any = graph
    values = yield Call(runner.invoke, runner.ainvoke, (request, inner), kwargs)
    return cast(Mapping[str, Any], values)


def _report(visit: Visit, values: Mapping[str, Any]) -> Report:
    new = _since(values["messages"], visit["id"])
    answers = [m.text for m in new if isinstance(m, AIMessage) and m.text.strip()]
    text = clean_text(answers[-1]) if answers else ""
    status = _INNER.get(values.get("status", ""), "ok" if text else "empty")
    report = _written(visit, status, text)
    if status == "empty":
        report["error"] = "empty: it answered without a word"
    elif status != "ok":
        report["error"] = f"{values['status']}: {values.get('reason')}"
    if files := [*_files(new), *_inner_files(values)]:
        report["files"] = files
    return report


def _failure(visit: Visit, status: ReportStatus, error: str) -> Report:
    report = _written(visit, status, "")
    report["error"] = clean_text(error)
    return report


def _written(visit: Visit, status: ReportStatus, text: str) -> Report:
    return Report(
        id=visit["id"],
        participant=visit["participant"],
        round=visit["round"],
        status=status,
        text=text,
        attempts=1,
        fingerprint=fingerprint(visit["request"], text),
    )


def _status_of(error: Exception) -> ReportStatus:
    for kind, status in _FAILURES:
        if isinstance(error, kind):
            return status
    return "failed"


def _message(report: Report) -> AIMessage:
    """Show a report in the workflow's history."""
    text = report["text"]
    if report["status"] != "ok":
        text = "\n\n".join(filter(None, (text, f"({report.get('error')})")))
    return AIMessage(
        text,
        id=f"report-{report['id']}",
        name=report["participant"],
        response_metadata=label(report=report["status"]),
    )


def _since(messages: Sequence[BaseMessage], request: str) -> Sequence[BaseMessage]:
    """Return the messages after the request, or the last one where it was trimmed away."""
    for place in reversed(range(len(messages))):
        if messages[place].id == request:
            return messages[place + 1 :]
    return messages[-1:]


def _files(messages: Iterable[BaseMessage]) -> list[dict[str, str]]:
    """Collect the files that tools returned as artifacts: `name`, `media_type` and `text`."""
    files: list[dict[str, str]] = []
    for message in messages:
        artifact = message.artifact if isinstance(message, ToolMessage) else None
        if isinstance(artifact, dict):
            found = cast(dict[str, object], artifact)
            if all(isinstance(found.get(key), str) for key in ("name", "media_type", "text")):
                files.append({key: str(found[key]) for key in ("name", "media_type", "text")})
    return files


def _inner_files(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Collect the files of a workflow that is a participant."""
    return [file for report in values.get("reports") or () for file in report.get("files") or ()]
