"""Forks: a run that goes on at an earlier checkpoint, with its participants as they were then.

A participant goes on with what it stored last, which may belong to a branch that was left
(langchain-ai/langgraph#7593). So a fork takes what it stored on the way to the fork, and stores
a copy of that as the latest. It is loaded only when something is forked.
Tests: tests/graphs/test_forks.py, tests/graphs/test_time_travel.py.
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from asterism.core.checkpoints import (
    COPY_OF,
    Saver,
    checkpoint_key,
    copies_in,
    id_of,
    lineage,
    list_checkpoints,
    namespace_of,
    on_branch,
    parent_of,
)
from asterism.core.sync_async import Call, Steps
from asterism.core.values import as_dict
from asterism.errors import UnknownThreadError
from asterism.graphs.clocks import wait_past
from asterism.nodes.remote.remote_call import branch_update


def rewind(saver: Saver, config: RunnableConfig) -> Steps[None]:
    """Take participants back to what they remembered at the checkpoint that a config names.

    Nothing happens where it names none, or the latest one.

    Args:
        saver: Holds the thread.
        config: The thread and the checkpoint: of a workflow, or of one inside of it.

    Raises:
        UnknownThreadError: There is no such checkpoint.
    """
    at = as_dict(config.get("configurable"))
    checkpoint = at.get("checkpoint_id")
    if not checkpoint:
        return
    thread, own = str(at["thread_id"]), str(at.get("checkpoint_ns") or "")
    latest = yield Call(saver.get_tuple, saver.aget_tuple, (checkpoint_key(thread, own),))
    if latest is None or id_of(latest) == checkpoint:
        return
    items: list[CheckpointTuple] = yield list_checkpoints(saver, checkpoint_key(thread))
    above = [item for item in items if namespace_of(item) == own]
    head = next((item for item in above if id_of(item) == checkpoint), None)
    if head is None:
        raise UnknownThreadError(
            f"The thread {thread!r} has no checkpoint {checkpoint!r}; get_state_history() lists "
            "those it has."
        )
    newest = max(items, key=id_of)
    yield from wait_past(id_of(newest), newest.checkpoint["ts"], thread)
    trunk = lineage(above, head)
    for namespace in _below(items, own):
        stored = [item for item in items if namespace_of(item) == namespace]
        kept = max(on_branch(stored, above, trunk), key=id_of, default=None)
        if kept is None or id_of(kept) != max(map(id_of, stored)):
            yield from _put(saver, thread, namespace, kept)


def _below(items: Sequence[CheckpointTuple], own: str) -> list[str]:
    """Return the namespaces of participants below a workflow, the innermost first.

    One with the id of a task in it is read by that task alone.
    """
    beginning = f"{own}|" if own else ""
    names = {namespace_of(item) for item in items} - {own}
    below = [name for name in names if name.startswith(beginning) and ":" not in name]
    return sorted(below, key=lambda name: (-name.count("|"), name))


def _put(saver: Saver, thread: str, namespace: str, kept: CheckpointTuple | None) -> Steps[None]:
    """Store as the latest what was kept, or that there is nothing.

    What was written after it stays behind: that belongs to what came next on its own branch.
    """
    name = str(uuid6())
    if kept is None:
        metadata, parent = dict[str, Any](step=-2), None
        checkpoint = {**empty_checkpoint(), "id": name}
    else:
        copies = {COPY_OF: [*copies_in(kept), id_of(kept)]}
        metadata, parent = {**kept.metadata, **copies}, parent_of(kept)
        values, versions = kept.checkpoint["channel_values"], kept.checkpoint["channel_versions"]
        changed = branch_update(values, thread, name)
        checkpoint = {
            **kept.checkpoint,
            "id": name,
            "channel_values": {**values, **changed},
            "channel_versions": {
                **versions,
                **{key: saver.get_next_version(versions[key], None) for key in changed},
            },
        }
    args = (
        checkpoint_key(thread, namespace, parent),
        checkpoint,
        metadata,
        checkpoint["channel_versions"],
    )
    yield Call(saver.put, saver.aput, args)
