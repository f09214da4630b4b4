"""Prompts as every provider accepts them: the last look at what a model is sent.

Tests: tests/asterism/core/test_model_input.py.
"""

import re
from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, SystemMessage

from asterism.core.messages import words_of

GO_ON = "Please go on."
"""Stands at the end of a prompt that would end with an answer of the model."""

_STRANGE = re.compile(r"[^a-zA-Z0-9_-]+")
_NAME_LENGTH = 64
_RULES = ("system", "SystemMessageChunk")
_ANSWERS = ("ai", "AIMessageChunk")


def prepare_messages(messages: Sequence[BaseMessage]) -> list[AnyMessage]:
    """Rewrite a prompt so that no provider refuses it; the stored history stays as it is.

    Anthropic and Gemini refuse system messages after the beginning, and empty answers; some
    models refuse to go on from an answer of their own; OpenAI refuses names with other characters
    than ASCII letters, digits, `_` and `-`.

    Returns:
        One system message at the front, with the texts of all of them; no empty answer; names as
        they are allowed; at the end a message that is not the model's own.
    """
    rules: list[SystemMessage] = []
    prepared: list[BaseMessage] = []
    for message in messages:  # by their types: `isinstance` is slow where it fails
        content: Any = message.content
        begins = content.__class__ is str and content[:1] > " "  # so it says something
        if message.type in _RULES:
            rules.append(cast(SystemMessage, message))
        elif message.type not in _ANSWERS or begins or not _is_empty(cast(AIMessage, message)):
            prepared.append(message if message.name is None else _with_plain_name(message))
    if prepared and isinstance(prepared[-1], AIMessage):
        prepared.append(HumanMessage(GO_ON))
    return cast(list[AnyMessage], [*_merge(rules), *prepared])


def without_reasoning(messages: Sequence[BaseMessage], own: str) -> list[BaseMessage]:
    """Take the thoughts and provider items of other models out of a conversation.

    A provider refuses thoughts that it did not write, and ids that it does not know.

    Args:
        messages: The conversation.
        own: The name of the model's own answers, which stay whole.
    """
    return [_spoken(m) if isinstance(m, AIMessage) and m.name != own else m for m in messages]


def _spoken(message: AIMessage) -> AIMessage:
    """Return what an answer says and calls for, without anything of its provider."""
    if isinstance(message.content, str) and not message.additional_kwargs:
        return message
    content: Any = message.content
    if not isinstance(content, str):
        kept = [b for b in message.content_blocks if b["type"] in ("image", "audio", "file")]
        text = words_of(message)
        content = [{"type": "text", "text": text}, *kept] if kept else text
    return message.model_copy(
        update={"content": content, "additional_kwargs": {}, "response_metadata": {}}
    )


def _merge(rules: Sequence[SystemMessage]) -> list[SystemMessage]:
    """Merge system messages into one; a text that is there already is not repeated."""
    if len(rules) < 2:
        return list(rules)
    if any(not isinstance(message.content, str) for message in rules):
        blocks = [block for m in rules for block in m.content_blocks]
        return [rules[0].model_copy(update={"content": blocks})]
    texts = dict.fromkeys(message.text for message in rules)
    return [SystemMessage("\n\n".join(texts), id=rules[0].id)]


def _is_empty(message: AIMessage) -> bool:
    if isinstance(message.content, str):
        said = message.content.strip() or message.tool_calls or message.invalid_tool_calls
        return not said
    if message.tool_calls or message.invalid_tool_calls:
        return False
    return not any(
        isinstance(block, str)
        or block.get("type") not in ("text", "reasoning", "thinking")
        or str(block.get("text") or "").strip()
        for block in message.content
    )


def _with_plain_name(message: BaseMessage) -> BaseMessage:
    name = message.name or ""
    if len(name) <= _NAME_LENGTH and not _STRANGE.search(name):
        return message
    return message.model_copy(update={"name": _STRANGE.sub("_", name)[:_NAME_LENGTH]})
