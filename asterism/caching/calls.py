"""A call of a model and its answer, written down so that they can be known again."""

import json
import re
from typing import Any
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, messages_from_dict, messages_to_dict
from langchain_core.outputs import ChatGeneration

from asterism.core.values import as_dict

_UNSTABLE = re.compile(r"<class |<function |<bound method | object at 0x|<\w+ at 0x")
"""What a parameter looks like that has no text of its own; it might be anything."""
_LEFT_BEHIND = ("id", "response_metadata", "usage_metadata")
_CUT_OFF = ("length", "max_tokens", "content_filter", "refusal")


def is_stable(parameters: str) -> bool:
    """Whether the parameters of a call have a text of their own, which says what they are."""
    return not _UNSTABLE.search(parameters)


def canonical_prompt(prompt: str) -> str:
    """Return a prompt as LangChain writes it, without what no model is sent.

    What the messages in it have cost, and what else their calls left behind, is another each
    time, also where they were answered from a cache.
    """
    messages: list[Any] = json.loads(prompt)
    for message in messages:
        for name in _LEFT_BEHIND:
            as_dict(message.get("kwargs")).pop(name, None)
    return json.dumps(messages, sort_keys=True)


def split(prompt: str) -> tuple[str, str | None]:
    """Return the prompt without the words of its last request, and those, if it ends with one."""
    messages: list[Any] = json.loads(prompt)
    last: dict[str, Any] = messages[-1] if messages else {}
    fields = as_dict(last.get("kwargs"))
    words = fields.get("content")
    if (last.get("id") or [""])[-1] != "HumanMessage" or not isinstance(words, str):
        return prompt, None
    rest = {**last, "kwargs": {**fields, "content": None}}
    return json.dumps([*messages[:-1], rest]), words


def identity(model: BaseChatModel) -> str:
    """Write down everything that a model is; what has no text of its own is left out."""
    fields = {
        name: repr(value)
        for name in type(model).model_fields
        if name not in ("cache", "callbacks", "metadata", "tags", "verbose", "rate_limiter")
        and is_stable(repr(value := getattr(model, name, None)))
    }
    return json.dumps([f"{type(model).__module__}.{type(model).__qualname__}", fields])


def is_complete_answer(answer: Any) -> bool:
    """Whether an answer says something, and was not cut off."""
    message = getattr(answer, "message", None)
    if not isinstance(message, AIMessage) or not (message.text or message.tool_calls):
        return False
    facts: dict[str, Any] = {**message.response_metadata, **(answer.generation_info or {})}
    return not {str(facts.get(name)) for name in ("finish_reason", "stop_reason")} & {*_CUT_OFF}


def fields_of(answer: ChatGeneration) -> dict[str, Any]:
    """Write an answer as plain values."""
    return {"info": answer.generation_info, "message": messages_to_dict([answer.message])[0]}


def generation_of(fields: dict[str, Any]) -> ChatGeneration:
    """Read a kept answer; a name of its own keeps two uses apart in one history."""
    message = messages_from_dict([fields["message"]])[0]
    usage = getattr(message, "usage_metadata", None)
    none = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    own = {"id": f"cached-{uuid4().hex}", "usage_metadata": usage or none}
    return ChatGeneration(message=message.model_copy(update=own), generation_info=fields["info"])
