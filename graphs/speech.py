"""Streams of messages: each text once, with the name of the participant that wrote it.

Tests: tests/graphs/test_streams.py.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage

from asterism.core.continuation import HANDOFF
from asterism.core.messages import clean_text
from asterism.core.values import as_dict
from asterism.nodes.view import REPORT_ID, message_facts

MESSAGES = "messages"

Hear = Callable[[Any], Any]
"""Returns a part of a stream as it is shown, or None where it is left out."""


def hearing(asked: Mapping[str, Any]) -> Hear | None:
    """Make what a stream of messages is heard through; None where none is asked for.

    Args:
        asked: The arguments of `stream`.
    """
    modes: Any = asked.get("stream_mode") or ()
    several = not isinstance(modes, str)
    if MESSAGES not in (modes if several else (modes,)):
        return None
    speech = _Speech()

    def hear(part: Any) -> Any:
        if whole := as_dict(part):  # the second version of streams
            if whole.get("type") != MESSAGES:
                return part
            shown: Any = speech.show(whole["data"])
            return shown and {**whole, "data": shown}
        if several and part[-2] != MESSAGES:
            return part
        alone = not several and not asked.get("subgraphs")
        shown = speech.show(part if alone else part[-1])
        return shown if alone or shown is None else (*part[:-1], shown)

    return hear


class _Speech:
    """Leaves out what was said already, and what nobody has said.

    What a participant says is streamed as it says it, then stands in the history of its workflow
    as a report, and once more where that is the answer. A routing decision is a mark in the
    history.
    """

    def __init__(self) -> None:
        self._said: dict[str, dict[str | None, str]] = {}
        """What was said in each visit, by message."""
        self._reports: set[str] = set()

    def show(self, payload: Any) -> Any:
        """Return a message with its facts as they are shown, or None where it is left out."""
        if not isinstance(payload, tuple) or not isinstance(payload[0], BaseMessage):
            return cast(Any, payload)
        message, facts = cast(tuple[BaseMessage, dict[str, Any]], payload)
        marks, text, visit = message_facts(message), message.text, str(facts.get(HANDOFF) or "")
        if "decision" in marks:
            return None
        if "report" in marks:
            said = self._said.pop((message.id or "").removeprefix(REPORT_ID), {})
            self._reports.add(text)
            known = any(clean_text(words) == text for words in said.values())
            return None if known else (message, {**facts, "participant": message.name})
        if isinstance(message, AIMessage) and text:
            said = self._said.setdefault(visit, {})
            said[message.id] = said.get(message.id, "") + text
        return None if "answer" in marks and text in self._reports else cast(Any, payload)
