"""Reports: what a visit leaves on the answer board and in the history."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from asterism.core.continuation import AFTER, HANDOFF
from asterism.core.messages import clean_text, with_media, words_of
from asterism.core.state import Report, ReportStatus, VisitRequest
from asterism.core.supervisor_decision import answer_fault
from asterism.core.usage import lines_of
from asterism.limits.failure_policies import FAILURES, FailureKind
from asterism.nodes.answers import (
    VisitAnswer,
    answer_in_state,
    answer_of,
    as_messages,
    json_text,
    last_text,
)
from asterism.nodes.guards import fingerprint
from asterism.nodes.view import REPORT_ID, message_label

OUT_OF_STEPS = "Sorry, need more steps to process this request."
"""What LangGraph's `create_react_agent` answers where no steps are left to it."""
NO_ANSWER = "it took as many steps as it may and had no answer"
FOUND_LENGTH = 8_000
"""How many characters of what it found the report of a visit has that was ended."""

_STATUS: Mapping[FailureKind, ReportStatus] = {
    "agent_timeout": "timeout",
    "limit_reached": "limit",
    "cut_off": "limit",
    "budget_exceeded": "limit",
    "cancelled": "cancelled",
    "empty_answer": "empty",
    "dependency_failed": "skipped",
}
_INNER: Mapping[str, FailureKind] = {
    "limit": "limit_reached",
    "cancelled": "cancelled",
}


def answer_report(visit: VisitRequest, text: str, *, attempts: int = 1) -> Report:
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


def failure_report(
    visit: VisitRequest, kind: FailureKind, error: str, *, text: str = "", attempts: int = 1
) -> Report:
    """Report a failure, with what was said before it."""
    report = answer_report(visit, text, attempts=attempts)
    report["status"] = _STATUS.get(kind, "failed")
    report["kind"] = kind
    report["error"] = clean_text(error)
    return report


def report_from_state(visit: VisitRequest, values: Mapping[str, Any]) -> Report:
    """Report what a participant's finished turn left in its state."""
    new = new_messages(visit, values)
    answer = _answer(new, values)
    status = values.get("status", "completed")
    if status != "completed" and "reports" in values:
        reason = values.get("reason")
        kind = failure_kind_of_status(status, reason)
        report = failure_report(visit, kind, f"{status}: {reason}", text=answer.text)
    elif "reports" not in values and answer.text == OUT_OF_STEPS:
        report = failure_report(visit, "limit_reached", NO_ANSWER, text=_found(new[:-1]))
    elif not answer.text.strip():
        report = failure_report(visit, answer.kind, answer.fault)
    elif "reports" not in values and (fault := _last_fault(new)):
        report = failure_report(visit, *fault, text=answer.text)
    else:
        report = answer_report(visit, answer.text)
        if answer.media:
            report["media"] = [*answer.media]
    if lines := lines_of(values):
        report["usage"] = lines  # of a workflow that is a participant
    if files := [*_files(new), *_inner_files(values)]:
        report["files"] = files
    return report


def _last_fault(new: Sequence[BaseMessage]) -> tuple[FailureKind, str] | None:
    """Say how the last answer of a model was cut off or refused, or return None."""
    last = next((m for m in reversed(new) if isinstance(m, AIMessage)), None)
    return None if last is None else answer_fault(last)


def _answer(new: Sequence[BaseMessage], values: Mapping[str, Any]) -> VisitAnswer:
    """Return the answer of a finished turn: the structured one, where there is one."""
    if "reports" in values:
        return answer_of(new, is_workflow=True)
    if (structured := values.get("structured_response")) is not None:
        return VisitAnswer(text=json_text(structured))
    return answer_of(new) if "messages" in values else answer_in_state(values)


def failure_kind_of_status(status: str, reason: object) -> FailureKind:
    """Name the kind of failure that the end of a workflow is for whoever had called it."""
    kind = cast(FailureKind, str(reason).split(":")[0])  # it may name the kind itself
    return kind if kind in FAILURES else _INNER.get(status, "agent_failed")


def report_message(report: Report) -> AIMessage:
    """Show a report in the workflow's history."""
    text = report["text"]
    if report["status"] != "ok":
        text = "\n\n".join(filter(None, (text, f"({report.get('error')})")))
    media = report.get("media")
    kinds = {"media": list(dict.fromkeys(block["type"] for block in media))} if media else {}
    return AIMessage(
        with_media(text, media),
        id=f"{REPORT_ID}{report['id']}",
        name=report["participant"],
        response_metadata=message_label(report=report["status"], **kinds),
    )


def new_messages(visit: VisitRequest, values: Mapping[str, Any]) -> Sequence[BaseMessage]:
    """Return what a participant has added to its history in a visit, given its state.

    Raises:
        TypeError: Its `messages` are neither a text nor messages.
    """
    found: object = values.get("messages") or ()
    if isinstance(found, list | tuple):
        new = messages_since(cast(Sequence[BaseMessage], found), first_message_id(visit))
        if all(isinstance(message, BaseMessage) for message in cast(Sequence[object], new)):
            return new
        return as_messages(new)
    return as_messages(found)


def visit_metadata(visit: VisitRequest) -> dict[str, str]:
    """Return the metadata by which the checkpoints of a visit are known."""
    return {HANDOFF: visit["id"], **({AFTER: first_message_id(visit)} if "given" in visit else {})}


def last_answer_in(visit: VisitRequest, values: Mapping[str, Any]) -> str:
    """Return the last text that was said in a visit, also before a tool call, or an empty one."""
    return last_text(new_messages(visit, values), is_workflow="reports" in values)


def found_in(visit: VisitRequest, values: Mapping[str, Any]) -> str:
    """Return what a visit has found that was ended: its texts, or else the results of its tools.

    Where that is much, the latest of it.
    """
    if "reports" in values:
        return last_answer_in(visit, values)
    return _found(new_messages(visit, values))


def _found(new: Sequence[BaseMessage]) -> str:
    texts = [words_of(message) for message in new if isinstance(message, AIMessage)]
    if not any(map(str.strip, texts)):
        results = (message for message in new if isinstance(message, ToolMessage))
        texts = [f"{result.name or 'tool'}: {words_of(result)}" for result in results]
    found, room = list[str](), FOUND_LENGTH
    for text in filter(str.strip, dict.fromkeys(reversed(texts))):
        if len(text) > room:
            found.append(f"…{text[len(text) - room + 1 :]}" if not found else "…")
            break
        found.append(text)
        room -= len(text)
    return "\n\n".join(reversed(found))


def first_message_id(visit: VisitRequest) -> str:
    """Return the id of the message after which a visit begins: the request, or what was given."""
    return str(visit["given"]["messages"][-1].id) if "given" in visit else visit["id"]


def messages_since(messages: Sequence[BaseMessage], request: str) -> Sequence[BaseMessage]:
    """Return the messages after the request, or the last one where it was trimmed away."""
    for place in reversed(range(len(messages))):
        if getattr(messages[place], "id", None) == request:
            return messages[place + 1 :]
    return messages[-1:]


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
