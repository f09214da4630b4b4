"""Chains that begin with a prompt: what a participant's messages are to its variables.

Tests: tests/nodes/test_chains.py.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import AnyMessage
from langchain_core.prompts import BasePromptTemplate, ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableBinding, RunnableSequence
from langchain_core.runnables.passthrough import RunnableAssign

from asterism.core.messages import media_in_request
from asterism.core.sync_async import sync_async_pair
from asterism.errors import InvalidRequestError


@dataclass(frozen=True, kw_only=True)
class _Variables:
    """What a prompt is filled in with."""

    lists: Sequence[str]
    """The placeholders that have to be given messages, or the one that may be."""
    texts: Sequence[str]


def chain_fault(chain: Runnable[Any, Any]) -> str | None:
    """Say why a chain cannot be given a list of messages, or return None."""
    found = _variables(chain)
    if found is None or (len(found.lists) < 2 and len(found.texts) < 2):
        return None
    names = ", ".join(f"`{name}`" for name in (*found.lists, *found.texts))
    return (
        f"is a chain whose prompt wants {names}, and it is given a list of messages; leave one "
        "placeholder for messages and one text at most, or wrap it in a function of messages"
    )


def ways_to_ask(thing: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make a sync and an async caller of a function or a Runnable with a list of messages.

    The prompt of a chain gets the messages for its placeholder, and the text of the latest one for
    its text; where it has both, the placeholder gets the messages before that.
    """
    call, acall = sync_async_pair(thing)
    found = _variables(thing)
    if found is None:
        return call, acall

    def mapping(messages: Sequence[AnyMessage]) -> dict[str, Any]:
        if not found.texts:
            return {name: list(messages) for name in found.lists}
        latest = messages[-1]
        if media_in_request([latest]):
            raise InvalidRequestError(
                f"The request holds more than text, and the prompt takes `{found.texts[0]}` as "
                "text alone. Give it a placeholder for messages."
            )
        earlier = {name: list(messages[:-1]) for name in found.lists}
        return {**earlier, found.texts[0]: str(latest.text)}

    def ask(messages: Sequence[AnyMessage]) -> Any:
        return call(mapping(messages))

    def aask(messages: Sequence[AnyMessage]) -> Awaitable[Any]:
        return acall(mapping(messages))

    return ask, aask


def _variables(chain: Any) -> _Variables | None:
    """Return what the prompt at the beginning of a chain wants, or None where there is none."""
    first: Any = chain
    while isinstance(first, RunnableSequence | RunnableBinding):
        inner = cast(Any, first)
        first = getattr(inner, "first", None) or inner.bound
    if isinstance(first, RunnableAssign):
        return _Variables(lists=["messages"], texts=[])
    if not isinstance(first, BasePromptTemplate):
        return None
    parts = first.messages if isinstance(first, ChatPromptTemplate) else []
    holders = [part for part in parts if isinstance(part, MessagesPlaceholder)]
    filled = {name for name, value in first.partial_variables.items() if value}
    names = [part.variable_name for part in holders if part.variable_name not in filled]
    needed = [p.variable_name for p in holders if p.variable_name in names and not p.optional]
    texts = [name for name in first.input_variables if name not in names]
    usual = [name for name in names if name == "messages"] or names[:1]
    return _Variables(lists=needed or usual, texts=texts)
