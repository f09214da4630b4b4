"""The first node of each request: counters start anew, the request is noted."""

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Overwrite

from asterism.core.sync_async import Steps, StepsNode
from asterism.nodes.routing import BEGIN

_EMPTY: dict[str, Any] = {
    "decision": None,
    "running": [],
    "breach": None,
    "limits": {},
    "tries": None,
}
"""What only the workflow itself reads, as a request begins. It is written where an earlier request
has left something: each checkpoint names all channels that were ever written."""


def create_begin_node() -> StepsNode:
    """Create the node that opens a request on a thread."""

    def begin(state: Any, config: RunnableConfig) -> Steps[dict[str, Any]]:
        yield from ()
        brief = list(reversed([m.text for m in _latest_words(state["messages"])]))
        if state.get("status") == "waiting":
            # A chat client answers a question with a plain message: that is a new run, and
            # what was asked before still belongs to what is asked now.
            brief = [*(state.get("brief") or ()), *brief]
        return {
            **{key: empty for key, empty in _EMPTY.items() if state.get(key)},
            "brief": Overwrite(brief),
            "status": "running",
            "reason": None,
            "iterations": 0,
            "reports": Overwrite([]),
            "usage": Overwrite([]),
            "structured_response": None,
        }

    return StepsNode(begin, name=BEGIN)


def _latest_words(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    """Yield what the user said last, newest first: the messages that nobody has answered."""
    newest = next((i for i in reversed(range(len(messages))) if _is_human(messages[i])), -1)
    for message in reversed(messages[: newest + 1]):
        if not _is_human(message):
            return
        yield message


def _is_human(message: BaseMessage) -> bool:
    return isinstance(message, HumanMessage)
