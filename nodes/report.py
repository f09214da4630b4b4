"""Reports: the answer of a visit or its failure, as state and as a message of the history.

Open it for which message of a participant counts as its answer, and when a report is a failure.
Tests: tests/nodes/test_report.py, tests/graphs/test_answers.py.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, cast

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    convert_to_messages,
)
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, from_json, to_json

from asterism.core.continuation import AFTER, HANDOFF
from asterism.core.messages import clean_text, media_of, with_media, words_of
from asterism.core.state import Report, ReportStatus, VisitRequest
from asterism.core.supervisor_decision import answer_fault
from asterism.core.usage import lines_of
from asterism.core.values import as_dict
from asterism.limits.failure_policies import FAILURES, FailureKind
from asterism.nodes.view import (
    REPORT_ID,
    message_facts,
    message_label,
)


@dataclass(frozen=True, kw_only=True)
class VisitAnswer:
    """The answer of a visit, or why there is none."""

    text: str = ""
    media: Sequence[dict[str, Any]] = field(default=())
    """Its pictures, recordings and files, as content blocks of plain JSON."""
    kind: FailureKind = "empty_answer"
    """The kind of failure that it is to have no text."""
    fault: str = "empty: it answered without a word"


def answer_of(messages: Sequence[BaseMessage], *, is_workflow: bool = False) -> VisitAnswer:
    """Return the answer that the messages of a visit end with.

    These are the results of the tools that ended the turn, what the last node wrote as a message
    of the user's side, or else the last text of a model after its last tool call: what it
    announces before it calls a tool is no answer.

    Args:
        messages: Those of the visit, after its request.
        is_workflow: Whether a workflow wrote them, whose decisions are no answers.
    """
    results = [*takewhile(lambda m: isinstance(m, ToolMessage), reversed(messages))][::-1]
    if any(isinstance(m, ToolMessage) and m.status == "error" for m in results):
        said = "\n".join(words_of(result) for result in results)
        return VisitAnswer(kind="agent_failed", fault=f"its last tool call failed: {said}")
    last = results or [m for m in messages[-1:] if isinstance(m, HumanMessage)]
    if (found := _find_answer(last)).text:
        return found
    for message in reversed(messages):
        if not isinstance(message, AIMessage):
            continue
        if calls := [*message.tool_calls, *message.invalid_tool_calls]:
            names = ", ".join(dict.fromkeys(str(call["name"]) for call in calls))
            return VisitAnswer(fault=f"empty: it ended without a word after it called {names}")
        if not (is_workflow and _is_aside(message)) and (found := _find_answer([message])).text:
            return found
    return VisitAnswer()


def answer_in_state(values: Mapping[str, Any]) -> VisitAnswer:
    """Return the answer of a graph whose output has no messages: its text, or all of it as JSON."""
    found = {k: v for k, v in values.items() if v is not None and not k.startswith("__")}
    if not found:
        return VisitAnswer(fault="empty: its state holds nothing that its output schema names")
    return VisitAnswer(text=json_text(*found.values() if len(found) == 1 else [found]))


def last_text(messages: Sequence[BaseMessage], *, is_workflow: bool = False) -> str:
    """Return the last text that was said in a visit, also before a tool call, or an empty one."""
    texts = (
        words_of(message)
        for message in reversed(messages)
        if isinstance(message, AIMessage) and not (is_workflow and _is_aside(message))
    )
    return next(filter(str.strip, texts), "")


def json_text(value: object) -> str:
    """Write a structured answer as JSON; a text stays as it is."""
    if isinstance(value, str):
        return clean_text(value)
    try:
        plain = from_json(to_json(value, inf_nan_mode="strings", bytes_mode="base64", fallback=str))
    except (PydanticSerializationError, ValueError):  # a lone surrogate, a str() that fails
        return ascii(value)
    return clean_text(json.dumps(plain, ensure_ascii=False))


def _find_answer(messages: Sequence[BaseMessage]) -> VisitAnswer:
    """Join the texts and the media of messages; media without a text are named in one."""
    media = [block for message in messages for block in media_of(message)]
    text = "\n\n".join(filter(str.strip, map(words_of, messages)))
    kinds = ", ".join(dict.fromkeys(block["type"] for block in media))
    return VisitAnswer(text=text or (f"({kinds})" if kinds else ""), media=media)


def _is_aside(message: AIMessage) -> bool:
    """Whether a workflow wrote a message for itself: a decision, or a question to the user."""
    return bool(message_facts(message).keys() & {"decision", "question"})


def with_unique_ids(reply: list[AnyMessage], before: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Give an answer an id of its own where it has that of an earlier one.

    A constant message, or one from a fake or a cached model, comes with the same id each time,
    and the history would put it where it stood before.
    """
    if not reply or not isinstance(last := reply[-1], AIMessage):
        return reply
    if last.id is None or last.id not in {message.id for message in before}:
        return reply
    return [*reply[:-1], last.model_copy(update={"id": None})]


def as_messages(reply: object) -> list[AnyMessage]:
    """Read what a function or a Runnable answered: a text, a message, or messages.

    Messages in a list may be written as LangChain reads them: `("ai", "...")`, or a dict with
    `role` and `content`. A list may stand under `messages`, as nodes return it. A pydantic
    object, as structured output gives it, is written as JSON.

    Raises:
        TypeError: The answer is something else.
        ValueError: A message cannot be read.
    """
    if isinstance(reply, Mapping):
        reply = cast(Mapping[str, object], reply).get("messages", cast(object, reply))
    if isinstance(reply, str):
        return [AIMessage(str(reply))]  # the `text` of a message is a str of its own kind
    if isinstance(reply, BaseMessage):
        return [cast(AnyMessage, reply)]
    if isinstance(reply, BaseModel):
        return [AIMessage(json_text(reply))]
    kind = type(reply).__name__
    if isinstance(reply, list | tuple):
        items = cast(Sequence[object], reply)
        readable = (BaseMessage, tuple, dict) if isinstance(reply, list) else BaseMessage
        if all(isinstance(item, readable) for item in items):
            return cast(list[AnyMessage], convert_to_messages(cast(Any, items)))
        kind += f" of {', '.join(dict.fromkeys(type(item).__name__ for item in items))}"
    raise TypeError(
        f"the participant returned {kind}; allowed: a text, a message, or a list of messages"
    )


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
    last = next((message for message in reversed(new) if isinstance(message, AIMessage)), None)
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
    elif "reports" not in values and last is not None and (fault := answer_fault(last)):
        report = failure_report(visit, *fault, text=answer.text)
    else:
        report = answer_report(visit, answer.text)
        if answer.media:
            report["media"] = [*answer.media]
    if lines := lines_of(values):
        report["usage"] = lines  # of a workflow that is a participant
    files = _files(new)
    for inner in values.get("reports") or ():  # of a workflow that is a participant
        files += inner.get("files") or ()
    if files:
        report["files"] = files
    return report


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
    return {
        HANDOFF: visit["id"],
        **({AFTER: first_message_id(visit)} if "state_input" in visit else {}),
    }


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
    return str(visit["state_input"]["messages"][-1].id) if "state_input" in visit else visit["id"]


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
        artifact = as_dict(message.artifact) if isinstance(message, ToolMessage) else {}
        if all(isinstance(artifact.get(key), str) for key in keys):
            files.append({key: clean_text(artifact[key]) for key in keys})
    return files


def fingerprint(request: str, text: str) -> str:
    """Name a request together with its result; white space does not count."""
    words = f"{' '.join(request.split())}\n{' '.join(text.split())}"
    return hashlib.blake2b(words.encode(), digest_size=8).hexdigest()
