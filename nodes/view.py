"""What deciders and writers are shown of a workflow: the conversation, fenced."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from asterism import quoting
from asterism.messages import convert_tool_content_to_text
from asterism.state import Report

MARK = "asterism"
"""The key in a message's `response_metadata` under which the workflow labels its own messages."""

SPEAKER: RunnableConfig = {"metadata": {"participant": "supervisor"}}
"""The config of the workflow's own model calls, so that streams say who speaks."""


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
    complaints: Sequence[tuple[str, str]] = ()
    """What was said in answer to this very view, if anything, and what is wrong with it."""


def conversation(messages: Iterable[BaseMessage]) -> list[AnyMessage]:
    """Render the global conversation for a model.

    A report becomes a message of the user's side between fences that its text cannot close;
    a routing decision becomes the JSON that was decided. Each message is rendered by itself,
    so what a model was sent before is the beginning of what it is sent next.
    """
    return [
        _rendered(message)
        for message in convert_tool_content_to_text(messages)
        if "withdrawn" not in facts_of(message)
    ]


def fenced(participant: str, text: str, status: str = "ok") -> str:
    """Put a participant's text between fences that it cannot close or imitate."""
    note = {} if status == "ok" else {"status": status}
    return quoting.fenced("report", text, **{"from": participant}, **note)


def label(**facts: Any) -> dict[str, Any]:
    """Label a message as the workflow's own; the facts are plain JSON."""
    return {MARK: facts}


def facts_of(message: BaseMessage) -> Mapping[str, Any]:
    """Return the facts that the workflow labelled a message with."""
    return message.response_metadata.get(MARK) or {}


def _rendered(message: AnyMessage) -> AnyMessage:
    if not isinstance(message, AIMessage):
        return message
    facts = facts_of(message)
    if "report" in facts:
        text = fenced(message.name or "participant", message.text, facts["report"])
        return HumanMessage(text, id=message.id)
    if "decision" in facts:
        return AIMessage(json.dumps(facts["decision"], ensure_ascii=False), id=message.id)
    return AIMessage(message.text, id=message.id)
