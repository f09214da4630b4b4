"""The checkpoints of a thread as a saver holds them: listed, put in order, copied."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from asterism.effects import Call, Steps

Saver = BaseCheckpointSaver[Any]

COPY_OF = "asterism_copy_of"
"""The metadata key by which the copy of a checkpoint names the ones that it stands for."""


def listed(saver: Saver, config: RunnableConfig) -> Call:
    """Make the call that lists checkpoints, the latest first.

    Without a `checkpoint_ns` those of all participants are among them.
    """

    async def alisted() -> list[CheckpointTuple]:
        return [item async for item in saver.alist(config)]

    return Call(lambda: [*saver.list(config)], alisted)


def place(thread: str, namespace: str | None = None, checkpoint: str | None = None) -> Any:
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


def copied(
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
    under = cast(RunnableConfig, place(thread, namespace, parent_of(item)))
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
