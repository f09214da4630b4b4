"""Reports: what a visit leaves on the answer board and in the history."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from asterism.idempotency import AFTER, HANDOFF
from asterism.ledger import lines_of
from asterism.messages import clean_text
from asterism.nodes.guards import fingerprint
from asterism.nodes.view import REPORT_ID, facts_of, label
from asterism.resilience import FAILURES, FailureKind
from asterism.state import Report, ReportStatus, Visit

_STATUS: Mapping[FailureKind, ReportStatus] = {
    "agent_timeout": "timeout",
    "limit_reached": "limit",
    "budget_exceeded": "limit",
    "cancelled": "cancelled",
    "empty_answer": "empty",
    "dependency_failed": "skipped",
}
_INNER: Mapping[str, FailureKind] = {
    "limit": "limit_reached",
    "cancelled": "cancelled",
}


def written_report(visit: Visit, text: str, *, attempts: int = 1) -> Report:
    """Report an answer."""
    report = Report(
        id=visit["id"],
        participant=visit["participant"],
        round=visit["round"],
        status="ok",
        text=text,
        attempts=attempts,
        fingerprint=fingerprint(visit["request"], text),
    )
    if task := visit.get("task"):
        report["task"] = task
    return report


def failed_report(
    visit: Visit, kind: FailureKind, error: str, *, text: str = "", attempts: int = 1
) -> Report:
    """Report a failure, with what was said before it."""
    report = written_report(visit, text, attempts=attempts)
    report["status"] = _STATUS.get(kind, "failed")
    report["kind"] = kind
    report["error"] = clean_text(error)
    return report


def read_report(visit: Visit, values: Mapping[str, Any]) -> Report:
    """Report what a participant's finished turn left in its state."""
    new = new_messages(visit, values)
    text = last_words(new, workflow="reports" in values)
    status = values.get("status", "completed")
    if status != "completed" and "reports" in values:
        reason = values.get("reason")
        kind = inner_kind(status, reason)
        report = failed_report(visit, kind, f"{status}: {reason}", text=text)
    elif not text:
        report = failed_report(visit, "empty_answer", "empty: it answered without a word")
    else:
        report = written_report(visit, text)
    if lines := lines_of(values):
        report["usage"] = lines  # of a workflow that is a participant
    if files := [*_files(new), *_inner_files(values)]:
        report["files"] = files
    return report


def inner_kind(status: str, reason: object) -> FailureKind:
    """Name the kind of failure that the end of a workflow is for whoever had called it."""
    kind = cast(FailureKind, str(reason).split(":")[0])  # it may name the kind itself
    return kind if kind in FAILURES else _INNER.get(status, "agent_failed")


def report_message(report: Report) -> AIMessage:
    """Show a report in the workflow's history."""
    text = report["text"]
    if report["status"] != "ok":
        text = "\n\n".join(filter(None, (text, f"({report.get('error')})")))
    return AIMessage(
        text,
        id=f"{REPORT_ID}{report['id']}",
        name=report["participant"],
        response_metadata=label(report=report["status"]),
    )


def new_messages(visit: Visit, values: Mapping[str, Any]) -> Sequence[BaseMessage]:
    """Return what a participant has added to its history in a visit, given its state."""
    return messages_since(values.get("messages") or (), begins_after(visit))


def visit_marks(visit: Visit) -> dict[str, str]:
    """Return the metadata by which the checkpoints of a visit are known."""
    return {HANDOFF: visit["id"], **({AFTER: begins_after(visit)} if "given" in visit else {})}


def said_in(visit: Visit, values: Mapping[str, Any]) -> str:
    """Return the last text that was answered in a visit, or an empty one."""
    return last_words(new_messages(visit, values), workflow="reports" in values)


def begins_after(visit: Visit) -> str:
    """Return the id of the message after which a visit begins: the request, or what was given."""
    return str(visit["given"]["messages"][-1].id) if "given" in visit else visit["id"]


def messages_since(messages: Sequence[BaseMessage], request: str) -> Sequence[BaseMessage]:
    """Return the messages after the request, or the last one where it was trimmed away."""
    for place in reversed(range(len(messages))):
        if messages[place].id == request:
            return messages[place + 1 :]
    return messages[-1:]


def last_words(messages: Iterable[BaseMessage], *, workflow: bool) -> str:
    """Return the last text that was answered, or an empty one.

    Args:
        messages: Those of a visit.
        workflow: Whether a workflow wrote them, whose decisions are no answers.
    """
    answers = [
        text
        for message in messages
        if isinstance(message, AIMessage)
        and (text := str(message.text)).strip()
        and not (workflow and facts_of(message).keys() & {"decision", "question"})
    ]
    return clean_text(answers[-1]) if answers else ""


def _files(messages: Iterable[BaseMessage]) -> list[dict[str, str]]:
    """Collect the files that tools returned as artifacts: `name`, `media_type` and `text`."""
    files: list[dict[str, str]] = []
    keys = ("name", "media_type", "text")
    for message in messages:
        artifact = message.artifact if isinstance(message, ToolMessage) else None
        if isinstance(artifact, dict):
            found = cast(dict[str, object], artifact)
            if all(isinstance(found.get(key), str) for key in keys):
                files.append({key: clean_text(str(found[key])) for key in keys})
    return files


def _inner_files(values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Collect the files of a workflow that is a participant."""
    return [file for report in values.get("reports") or () for file in report.get("files") or ()]
