"""What growing channels were made of, kept in memory, so that a history is read once.

A checkpoint and the writes before it do not change once they are stored. A history that is asked
for is read back to the last checkpoint that is known, and what was known is put before it. The
cache belongs to one connection, which clears it when another one has written to the database:
what others delete, prune or bring in is never mixed with what was known.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import Checkpoint, DeltaChannelHistory, PendingWrite

LIMIT = 10_000
"""How many writes, and values of snapshots, are kept in all."""
HOPS = 100
"""How many checkpoints are looked through for one that is known."""

Place = tuple[str, str]
"""A thread and a namespace."""

_UNCHANGING = frozenset({str, int, float, bool, bytes, type(None)})


@dataclass(frozen=True, kw_only=True)
class Step:
    """A checkpoint on the way back, as it is stored."""

    parent: str | None
    checkpoint: Callable[[], Checkpoint]
    writes: Callable[[Sequence[str]], Sequence[PendingWrite]]
    """Reads what was written to channels after it, in order."""


class Writes(list[PendingWrite]):
    """What was written to a channel: whoever looks at a write gets a copy of it.

    A channel may leave here what it has made of them, to begin there the next time.
    """

    made: "Made | None" = None

    def __iter__(self) -> Iterator[PendingWrite]:
        return map(own, super().__iter__())

    def since(self, count: int) -> list[PendingWrite]:
        """Return the writes after the first ones as they are, for whoever changes nothing."""
        return self[count:]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a reducer has made of the first writes. It is never handed out, only copies of it."""

    by: object
    count: int
    value: Any


@dataclass(kw_only=True)
class _Known:
    """The histories of the channels of a place, as of one checkpoint."""

    checkpoint: str
    channels: dict[str, DeltaChannelHistory]

    def size(self) -> int:
        return sum(
            len(history["writes"]) + len(getattr(history.get("seed"), "value", None) or ())
            for history in self.channels.values()
        )


class HistoryCache:
    """Keeps the histories that were read last. Its owner sees to it that one thread uses it.

    What it keeps is seen by nobody else: it hands out copies, because messages may be changed by
    whoever gets them.

    Args:
        limit: How many writes, and values of snapshots, are kept in all.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._known: OrderedDict[Place, _Known] = OrderedDict()
        self._size = 0

    def read(
        self,
        place: Place,
        target: str,
        channels: Sequence[str],
        step: Callable[[str], Step | None],
        whole: Callable[[], Mapping[str, DeltaChannelHistory]],
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what channels are made of, as of a checkpoint.

        Args:
            place: The thread and the namespace.
            target: The id of the checkpoint.
            channels: The channels.
            step: Reads a checkpoint by its id.
            whole: Reads all of it, where nothing is known.
        """
        known = self._known.get(place)
        found = _continued(known, target, channels, step) if known else None
        if found is None:
            found = {name: _copied(history) for name, history in whole().items()}
        self._keep(place, _Known(checkpoint=target, channels=found))
        return {name: _handed(history) for name, history in found.items()}

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._size = 0

    def forget(self, thread: str) -> None:
        """Forget a thread."""
        for place in [place for place in self._known if place[0] == thread]:
            self._size -= self._known.pop(place).size()

    def _keep(self, place: Place, known: _Known) -> None:
        before = self._known.pop(place, None)
        self._size += known.size() - (before.size() if before else 0)
        self._known[place] = known
        while self._size > self._limit:
            _, oldest = self._known.popitem(last=False)
            self._size -= oldest.size()


def _continued(
    known: _Known,
    target: str,
    channels: Sequence[str],
    step: Callable[[str], Step | None],
) -> dict[str, DeltaChannelHistory] | None:
    """Go on from what is known, or return None where that is not on the way."""
    if not known.channels.keys() >= set(channels):
        return None
    way = _way(known.checkpoint, target, step)
    if way is None:
        return None
    found = {channel: _copied(known.channels[channel]) for channel in channels}
    for passed in way:
        values = passed.checkpoint()["channel_values"]
        for channel in channels:
            if channel in values:  # stored whole there: what was before does not matter
                found[channel] = DeltaChannelHistory(seed=values[channel], writes=Writes())
        for write in passed.writes(channels):
            found[write[1]]["writes"].append(write)
    return found


def _copied(history: DeltaChannelHistory) -> DeltaChannelHistory:
    """Copy a history, to go on with it."""
    writes = history["writes"]
    own_writes = writes.since(0) if isinstance(writes, Writes) else writes
    copied = DeltaChannelHistory(writes=Writes(own_writes))
    if isinstance(writes, Writes):
        cast(Writes, copied["writes"]).made = writes.made
    if "seed" in history:
        copied["seed"] = history["seed"]
    return copied


def _handed(history: DeltaChannelHistory) -> DeltaChannelHistory:
    """Return a history for somebody who may do anything with it."""
    handed = DeltaChannelHistory(writes=history["writes"])
    if "seed" in history:
        handed["seed"] = own(history["seed"])
    return handed


def _way(known: str, target: str, step: Callable[[str], Step | None]) -> list[Step] | None:
    """Return the checkpoints from a known one up to the parent of a target, oldest first."""
    way: list[Step] = []
    at: str | None = target
    while at != known and at is not None and len(way) < HOPS:
        here = step(at)
        if here is None:
            return None
        way.append(here)
        at = here.parent
    if at != known or not way:
        return None if at != known else []
    first = step(known)
    return None if first is None else [first, *reversed(way[1:])]


def own(value: Any) -> Any:
    """Copy a value so that nothing in it is shared: plain JSON and messages, in any depth."""
    given: Any = value
    kind = type(cast(object, value))
    if kind in _UNCHANGING:
        return given
    if kind is dict:  # what cannot change is told here: a call for each item takes far longer
        return {key: v if type(v) in _UNCHANGING else own(v) for key, v in given.items()}
    if kind is list:
        return [own(item) for item in given]
    if isinstance(given, BaseMessage):
        return _own_message(given)
    if isinstance(given, tuple):  # a snapshot has names for its items
        items = [own(item) for item in cast(tuple[object, ...], given)]
        make: Any = getattr(kind, "_make", tuple)
        return make(items)
    return copy.deepcopy(given)


def _own_message(message: BaseMessage) -> BaseMessage:
    """Copy a message; pydantic's deep copy takes five times as long."""
    copied = copy.copy(message)
    fields = vars(copied)
    for name, value in fields.items():
        if type(value) not in _UNCHANGING:
            fields[name] = own(value)
    return copied
