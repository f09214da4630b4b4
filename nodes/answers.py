"""What a participant answers, as messages of its history."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, convert_to_messages


def answered(reply: list[AnyMessage], before: Sequence[AnyMessage]) -> list[AnyMessage]:
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
    `role` and `content`. A list may stand under `messages`, as nodes return it.

    Raises:
        TypeError: The answer is something else.
        ValueError: A message cannot be read.
    """
    if isinstance(reply, Mapping):
        reply = cast(Mapping[str, object], reply).get("messages", cast(object, reply))
    if isinstance(reply, str):
        return [AIMessage(reply)]
    if isinstance(reply, BaseMessage):
        return [cast(AnyMessage, reply)]
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
