"""Delete old threads, shorten long ones (`prune`), forget a user (`forget_user`)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.types import TASKS

from asterism.core.checkpoints import reading
from asterism.core.thread_lease import take_lease
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError, StorageError
from asterism.storage.retention.row_protocol import Rows
from asterism.storage.retention.rows import open_rows

PAGE = 500
"""How many threads are looked up at once."""

_GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)
_TRIGGERS = ("branch:to:", "__start__")
"""What a checkpoint holds when a node is still to run."""
_GATHERING = ("join:", TASKS)
"""What holds something when a node is still to run."""
_COUNTERS = "counters_since_delta_snapshot"


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What came of pruning."""

    threads: int = 0
    """Threads that are gone."""
    checkpoints: int = 0
    """Checkpoints that are gone of threads that stay."""
    busy: int = 0
    """Threads that somebody drives or that wait in the queue; they stay as they are."""
    unfinished: int = 0
    """Threads that wait for a person or could go on; they stay as they are."""
    damaged: int = 0
    """Threads whose rows cannot be read; they stay as they are."""
    bytes_before: int = 0
    bytes_after: int = 0


def prune(
    saver: BaseCheckpointSaver[Any],
    *,
    older_than: timedelta | None = None,
    keep_last: int | None = None,
    unfinished: bool = False,
    full: bool = False,
    now: datetime | None = None,
) -> Pruned:
    """Delete what is old, while runs go on.

    Args:
        saver: A database that `open_checkpointer` opened.
        older_than: Threads of which nothing was stored for so long are deleted.
        keep_last: Of the other threads, so many checkpoints stay, and those that they are
            read from: growing channels store only what is new, back to their last snapshot.
        unfinished: Whether to take threads, too, that wait for a person or could go on.
        full: Whether to write the whole database anew, which keeps others out meanwhile.
        now: The time to reckon from.

    Raises:
        ConfigurationError: Nothing says what is old, or the saver has no database.
    """
    if older_than is None and keep_last is None:
        raise ConfigurationError("Say what may go: older_than, keep_last, or both.")
    if keep_last is not None and keep_last < 1:
        raise ConfigurationError(f"keep_last is {keep_last}. Allowed: a whole number from 1.")
    rows = open_rows(saver)
    before = rows.size()
    oldest = None if older_than is None else (now or datetime.now(UTC)) - older_than
    counts: dict[str, int] = defaultdict(int)
    for thread, latest in _threads(rows):
        old = oldest is not None and checkpoint_created_at(str(latest)) < oldest
        if old or keep_last is not None:
            keep = None if old else keep_last
            for what, count in _prune_thread(
                saver, rows, (thread, latest), keep, unfinished
            ).items():
                counts[what] += count
    rows.shrink(full=full)
    return Pruned(**counts, bytes_before=before, bytes_after=rows.size())


def checkpoint_created_at(checkpoint_id: str) -> datetime:
    """Return when a checkpoint was made: its id is a UUID of version 6, which tells.

    Any other id is taken for new, so that nothing goes by mistake.
    """
    try:
        number = UUID(checkpoint_id)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    if number.version != 6:
        return datetime.max.replace(tzinfo=UTC)
    ticks = (number.int >> 80) << 12 | (number.int >> 64) & 0xFFF
    return _GREGORIAN + timedelta(microseconds=ticks / 10)


def is_open(saved: CheckpointTuple) -> bool:
    """Whether a thread waits for somebody, or has work left, by its latest checkpoint."""
    values = as_dict(saved.checkpoint["channel_values"])
    return (
        values.get("status") in ("running", "waiting")
        or bool(saved.pending_writes)
        or any(name.startswith(_TRIGGERS) for name in values)
        or any(name.startswith(_GATHERING) and value for name, value in values.items())
    )


def _threads(rows: Rows) -> Iterator[tuple[str, str]]:
    after = ""
    while page := rows.threads(after, PAGE):
        yield from page
        after = page[-1][0]


def _prune_thread(
    saver: BaseCheckpointSaver[Any],
    rows: Rows,
    thread: tuple[str, str],
    keep: int | None,
    unfinished: bool,
) -> Mapping[str, int]:
    """Prune one thread, unless somebody drives it; `keep` None deletes it."""
    name, latest = thread
    release = take_lease(saver, name)
    if release is None:
        return {"busy": 1}
    try:
        if rows.is_awaited(name) or rows.latest(name) != latest:
            return {"busy": 1}
        place: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
        saved = saver.get_tuple(place)
        if saved is not None and not unfinished and is_open(saved):
            return {"unfinished": 1}
        if keep is None:
            rows.delete(name)
            return {"threads": 1}
        with reading(name):
            return {"checkpoints": _shorten(saver, rows, name, keep)}
    except StorageError as error:
        if not str(error).startswith(f"The thread {name!r} "):
            raise  # it is the database
        return {"damaged": 1}
    finally:
        release()


def _shorten(saver: BaseCheckpointSaver[Any], rows: Rows, thread: str, keep: int) -> int:
    spaces: dict[str, dict[str, CheckpointTuple]] = defaultdict(dict)
    for row in saver.list({"configurable": {"thread_id": thread}}):
        place = as_dict(row.config.get("configurable"))
        spaces[place["checkpoint_ns"]][place["checkpoint_id"]] = row
    gone = 0
    since = min(sorted(spaces[""], reverse=True)[:keep], default="")
    for namespace, found in filter(itemgetter(1), spaces.items()):
        drop = found.keys() - checkpoints_to_keep(
            found, _checkpoints_since(namespace, list(found), since)
        )
        if drop:
            rows.drop(thread, namespace, drop)
            gone += len(drop)
    return gone


def _checkpoints_since(namespace: str, found: Sequence[str], since: str) -> set[str]:
    """Return the checkpoints that stay: those since a time, and what was the latest then.

    Going back to the oldest one of the workflow finds the participants' memory of then. The
    place of a single call, which has a colon in its name, is of no use to later ones.
    """
    wanted = {each for each in found if each >= since}
    if ":" not in namespace or not wanted:
        wanted |= {max((each for each in found if each < since), default=max(found))}
    return wanted


def checkpoints_to_keep(found: Mapping[str, CheckpointTuple], wanted: set[str]) -> set[str]:
    """Return the wanted checkpoints, and the ancestors that they are read from.

    A growing channel is stored whole in some checkpoints; in between, only writes are. It is
    read from its writes back to the nearest whole one.
    """
    growing: set[str] = set()
    for row in found.values():
        growing |= as_dict(as_dict(row.metadata).get(_COUNTERS)).keys()
    staying: set[str] = set()
    for name in wanted:
        open_channels = {
            channel
            for channel in growing & found[name].checkpoint["channel_versions"].keys()
            if channel not in found[name].checkpoint["channel_values"]
        }
        staying.add(name)
        parent = _parent(found[name])
        while open_channels and parent in found:
            staying.add(parent)
            open_channels -= found[parent].checkpoint["channel_values"].keys()
            parent = _parent(found[parent])
    return staying


def _parent(row: CheckpointTuple) -> str:
    return str(as_dict((row.parent_config or {}).get("configurable")).get("checkpoint_id", ""))


USER_KEYS = ("user_id", "user", "langgraph_auth_user_id")
"""The names in a run's `configurable` or `metadata` that say whose it is."""


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What came of forgetting a user."""

    threads: tuple[str, ...]
    """Threads that are gone, with all that is stored of them."""
    busy: tuple[str, ...]
    """Threads that somebody drives just now; forget again when they are over."""


def forget_user(
    saver: BaseCheckpointSaver[Any], user: str, *, keys: Sequence[str] = USER_KEYS
) -> Forgotten:
    """Delete the threads of a user, finished or not.

    Args:
        saver: A database that `open_checkpointer` opened.
        user: The user, as the runs were told.
        keys: Under which names in `configurable` or `metadata` they were told.

    Raises:
        ConfigurationError: No user is named, or the saver has no database.
    """
    if not user or not keys:
        raise ConfigurationError("Say who is to be forgotten, and under which keys.")
    rows = open_rows(saver)
    gone: list[str] = []
    busy: list[str] = []
    for thread in rows.threads_of(user, keys):
        release = take_lease(saver, thread)
        if release is None:
            busy.append(thread)
            continue
        try:
            rows.delete(thread)
            gone.append(thread)
        finally:
            release()
    rows.shrink(full=False)
    return Forgotten(threads=tuple(gone), busy=tuple(busy))
