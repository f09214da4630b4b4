"""Compaction: what of a history is left out of prompts, as a small plain value beside it."""

from collections.abc import Collection, Iterable, Sequence

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from typing_extensions import TypedDict


class Compaction(TypedDict):
    """What stands for the beginning of a history in prompts; plain JSON, a few hundred bytes."""

    upto: str
    """The id of the last message that is left out."""
    kept: list[str]
    """The ids of those before it that stay."""
    left_out: int
    """How many messages are left out."""
    reports: dict[str, int]
    """How many reports of each participant are among them."""
    summary: str
    """What they say in short, where that was asked for."""


def together(messages: Iterable[AnyMessage]) -> list[list[AnyMessage]]:
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


def pinned_units(messages: Iterable[AnyMessage], pinned: Collection[str]) -> set[str]:
    """Return the ids of all that stays: with rules, and with what belongs to it."""
    return {
        message.id or ""
        for unit in together(messages)
        if any(m.id in pinned or isinstance(m, SystemMessage) for m in unit)
        for message in unit
    }


def compacted(
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
    earlier = before or Compaction(upto="", kept=[], left_out=0, reports={}, summary="")
    stays = [m for m in messages[:last] if m.id in keep]
    kept = [m.id or "" for m in stays if not isinstance(m, SystemMessage)]
    left_out = earlier["left_out"] + len(dropped)
    return {**earlier, "upto": dropped[-1].id or "", "kept": kept, "left_out": left_out}, dropped


def remaining(
    messages: Sequence[AnyMessage], compaction: Compaction | None, also: Collection[str] = ()
) -> tuple[list[AnyMessage], list[AnyMessage]]:
    """Return what is sent of a history: what stays of its beginning, and the rest.

    A history that was edited, so that the cut is not found, is sent whole.

    Args:
        messages: The history.
        compaction: What stands for its beginning.
        also: The ids of more that stays.
    """
    if compaction is None:
        return [], list(messages)
    for place in reversed(range(len(messages))):
        if messages[place].id == compaction["upto"]:
            keep = {*compaction["kept"], *also}
            head = messages[: place + 1]
            kept = [m for m in head if m.id in keep or isinstance(m, SystemMessage)]
            return kept, list(messages[place + 1 :])
    return [], list(messages)
