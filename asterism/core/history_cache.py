"""What growing channels were made of, kept in memory, so that a history is read once.

A checkpoint and the writes before it do not change once they are stored. A history that is asked
for is read back to the last checkpoint that is known, and what was known is put before it. The
cache belongs to one connection, which clears it when another one has written to the database:
what others delete, prune or bring in is never mixed with what was known.
"""

import copy
import operator
from collections import OrderedDict
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import Checkpoint, DeltaChannelHistory, PendingWrite

LIMIT = 50_000
"""How many writes, and values of snapshots, are kept in all."""

Place = tuple[str, str]
"""A thread and a namespace."""

_UNCHANGING = frozenset({str, int, float, bool, bytes, type(None)})


class Step(NamedTuple):
    """A checkpoint on the way back, as it is stored."""

    id: str
    load: Callable[[], Checkpoint]
    """Reads what is in it."""


class CheckpointLineage(Protocol):
    """What led to a checkpoint, as it is stored."""

    def back(self) -> Generator[Step]:
        """Yield the checkpoints before it, the nearest first, each once."""
        ...

    def writes(
        self, steps: Sequence[str], channels: Collection[str]
    ) -> Mapping[str, Sequence[PendingWrite]]:
        """Read what was written to channels after some of these, by checkpoint, in order."""
        ...


class StoredWrites(list[PendingWrite]):
    """What was written to a channel: whoever looks at a write gets a copy of it.

    A channel may leave here what it has made of them, to begin there the next time.
    """

    made: "FoldedValue | None" = None

    def __iter__(self) -> Iterator[PendingWrite]:
        return ((task, channel, deep_copy(value)) for task, channel, value in super().__iter__())

    def since(self, count: int) -> list[PendingWrite]:
        """Return the writes after the first ones as they are, for whoever changes nothing."""
        return self[count:]


@dataclass(frozen=True, kw_only=True)
class FoldedValue:
    """What a reducer has made of the first writes. It is never handed out, only copies of it."""

    by: object
    count: int
    value: list[Any]
    places: MutableMapping[str | None, int]
    """Where its items stand, by id."""


class SharedList(list[Any]):
    """A list of what is kept elsewhere, too: whoever takes an item gets a copy of it.

    An item is copied when it is taken for the first time, so a long list of which only the end is
    looked at costs next to nothing. What somebody has put in belongs to the list itself.

    Args:
        items: What it begins with, all of it kept elsewhere.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self._shared: bytearray | None = bytearray(b"\1") * len(self)

    def __copy__(self) -> "SharedList":
        made = SharedList()
        list.extend(made, super().__getitem__(slice(None)))
        made._shared = None if self._shared is None else self._shared[:]
        return made

    copy = __copy__

    def __reduce__(self) -> Any:
        return list, ([*self],)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return [self[place] for place in range(*cast(Any, key).indices(len(self)))]
        place = operator.index(key)
        found = super().__getitem__(place)
        shared = self._shared
        if shared is not None and shared[place]:
            found = deep_copy(found)
            super().__setitem__(place, found)
            shared[place] = 0
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, slice):
            self._take_all()
        super().__setitem__(cast(Any, key), value)
        if self._shared is not None:
            self._shared[cast(int, key)] = 0

    def append(self, value: Any) -> None:
        """Put an item at the end."""
        super().append(value)
        if self._shared is not None:
            self._shared.append(0)

    def _take_all(self) -> None:
        if self._shared is not None:
            for place in range(len(self)):
                self[place]
            self._shared = None

    def __iter__(self) -> Iterator[Any]:
        self._take_all()
        return super().__iter__()

    def __reversed__(self) -> Iterator[Any]:
        return (self[place] for place in reversed(range(len(self))))

    def __radd__(self, other: list[Any]) -> list[Any]:
        return [*other, *self]


def look_at(items: Iterable[Any]) -> Iterator[Any]:
    """Iterate over items without taking them: whoever does so changes and hands out none."""
    plain: Any = list  # a `SharedList` would be taken whole
    return plain.__iter__(items) if isinstance(items, list) else iter(items)


def _whole(name: str) -> Any:
    """Make a method of a list that needs all of its items."""
    method: Any = getattr(list, name)

    def call(self: SharedList, *args: Any, **kwargs: Any) -> Any:
        self._take_all()  # pyright: ignore[reportPrivateUsage]
        return method(self, *args, **kwargs)

    return call


for _name in ("__add__", "__iadd__", "__mul__", "__rmul__", "__imul__", "__delitem__", "extend"):
    setattr(SharedList, _name, _whole(_name))
for _name in ("clear", "insert", "pop", "remove", "reverse", "sort"):
    setattr(SharedList, _name, _whole(_name))


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
        self, place: Place, target: str, channels: Sequence[str], line: CheckpointLineage
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what channels are made of, as of a checkpoint.

        Args:
            place: The thread and the namespace.
            target: The id of the checkpoint.
            channels: The channels.
            line: Reads what led to it.
        """
        known = self._known.get(place)
        if known and not known.channels.keys() >= set(channels):
            known = None
        if known and known.checkpoint == target:
            found = {channel: _copy_history(known.channels[channel]) for channel in channels}
        else:
            found = _read(_ancestors_to_known(line, channels, known), line)
        self._keep(place, _Known(checkpoint=target, channels=found))
        return {name: _copy_for_caller(history) for name, history in found.items()}

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
        while self._size > self._limit and len(self._known) > 1:  # else it would know nothing
            _, oldest = self._known.popitem(last=False)
            self._size -= oldest.size()


class _Way(NamedTuple):
    """The way back from a checkpoint, to where all is known of its channels."""

    steps: list[str]
    """The checkpoints, the nearest first."""
    begins: dict[str, tuple[DeltaChannelHistory, int]]
    """What each channel begins with, and how many of the steps come after that."""


def _ancestors_to_known(
    line: CheckpointLineage, channels: Sequence[str], known: _Known | None
) -> _Way:
    """Go back until each channel was stored whole, or is known, or began."""
    way = _Way([], {})
    sought = set(channels)
    with closing(line.back()) as back:
        for step in back:
            way.steps.append(step.id)
            values = step.load()["channel_values"]
            for channel in sought & values.keys():
                whole = DeltaChannelHistory(seed=values[channel], writes=StoredWrites())
                way.begins[channel] = whole, len(way.steps)
                sought.discard(channel)
            if not sought or (known and step.id == known.checkpoint):
                break
        else:
            known = None
    for channel in sought:
        begun = (
            _copy_history(known.channels[channel])
            if known
            else DeltaChannelHistory(writes=StoredWrites())
        )
        way.begins[channel] = begun, len(way.steps)
    return way


def _read(way: _Way, line: CheckpointLineage) -> dict[str, DeltaChannelHistory]:
    """Read what was written on a way, and put it after what its channels began with."""
    found = {channel: begun for channel, (begun, _) in way.begins.items()}
    for count in {count for _, count in way.begins.values()}:
        names = [channel for channel, (_, steps) in way.begins.items() if steps == count]
        written = line.writes(way.steps[:count], names)
        for step in reversed(way.steps[:count]):
            for write in written.get(step, ()):
                found[write[1]]["writes"].append(write)
    return found


def _copy_history(history: DeltaChannelHistory) -> DeltaChannelHistory:
    """Copy a history, to go on with it."""
    writes = cast(StoredWrites, history["writes"])
    own_writes = StoredWrites(writes.since(0))
    own_writes.made = writes.made
    return cast(DeltaChannelHistory, {**history, "writes": own_writes})


def _copy_for_caller(history: DeltaChannelHistory) -> DeltaChannelHistory:
    """Return a history for somebody who may do anything with it."""
    writes = history["writes"]
    handed = DeltaChannelHistory(writes=writes)
    if "seed" in history:
        begun = getattr(writes, "made", None) is not None  # what it made, it copies itself
        handed["seed"] = history["seed"] if begun else deep_copy(history["seed"])
    return handed


def deep_copy(value: Any) -> Any:
    """Copy a value so that nothing in it is shared: plain JSON and messages, in any depth."""
    given: Any = value
    kind = given.__class__
    if kind in _UNCHANGING:
        return given
    if kind is dict:  # what cannot change is told here: a call for each item takes far longer
        return {k: v if v.__class__ in _UNCHANGING else deep_copy(v) for k, v in given.items()}
    if kind is list or kind is SharedList:
        return [deep_copy(item) for item in given]
    if isinstance(given, BaseMessage):
        return _own_message(given)
    if isinstance(given, tuple):  # a snapshot has names for its items
        make: Any = getattr(kind, "_make", tuple)
        return make([*map(deep_copy, cast(tuple[object, ...], given))])
    return copy.deepcopy(given)


def _own_message(message: BaseMessage) -> BaseMessage:
    """Copy a message; pydantic's deep copy takes five times as long."""
    copied = copy.copy(message)
    fields = vars(copied)
    for name, value in fields.items():
        if value.__class__ not in _UNCHANGING:
            fields[name] = deep_copy(value)
    return copied
