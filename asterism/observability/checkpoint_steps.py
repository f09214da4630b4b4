"""What happened in one namespace of a thread, step by step, as its checkpoints tell."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Interrupt, Overwrite

from asterism.core.continuation import AFTER, HANDOFF
from asterism.core.values import as_list

GROWING = ("messages", "reports", "usage", "brief")
"""The channels of which a checkpoint holds what is new, or everything."""
INTERRUPT, ERROR, RESUME = "__interrupt__", "__error__", "__resume__"
"""The names under which the engine stores questions, failures and answers."""


@dataclass(frozen=True, kw_only=True)
class CheckpointStep:
    """One step of the engine: what stood before it, what it wrote."""

    before: CheckpointTuple
    after: CheckpointTuple | None
    """None: what was written is not in a checkpoint yet."""
    new: Mapping[str, list[Any]]
    """What was added to the growing channels."""
    was: Any
    """The decision before it."""
    decision: Any
    """The decision after it."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The plain values after it, but the decision."""
        return (self.after or self.before).checkpoint["channel_values"]

    @property
    def starts(self) -> bool:
        """Whether a new input came in after it."""
        return self.after is not None and source_of(self.after) == "input"


@dataclass
class _Grown:
    """A growing channel on its way through the steps."""

    name: str
    known: list[Any] = field(default_factory=list[Any])

    def take(self, before: CheckpointTuple, after: CheckpointTuple | None) -> list[Any]:
        """Return what a step has added, by the same rule as the engine."""
        stored = after.checkpoint["channel_values"] if after is not None else {}
        if self.name in stored:
            return self._replace(_items(stored[self.name]))
        new: list[Any] = []
        for _, channel, value in before.pending_writes or ():
            if channel != self.name:
                continue
            if isinstance(value, Overwrite):
                new = self._replace(_items(value))
            else:
                new += _items(value)
                self.known += _items(value)
        return new

    def _replace(self, whole: list[Any]) -> list[Any]:
        known, self.known = self.known, list(whole)
        same = whole[: len(known)] == known
        return whole[len(known) :] if same else list(whole)


def steps_of(line: Sequence[CheckpointTuple], *, cut: bool) -> Iterator[CheckpointStep]:
    """Yield the steps between checkpoints, and what was written after the last of them.

    Args:
        line: Checkpoints of one namespace, each following the one before.
        cut: Whether what was written after the last one is left out.
    """
    grown = [_Grown(name) for name in GROWING]
    ends: list[CheckpointTuple | None] = [*line[1:], *([] if cut else [None])]
    first = line[0].checkpoint["channel_values"]
    for channel in grown:
        channel.known = _items(first.get(channel.name))
    decision = decision_in(line[0])
    for before, after in zip(line, ends, strict=False):
        new = {channel.name: channel.take(before, after) for channel in grown}
        was, decision = decision, decision if after is None else decision_in(after, decision)
        yield CheckpointStep(before=before, after=after, new=new, was=was, decision=decision)


def decision_in(item: CheckpointTuple, before: Any = None) -> Any:
    """Return the decision that stands in a checkpoint; where none does, it is the one before."""
    found = item.checkpoint["channel_values"].get("decision", before)
    return getattr(found, "value", found)


def visits_in(line: Sequence[CheckpointTuple], *, cut: bool) -> dict[str, list[BaseMessage]]:
    """Return the messages of each visit to a participant, by handoff.

    Args:
        line: What a participant has stored.
        cut: Whether what was written after the last checkpoint is left out.
    """
    marks = {_mark_of(item): handoff for item in line if (handoff := handoff_of(item))}
    given = {mark for mark, handoff in marks.items() if mark != handoff}
    found: dict[str, list[BaseMessage]] = {}
    seen: set[str] = set()
    current: list[BaseMessage] = []
    first = _items(line[0].checkpoint["channel_values"].get("messages")) if line else []
    for written in (first, *(step.new["messages"] for step in steps_of(line, cut=cut))):
        new = [message for message in written if isinstance(message, BaseMessage)]
        ours = {message.id or "" for message in new} & given - seen  # all before it was sent to it
        for message in new:
            name = message.id or ""
            if name in marks and (name in ours or not ours):
                current, ours = found.setdefault(marks[name], []), set[str]()
            elif not ours and (not name or name not in seen):
                current.append(message)
            seen.add(name)
    return found


def _mark_of(item: CheckpointTuple) -> str:
    """Return the id of the message after which the visit of a checkpoint begins."""
    metadata = cast(Mapping[str, Any], item.metadata)
    return str(metadata.get(AFTER) or metadata.get(HANDOFF) or "")


def interrupts_in(item: CheckpointTuple) -> Iterator[tuple[Interrupt, Any, bool]]:
    """Yield the questions asked after a checkpoint: each with its answer, and if it is open."""
    writes = item.pending_writes or ()
    for task, channel, value in writes:
        if channel != INTERRUPT:
            continue
        answers = [as_list(v) for t, c, v in writes if t == task and c == RESUME]
        over = any(t == task and c not in (INTERRUPT, RESUME) for t, c, _ in writes)
        for place, found in enumerate(as_tuple(value)):
            if isinstance(found, Interrupt):
                given = answers[0][place] if answers and len(answers[0]) > place else None
                yield found, given, not over


def error_in(item: CheckpointTuple) -> str | None:
    """Return the failure that was stored after a checkpoint, if any."""
    return next(
        (str(value) for _, channel, value in item.pending_writes or () if channel == ERROR), None
    )


def handoff_of(item: CheckpointTuple) -> str:
    """Return the visit that a checkpoint belongs to."""
    return str(cast(Mapping[str, Any], item.metadata).get(HANDOFF) or "")


def source_of(item: CheckpointTuple) -> str:
    """Return what made a checkpoint: `"input"`, `"loop"`, `"update"` or `"fork"`."""
    return str(cast(Mapping[str, Any], item.metadata).get("source") or "")


def checkpoint_time(item: CheckpointTuple) -> str:
    """Return when a checkpoint was made."""
    return item.checkpoint["ts"]


def as_tuple(value: object) -> tuple[object, ...]:
    """Return a sequence of the engine's as a tuple."""
    return tuple(cast(Sequence[object], value)) if isinstance(value, list | tuple) else (value,)


def _items(value: object) -> list[Any]:
    """Return what a growing channel holds, in any form in which it is stored."""
    inner: object = getattr(value, "value", value)
    if inner is None:
        return []
    return list(cast(list[Any], inner)) if isinstance(inner, list | tuple) else [inner]
