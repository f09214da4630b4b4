"""Compaction: what of a history is left out of prompts, as a small plain value beside it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from typing_extensions import TypedDict

COMPACTION = "compaction"
"""The key of a state under which a compaction stands."""


class Compaction(TypedDict):
    """What stands for the beginning of a history in prompts; plain JSON, a few hundred bytes."""

    upto: str
    """The id of the last message that is left out."""
    kept: list[str]
    """The ids of those before it that stay."""
    summary: str
    """What the others say in short, where that was asked for."""


def group_tool_calls(messages: Iterable[AnyMessage]) -> list[list[AnyMessage]]:
    """Group a history into what belongs together: a tool call stands with its results."""
    units: list[list[AnyMessage]] = []
    for message in messages:
        if isinstance(message, ToolMessage) and units:
            units[-1].append(message)
        else:
            units.append([message])
    return units


def essential(messages: Sequence[BaseMessage]) -> set[str]:
    """Return the ids of what a participant cannot do without: its request, open tool calls."""
    pinned: set[str] = set()
    place = len(messages)
    while place and isinstance(messages[place - 1], ToolMessage):
        place -= 1
    last = messages[place - 1] if place else None
    if isinstance(last, AIMessage) and last.tool_calls:
        pinned |= {m.id or "" for m in messages[place - 1 :]}
    while place and not isinstance(messages[place - 1], HumanMessage):
        place -= 1
    while place and isinstance(messages[place - 1], HumanMessage):
        place -= 1
        pinned.add(messages[place].id or "")
    return pinned


def find_pinned_ids(messages: Iterable[AnyMessage], pinned: Collection[str]) -> set[str]:
    """Return the ids of all that stays: with rules, and with what belongs to it."""
    return {
        message.id or ""
        for unit in group_tool_calls(messages)
        if any(m.id in pinned or isinstance(m, SystemMessage) for m in unit)
        for message in unit
    }


def compact_messages(
    messages: Sequence[AnyMessage], keep: Collection[str], before: Compaction | None
) -> tuple[Compaction, list[AnyMessage]]:
    """Leave out of a history what is not kept.

    Args:
        messages: What was sent of it so far.
        keep: The ids of what stays.
        before: What was left out already.

    Returns:
        What stands for it from now on, and what is left out newly.
    """
    places = [place for place, message in enumerate(messages) if message.id not in keep]
    dropped, last = [messages[place] for place in places], places[-1]
    stays = [m for m in messages[:last] if m.id in keep]
    kept = [m.id or "" for m in stays if not isinstance(m, SystemMessage)]
    summary = before["summary"] if before else ""
    return Compaction(upto=dropped[-1].id or "", kept=kept, summary=summary), dropped


def with_messages(
    messages: Sequence[BaseMessage], compaction: Compaction | None
) -> Compaction | None:
    """Return a compaction while it holds for a history, else None.

    Where the cut is gone, the history was edited, and what stood for its beginning may tell of
    what has been forgotten since.
    """
    if compaction and any(m.id == compaction["upto"] for m in reversed(messages)):
        return compaction
    return None


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A history in the light of a compaction, each part in its order."""

    kept: list[AnyMessage]
    """What stays of its beginning."""
    gone: list[AnyMessage]
    """What is left out of it."""
    rest: list[AnyMessage]
    """All that came after the cut."""


def parts(
    messages: Sequence[AnyMessage], compaction: Compaction | None, also: Collection[str] = ()
) -> Parts:
    """Part a history at the cut.

    Args:
        messages: The history.
        compaction: What stands for its beginning, while that holds.
        also: The ids of more that stays.
    """
    if compaction is None:
        return Parts(kept=[], gone=[], rest=list(messages))
    cut = next(n for n in range(len(messages), 0, -1) if messages[n - 1].id == compaction["upto"])
    keep = {*compaction["kept"], *also}
    kept: list[AnyMessage] = []
    gone: list[AnyMessage] = []
    for message in messages[:cut]:
        stays = message.id in keep or isinstance(message, SystemMessage)
        (kept if stays else gone).append(message)
    return Parts(kept=kept, gone=gone, rest=list(messages[cut:]))
