"""What a participant answers: as messages of its history, and as the answer of a visit.

Tests: tests/nodes/test_answers.py, tests/graphs/test_answers.py.
"""

import json
from collections.abc import Mapping, Sequence
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

from asterism.core.messages import clean_text, media_of, words_of
from asterism.limits.failure_policies import FailureKind
from asterism.nodes.view import message_facts


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
    if any(cast(ToolMessage, result).status == "error" for result in results):
        said = "\n".join(words_of(result) for result in results)
        return VisitAnswer(kind="agent_failed", fault=f"its last tool call failed: {said}")
    last = results or [m for m in messages[-1:] if isinstance(m, HumanMessage)]
    if (found := _answer(last)).text:
        return found
    for message in reversed(messages):
        if not isinstance(message, AIMessage):
            continue
        if calls := [*message.tool_calls, *message.invalid_tool_calls]:
            names = ", ".join(dict.fromkeys(str(call["name"]) for call in calls))
            return VisitAnswer(fault=f"empty: it ended without a word after it called {names}")
        if not (is_workflow and _is_aside(message)) and (found := _answer([message])).text:
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


def _answer(messages: Sequence[BaseMessage]) -> VisitAnswer:
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
