"""The view of a decider: the conversation with fenced reports, digests and one-time notes.

Open it for what of a workflow's history a supervisor's model is shown, and how it is labelled.
Tests: tests/nodes/test_view.py.
"""

import json
import operator
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig

from asterism.core.decision_schema import describe_shape
from asterism.core.digests import CHARACTERS_PER_TOKEN, digest, is_long
from asterism.core.history_cache import look_at
from asterism.core.messages import convert_tool_content_to_text
from asterism.core.state import Report
from asterism.core.steering import MARK, steered_path
from asterism.core.values import fence
from asterism.prompts import render

REPORT_ID = "report-"
"""How the ids of reports' messages begin; the report's own id follows."""

AGAIN = "(That report, as it was written.)"
"""Stands for an answer that hands a report on, which has been shown already."""

OVERHEAD = 500
"""How many characters a message is taken to have besides its text."""

SUPERVISOR_RUN_CONFIG: RunnableConfig = {"metadata": {"participant": "supervisor"}}
"""The config of the workflow's own model calls, so that streams say who speaks."""
DECIDE = "supervisor.decide"
"""The name of a model call that decides, in traces."""


def supervisor_run_config(purpose: str, round: int | None = None) -> RunnableConfig:
    """Return the config of one of the workflow's own model calls, by which traces name it.

    Args:
        purpose: What the call is for, as `supervisor.decide` or `finish.answer`.
        round: The supervisor's decision that it belongs to, counted from 1 in each request.
    """
    facts = {**SUPERVISOR_RUN_CONFIG.get("metadata", {}), "round": round}
    return {"run_name": purpose, "metadata": {k: v for k, v in facts.items() if v is not None}}


@dataclass(frozen=True, kw_only=True)
class SupervisorView:
    """Everything that a decider may know."""

    messages: Sequence[BaseMessage]
    """The global conversation: requests, decisions, reports, answers."""
    participants: Mapping[str, str]
    """The live participants: id and description, in the order in which they were given."""
    reports: Sequence[Report]
    """The answer board of this request."""
    iterations: int
    """How many decisions this request has taken so far."""
    request: str = ""
    """The user's request, and what became clear since."""
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The whole state of the workflow, to be read."""
    complaints: Sequence[tuple[str, str]] = ()
    """What was said in answer to this very view, if anything, and what is wrong with it."""
    readings: Sequence[tuple[str, str]] = ()
    """The reports that were asked for in answer to this view: their ids, and their whole text."""


def conversation(
    messages: Iterable[BaseMessage],
    *,
    digest_tokens: int | None = None,
    reading: bool = True,
    decisions: bool = True,
) -> list[AnyMessage]:
    """Render the global conversation for a model.

    A report becomes a message of the user's side between fences that its text cannot close;
    a routing decision becomes the JSON that was decided; an answer that hands a report on
    only says so. How a message is rendered depends on those before it alone, so what a model
    was sent before is the beginning of what it is sent next.

    Args:
        messages: The conversation.
        digest_tokens: Above how many tokens a report is shown as a digest. None: never.
        reading: Whether the model can read the whole of it.
        decisions: Whether routing decisions are shown; who writes for a user does not need them.
    """
    options = _Options(digest_tokens=digest_tokens, reading=reading, decisions=decisions)
    return _render(messages, options, set())


class _Options(NamedTuple):
    """How conversations are rendered; see `conversation`."""

    digest_tokens: int | None
    reading: bool
    decisions: bool


@dataclass
class _Rendered:
    """A conversation that was rendered."""

    messages: list[BaseMessage] = field(default_factory=list[BaseMessage])
    contents: list[Any] = field(default_factory=list[Any])
    """What the messages held then: one that is changed later does not differ from itself."""
    shown: list[AnyMessage] = field(default_factory=list[AnyMessage])
    reported: set[str] = field(default_factory=set[str])
    size: int = 0
    """About how many characters they hold."""

    def begins(self, messages: Sequence[BaseMessage]) -> bool:
        """Whether messages begin with these, and what follows can be rendered by itself."""
        length = len(self.messages)
        if any(isinstance(message, ToolMessage) for message in messages[length:]):
            return False  # a call before it may have its name
        first: list[BaseMessage] = [*islice(look_at(messages), length)]
        if len(first) < length or [m.content for m in first] != self.contents:
            return False
        if all(map(operator.is_, first, self.messages)):
            return True
        return [*map(vars, first)] == [*map(vars, self.messages)]


class Renderer:
    """Renders the conversations of one model as `conversation` does, each message once.

    What is kept of a conversation is used while its messages are equal to those that were
    rendered; after an edit, a fork or a compaction it is rendered anew.

    Args:
        digest_tokens: Above how many tokens a report is shown as a digest. None: never.
        decisions: Whether routing decisions are shown.
        limit: How many characters are kept in all, `OVERHEAD` a message with them; conversations
            that were not used for long go first.
    """

    def __init__(
        self,
        *,
        digest_tokens: int | None = None,
        decisions: bool = True,
        limit: int = 10_000_000,
    ) -> None:
        self._options = _Options(digest_tokens=digest_tokens, reading=True, decisions=decisions)
        self._limit = limit
        self._kept: dict[str | None, _Rendered] = {}
        self._size = 0
        self._lock = threading.Lock()

    def render(self, messages: Sequence[BaseMessage]) -> list[AnyMessage]:
        """Render a conversation."""
        if not messages:
            return []
        with self._lock:
            kept = self._kept.pop(messages[0].id, None) or _Rendered()
            self._size -= kept.size
            if not kept.begins(messages):
                kept = _Rendered()
            new = messages[len(kept.messages) :]
            kept.shown += _render(new, self._options, kept.reported)
            kept.messages += new
            kept.contents += [message.content for message in new]
            self._kept[messages[0].id] = kept
            kept.size += sum(OVERHEAD + len(str(message.content)) for message in new)
            self._size += kept.size
            while self._size > self._limit and len(self._kept) > 1:
                self._size -= self._kept.pop(next(iter(self._kept))).size
            return list(kept.shown)


def _render(
    messages: Iterable[BaseMessage], options: _Options, reported: set[str]
) -> list[AnyMessage]:
    """Render messages, and note the texts of the reports among them."""
    rendered: list[AnyMessage] = []
    for message in convert_tool_content_to_text(messages):
        facts = message_facts(message)
        if "withdrawn" in facts or ("decision" in facts and not options.decisions):
            continue
        if not isinstance(message, AIMessage):
            to = steered_path(message)
            note = render("steered_to", participant=to, message=message.text) if to else ""
            rendered.append(HumanMessage(note, id=message.id) if note else message)
            continue
        if "report" in facts:
            reported.add(message.text)
        again = "answer" in facts and message.text in reported
        rendered.append(_rendered(message, facts, options.digest_tokens, again, options.reading))
    return rendered


def fenced_report(
    participant: str, text: str, status: str = "ok", media: Sequence[str] | None = None
) -> str:
    """Put a participant's text between fences that it cannot close or imitate.

    Args:
        participant: Who answered.
        text: The answer.
        status: How the visit ended.
        media: What the answer holds besides text, and is not shown: as `image`.
    """
    note = {} if status == "ok" else {"status": status}
    if media:
        note["holds"] = ", ".join(media)
    return fence("report", text, **{"from": participant}, **note)


def report_texts(messages: Iterable[BaseMessage]) -> dict[str, str]:
    """Return the reports of a conversation by the names in their digests, whole and fenced."""
    return {
        _report_name(message): fenced_report(
            message.name or "participant", message.text, message_facts(message)["report"]
        )
        for message in messages
        if "report" in message_facts(message)
    }


def _report_name(message: BaseMessage) -> str:
    """Name a report in a few letters; the latest of a name is meant."""
    name, dash, again = (message.id or "").removeprefix(REPORT_ID).partition("-")
    return f"{name[:8]}{dash}{again}"


def one_time_notes(view: SupervisorView, schema: Mapping[str, Any]) -> list[AnyMessage]:
    """Write what follows the conversation in one decision only: reports read, complaints."""
    messages: list[AnyMessage] = []
    for wanted, told in view.readings:
        messages += [AIMessage(json.dumps({"read_report": [wanted]})), HumanMessage(told)]
    for said, fault in view.complaints:
        messages += [AIMessage(said)] if said else []
        repair = render("repair", fault=fault, shape=describe_shape(schema))
        messages.append(HumanMessage(repair))
    return messages


def pinned_message_ids(messages: Sequence[BaseMessage]) -> set[str]:
    """Return the ids of what a supervisor cannot do without.

    These are the requests that nobody has answered yet, what was asked about them and what the
    user said to that, and the latest decision with the reports that came of it.
    """
    pinned: set[str] = set()
    decided = False
    for message in reversed(messages):
        facts = message_facts(message)
        if "answer" in facts:
            break
        if not decided or isinstance(message, HumanMessage) or "question" in facts:
            pinned.add(message.id or "")
        decided = decided or "decision" in facts
    return pinned


def message_label(**facts: Any) -> dict[str, Any]:
    """Label a message as the workflow's own; the facts are plain JSON."""
    return {MARK: facts}


def message_facts(message: BaseMessage) -> Mapping[str, Any]:
    """Return the facts that the workflow labelled a message with."""
    return message.response_metadata.get(MARK) or {}


def _rendered(
    message: AIMessage,
    facts: Mapping[str, Any],
    digest_tokens: int | None,
    again: bool,
    reading: bool,
) -> AnyMessage:
    if "report" in facts:
        name, text = message.name or "participant", message.text
        media: list[str] | None = facts.get("media")
        if digest_tokens is None or not is_long(text, digest_tokens):
            return HumanMessage(fenced_report(name, text, facts["report"], media), id=message.id)
        short = fenced_report(name, digest(text, digest_tokens), facts["report"], media)
        if not reading:
            return HumanMessage(short, id=message.id)
        tokens = f"{len(text) // CHARACTERS_PER_TOKEN:,}"
        shown = render("digest", report=short, tokens=tokens, id=_report_name(message))
        return HumanMessage(shown, id=message.id)
    if "decision" in facts:
        decided = json.dumps(_as_said(facts["decision"]), ensure_ascii=False)
        return AIMessage(decided, id=message.id)
    return AIMessage(AGAIN if again else message.text, id=message.id)


def _as_said(decision: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take out of a plan what goes without saying: that its tasks may run at once."""
    if not decision.get("tasks"):
        return decision
    usual = ("execution_mode", "parallel")
    tasks = [dict(item for item in task.items() if item != usual) for task in decision["tasks"]]
    return {**decision, "tasks": tasks}
