"""The checkpoints of a thread as a saver holds them: listed, put in order, copied."""

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.types import INTERRUPT
from langgraph.types import Interrupt

from asterism.core.history_cache import look_at
from asterism.core.sync_async import Call, Steps
from asterism.core.values import as_dict, describe_error
from asterism.errors import AsterismError, StorageError

_log = logging.getLogger(__name__)

Saver = BaseCheckpointSaver[Any]

COPY_OF = "asterism_copy_of"
"""The metadata key by which the copy of a checkpoint names the ones that it stands for."""
_DAMAGES = (TypeError, ValueError, AttributeError, LookupError, NotImplementedError, RecursionError)
"""What comes of reading rows that hold something else than LangGraph stores."""
_VERSION = 4
"""The newest form of a checkpoint that is known."""
_KINDS: Mapping[str, type] = {
    "v": int,
    "id": str,
    "ts": str,
    "channel_values": dict,
    "channel_versions": dict,
    "versions_seen": dict,
}
_FACTS: Mapping[str, type] = {"source": str, "step": int, "parents": dict}
_GROWING: Mapping[str, type] = {
    "messages": BaseMessage,
    "reports": dict,
    "brief": str,
    "usage": dict,
}
"""The lists of a workflow that grow, and what stands in them."""
_STATE: Mapping[str, type] = {
    "status": str,
    "iterations": int,
    "decision": dict,
    "limits": dict,
    "agents": dict,
    "running": list,
    **dict.fromkeys(_GROWING, list),
}
_COUNTERS = "counters_since_delta_snapshot"


class reading:  # noqa: N801 - it is used like a function, and a generator takes far longer
    """Say which thread it is whose rows are damaged.

    Args:
        thread: The thread. None: it is not known.
    """

    def __init__(self, thread: object) -> None:
        self._thread = thread

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        whose = "A thread" if self._thread is None else f"The thread {self._thread!r}"
        if isinstance(error, StorageError):
            said = str(error)
            if is_of_database(error) or said.startswith(("The thread ", "A thread ")):
                return
        elif isinstance(error, _DAMAGES) and not isinstance(error, AsterismError):
            said = (
                f"{describe_error(error)[:300]}. Its rows are damaged; restore the database from "
            )
            said += "a copy, or delete the thread."
        else:
            return
        raise StorageError(f"{whose} cannot be read: {said}") from error


class storing:  # noqa: N801 - it is used like a function, and a generator takes far longer
    """Say which thread it is of which nothing could be stored.

    Args:
        config: Where it was to be stored.
    """

    def __init__(self, config: RunnableConfig) -> None:
        self._config = config

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, StorageError) and is_of_database(error):
            thread = thread_of(self._config)
            raise StorageError(f"{error} A step of the thread {thread!r} is not stored.") from error


def thread_of(config: RunnableConfig | None) -> Any:
    """Return the thread that a config names."""
    return as_dict((config or {}).get("configurable")).get("thread_id")


def validate_write(channel: str, value: Any) -> Any:
    """Return what was written to a channel, where that can be.

    Raises:
        TypeError: A history was written something that is none.
    """
    if channel in _GROWING and isinstance(value, int | float | bytes | None):
        raise TypeError(f"what was written to {channel} is {value!r:.80}")
    return value


def checked_seed(channel: str, value: Any) -> Any:
    """Return what a growing channel begins with, where that can be.

    Raises:
        TypeError: A history begins with something that is none.
    """
    held: object = getattr(value, "value", value)  # of a snapshot, which the engine keeps private
    if channel in _GROWING and not isinstance(held, list):
        raise TypeError(f"what is stored of {channel} is {held!r:.80}")
    return value


def check_state(thread: object, values: Mapping[str, Any]) -> None:
    """Check that the stored state of a workflow has the form of one.

    Raises:
        StorageError: It has not.
    """
    with reading(thread):
        for name, kind in _STATE.items():
            if not isinstance(values.get(name), kind | None):
                raise TypeError(f"what is stored of {name} is {values[name]!r:.80}")
        for name, kind in _GROWING.items():
            for item in look_at(values.get(name) or ()):
                if not isinstance(item, kind):
                    raise TypeError(f"what is stored in {name} is {item!r:.80}")


def validate_checkpoint(found: CheckpointTuple) -> CheckpointTuple:
    """Return a checkpoint that has the form of one.

    Raises:
        StorageError: It has not, or a newer version of LangGraph wrote it.
    """
    with reading(thread_of(found.config)):
        place = as_dict(found.config.get("configurable"))
        checkpoint = as_dict(found.checkpoint)
        for name, kind in _KINDS.items():
            if not isinstance(checkpoint.get(name), kind):
                raise TypeError(f"the {name} of a checkpoint is {checkpoint.get(name)!r:.80}")
        if "checkpoint_id" in place and checkpoint["id"] != place["checkpoint_id"]:
            raise TypeError(f"the checkpoint {place['checkpoint_id']!r:.80} holds another id")
        if checkpoint["v"] > _VERSION:
            raise StorageError(
                f"a checkpoint has the form {checkpoint['v']}; this version reads up to "
                f"{_VERSION}. Install a newer version of LangGraph."
            )
        facts = cast(object, found.metadata)
        if not as_dict(facts):
            raise TypeError(f"the metadata of a checkpoint is {facts!r:.80}")
        if "step" not in as_dict(facts):
            raise TypeError("the metadata of a checkpoint has no step")
        for name, kind in _FACTS.items():
            if name in as_dict(facts) and not isinstance(as_dict(facts)[name], kind):
                raise TypeError(f"the {name} of a checkpoint is {as_dict(facts)[name]!r:.80}")
        for counts in as_dict(as_dict(facts).get(_COUNTERS)).values():
            if not all(isinstance(n, int) for n in counts):
                raise TypeError(f"the counters of a checkpoint are {counts!r:.80}")
        named = {key: place[key] for key in ("checkpoint_ns", "checkpoint_id") if key in place}
        if not all(isinstance(part, str) for part in named.values()):
            raise TypeError(f"the place of a checkpoint is {named!r:.200}")
        for task, channel, value in found.pending_writes or ():
            if not all(isinstance(part, str) for part in cast(tuple[Any, ...], (task, channel))):
                raise TypeError(f"a write has the place {task!r:.80}, {channel!r:.80}")
            if channel == INTERRUPT and not _is_question(value):
                raise TypeError(f"a question is {value!r:.80}")
    return found


def readable(
    places: Iterable[RunnableConfig],
    read: Callable[[RunnableConfig], CheckpointTuple | None],
    *,
    found: bool = False,
) -> Iterator[CheckpointTuple]:
    """Read checkpoints of many threads; those that are damaged are logged and hide no other.

    Args:
        places: The checkpoints.
        read: Reads one.
        found: Whether others of the list were read already.

    Raises:
        StorageError: The database cannot be used, or none of all can be read.
    """
    failed: StorageError | None = None
    told = set[object]()
    for place in places:
        try:
            row = read(place)
        except StorageError as error:
            if is_of_database(error):
                raise
            failed, thread = error, thread_of(place)
            if thread not in told:
                told.add(thread)
                _log.warning("A list leaves checkpoints out. %s", error)
        else:
            if row is not None:  # somebody may have deleted it meanwhile
                found = True
                yield row
    if failed is not None and not found:
        raise failed


def is_of_database(error: StorageError) -> bool:
    """Whether the database cannot be used, not only some rows of it."""
    return str(error).startswith("The database '")


def _is_question(value: object) -> bool:
    """Whether a value may stand in the channel of questions: the engine's, or texts by name."""
    if isinstance(value, list | tuple):
        return all(isinstance(item, Interrupt) for item in cast(Sequence[object], value))
    texts = as_dict(value).values()
    return bool(texts) and all(isinstance(text, str) for text in texts)


def list_checkpoints(saver: Saver, config: RunnableConfig) -> Call:
    """Make the call that lists checkpoints, the latest first.

    Without a `checkpoint_ns` those of all participants are among them.
    """

    async def alisted() -> list[CheckpointTuple]:
        return [item async for item in saver.alist(config)]

    return Call(lambda: [*saver.list(config)], alisted)


def checkpoint_key(thread: str, namespace: str | None = None, checkpoint: str | None = None) -> Any:
    """Return the config that names a thread, a namespace in it, a checkpoint in that."""
    found = {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint}
    return {"configurable": {key: value for key, value in found.items() if value is not None}}


def id_of(item: CheckpointTuple) -> str:
    """Return the id of a checkpoint; later ones have greater ids."""
    return item.checkpoint["id"]


def namespace_of(item: CheckpointTuple) -> str:
    """Return where a checkpoint belongs: empty is the workflow itself."""
    return str((item.config.get("configurable") or {}).get("checkpoint_ns") or "")


def parent_of(item: CheckpointTuple) -> str | None:
    """Return the id of the checkpoint that this one followed."""
    above: Mapping[str, Any] = (item.parent_config or {}).get("configurable") or {}
    return above.get("checkpoint_id")


def lineage(items: Iterable[CheckpointTuple], head: CheckpointTuple) -> list[CheckpointTuple]:
    """Return what led to a checkpoint, oldest first; other branches are left out."""
    by_id = {id_of(item): item for item in items}
    line: list[CheckpointTuple] = []
    at: CheckpointTuple | None = head
    while at is not None:
        line.append(at)
        at = by_id.get(parent_of(at) or "")
    return line[::-1]


def on_branch(
    items: Iterable[CheckpointTuple],
    above: Sequence[CheckpointTuple],
    trunk: Sequence[CheckpointTuple],
    *,
    open_end: bool = False,
) -> list[CheckpointTuple]:
    """Return the checkpoints of a participant that belong to one branch of its workflow.

    One run at a time drives a thread, so what a participant stores belongs to the branch of the
    checkpoint that its workflow stores next.

    Args:
        items: The checkpoints of the participant.
        above: All checkpoints of its workflow.
        trunk: Those of them that are on the branch.
        open_end: Whether what comes after the last checkpoint of the workflow belongs to it.
    """
    ids = sorted(map(id_of, above))
    reached = {name for item in trunk for name in (id_of(item), *copies_in(item))}

    def belongs(item: CheckpointTuple) -> bool:
        place = bisect_right(ids, id_of(item))
        return open_end if place == len(ids) else ids[place] in reached

    return [item for item in items if belongs(item)]


def copies_in(item: CheckpointTuple) -> tuple[str, ...]:
    """Return the ids of the checkpoints that this one is a copy of, oldest first."""
    return tuple(cast(Mapping[str, Any], item.metadata).get(COPY_OF) or ())


def copy_checkpoint(
    saver: Saver, item: CheckpointTuple, thread: str, namespace: str, *, writes: bool = True
) -> Steps[None]:
    """Copy a checkpoint to another thread or namespace, under its own id.

    Args:
        saver: Holds both.
        item: The checkpoint; what it followed has to be copied before it.
        thread: Where to.
        namespace: Where to.
        writes: Whether what was written after it goes along.
    """
    under = cast(RunnableConfig, checkpoint_key(thread, namespace, parent_of(item)))
    versions = item.checkpoint["channel_versions"]
    args = (under, item.checkpoint, item.metadata, versions)
    config = yield Call(saver.put, saver.aput, args)
    tasks = _by_task(item) if writes else {}
    for number, (task, written) in enumerate(tasks.items()):
        path = f"~{number:06}"  # the order among tasks; the path that gave it is not listed
        yield Call(saver.put_writes, saver.aput_writes, (config, written, task, path))


def _by_task(item: CheckpointTuple) -> dict[str, Sequence[tuple[str, Any]]]:
    tasks: dict[str, list[tuple[str, Any]]] = {}
    for task, channel, value in item.pending_writes or ():
        tasks.setdefault(task, []).append((channel, value))
    return cast(dict[str, Sequence[tuple[str, Any]]], tasks)
