"""Names of agents within the texts of messages, for models that read no other names."""

import re
from collections.abc import Callable
from typing import Any, Literal, cast, get_args

from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableLambda

AgentNameMode = Literal["inline"]

_INLINE = re.compile(r"<name>(?P<name>.*?)</name>.*?<content>(?P<content>.*?)</content>", re.S)


def add_inline_agent_name(message: BaseMessage) -> BaseMessage:
    """Write the name of whoever wrote a message into its text."""
    if not isinstance(message, AIMessage) or not message.name:
        return message
    return _rewritten(message, lambda text: f"<name>{message.name}</name><content>{text}</content>")


def remove_inline_agent_name(message: BaseMessage) -> BaseMessage:
    """Take a name out of the text of a message, where a model has written one."""
    if not isinstance(message, AIMessage) or not _INLINE.search(_text(message)):
        return message
    return _rewritten(message, lambda text: cast(re.Match[str], _INLINE.search(text))["content"])


def with_agent_name(
    model: Runnable[Any, Any], agent_name_mode: AgentNameMode
) -> Runnable[Any, Any]:
    """Let a model read, and write, names within texts.

    Raises:
        ValueError: There is no such mode.
    """
    if agent_name_mode not in get_args(AgentNameMode):
        raise ValueError(f"agent_name_mode is {agent_name_mode!r}; allowed: 'inline'")

    def named(given: Any) -> list[BaseMessage]:
        messages = given.to_messages() if isinstance(given, PromptValue) else given
        return [add_inline_agent_name(message) for message in convert_to_messages(messages)]

    return RunnableLambda(named) | model | RunnableLambda(remove_inline_agent_name)


def _text(message: AIMessage) -> str:
    """Return the text of a message, or the first one of its blocks."""
    if isinstance(message.content, str):
        return message.content
    return next((str(block["text"]) for block in _blocks(message) if _is_text(block)), "")


def _rewritten(message: AIMessage, rewrite: Callable[[str], str]) -> AIMessage:
    text = rewrite(_text(message))
    if isinstance(message.content, str):
        return message.model_copy(update={"content": text})
    rest: list[Any] = [block for block in _blocks(message) if not _is_text(block)]
    first = [{"type": "text", "text": text}] if text else []
    return message.model_copy(update={"content": [*first, *rest]})


def _blocks(message: AIMessage) -> list[Any]:
    return cast(list[Any], message.content)


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and cast(dict[str, Any], block).get("type") == "text"
