"""Versions of a team on its threads: which one stored a thread, and how it comes to the next.

Tests: tests/graphs/test_migrations.py.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.types import StateSnapshot

from asterism.core.checkpoints import checkpoint_key, parent_of
from asterism.core.sync_async import Call, Steps
from asterism.core.values import as_dict
from asterism.errors import ThreadVersionError
from asterism.graphs.workflow_config import VERSION
from asterism.graphs.workflow_edits import move_memories, reassign_participants

_MOVED = "team_migrated"
_INTERNAL = ("branch:", "__", "join:", "start:")

States = dict[str, dict[str, Any]]
"""The stored state of each participant, by id; under `""` that of the workflow itself."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """What one version of a team does to a thread of the version before it.

    It runs once for each thread, when the thread goes on for the first time, while the thread is
    leased. Questions that are open stay open, under the same ids.

    Example:
        ```python
        SupervisorWorkflowBuilder(
            "Trip",
            model=model,
            version="2",
            migrations={"1": Migration(rename={"hotels": "rooms"}, change=add_currency)},
        )
        ```
    """

    rename: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    """Participants by their old ids, each with the new one, or None: the supervisor decides anew
    where one was to work."""
    change: Callable[[States], States] | None = None
    """Takes the states and returns them as they are to be. Growing histories, as `messages`, are
    not among them."""


def version_of(item: CheckpointTuple | None) -> str:
    """Return the version of the team that stored a checkpoint; empty: it had none."""
    return str(as_dict(item.metadata).get(VERSION) or "") if item is not None else ""


def plan_migrations(
    stored: str, own: str, migrations: Mapping[str, Migration], thread: str
) -> list[tuple[str, Migration]]:
    """Return the steps from one version to another, each with the version that it leads to.

    Raises:
        ThreadVersionError: There is no way.
    """
    names = [*migrations, own]
    if stored == own or not migrations:
        return []
    if stored not in migrations:
        raise ThreadVersionError(
            f"The thread {thread!r} was stored by version {stored or '(none)'!r} of the team, and "
            f"this one is {own!r}, with migrations from {', '.join(map(repr, migrations))}. Let a "
            f"worker with that version go on with it, or give migrations={{{stored!r}: ...}}."
        )
    place = names.index(stored)
    return [(names[n + 1], migrations[names[n]]) for n in range(place, len(migrations))]


def migrate_thread(workflow: Any, config: RunnableConfig) -> Steps[None]:
    """Bring a thread to the version of a workflow, where it is older; the caller has its lease.

    Raises:
        ThreadVersionError: There is no way from its version.
        UnknownParticipantError: A participant is gone, and nobody takes over.
    """
    facts, saver = workflow.facts, workflow.checkpointer
    if not facts.migrations or not isinstance(saver, BaseCheckpointSaver):
        return
    head: CheckpointTuple | None = yield _read(saver, config)
    if head is None:
        return
    thread = str(as_dict(config.get("configurable"))["thread_id"])
    for version, step in plan_migrations(version_of(head), facts.version, facts.migrations, thread):
        yield from move_memories(workflow, thread, step.rename)
        places = _places(workflow)
        heads: dict[str, CheckpointTuple] = {}
        for name, (namespace, _) in places.items():
            found = yield _read(saver, checkpoint_key(thread, namespace) if name else config)
            if found is not None:
                heads[name] = found
        if step.change is not None:
            yield from _change(saver, step.change, heads, places, version)
        if step.rename:
            found = yield Call(workflow.get_state, workflow.aget_state, (config,))
            yield from _reassign(workflow, config, found, step.rename)
        head = cast(CheckpointTuple, (yield _read(saver, config)))
        yield _store(saver, head, {**head.checkpoint}, {VERSION: version})


def _read(saver: Any, config: RunnableConfig) -> Call:
    return Call(saver.get_tuple, saver.aget_tuple, (config,))


def _places(workflow: Any) -> dict[str, tuple[str, Any]]:
    """Return the participants of a workflow, each with its namespace and its graph."""
    members = workflow.facts.team.members
    return {"": ("", workflow)} | {name: (name, one.graph) for name, one in members.items()}


def _change(
    saver: Any,
    change: Callable[[States], States],
    heads: Mapping[str, CheckpointTuple],
    places: Mapping[str, tuple[str, Any]],
    version: str,
) -> Steps[None]:
    """Let a function change the states, and store those that are other ones afterwards.

    A participant whose state was stored before a crash is not given to the function again.
    """
    due = {name: head for name, head in heads.items() if _moved(head) != version}
    before = {name: dict(_plain(head, places[name][1])) for name, head in due.items()}
    after = change({name: dict(state) for name, state in before.items()})
    for name in sorted(due, reverse=True):  # the workflow itself comes last
        old, new, head = before[name], after.get(name, {}), due[name]
        keys = {key for key in (*old, *new) if key not in new or old.get(key) != new[key]}
        checkpoint: Any = {**head.checkpoint}
        values, versions = dict(checkpoint["channel_values"]), dict(checkpoint["channel_versions"])
        latest = max(versions.values(), default=None)
        for key in keys:
            values.pop(key, None)
            versions[key] = saver.get_next_version(latest, None)
            if key in new:
                values[key] = new[key]
        checkpoint |= {"channel_values": values, "channel_versions": versions}
        changed = {key: versions[key] for key in keys}
        yield _store(saver, head, checkpoint, {_MOVED: version}, changed)


def _moved(head: CheckpointTuple) -> str:
    return str(as_dict(head.metadata).get(_MOVED) or "")


def _plain(head: CheckpointTuple, graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a state that are stored whole."""
    for key, value in head.checkpoint["channel_values"].items():
        grows = isinstance(graph.channels.get(key), DeltaChannel)
        if not key.startswith(_INTERNAL) and not grows:
            yield key, value


def _reassign(
    workflow: Any,
    config: RunnableConfig,
    found: StateSnapshot,
    names: Mapping[str, str | None],
) -> Steps[None]:
    update = reassign_participants(found, workflow.facts.participants, names)
    if update:
        yield from workflow.edit_leased(config, [[update]])


def _store(
    saver: Any,
    head: CheckpointTuple,
    checkpoint: Any,
    facts: Mapping[str, Any],
    versions: Mapping[str, Any] | None = None,
) -> Call:
    """Make the call that stores a checkpoint in its own place: what was written after it stays."""
    place = as_dict(head.config.get("configurable"))
    under = checkpoint_key(str(place["thread_id"]), place.get("checkpoint_ns"), parent_of(head))
    metadata = {**as_dict(head.metadata), **facts}
    return Call(saver.put, saver.aput, (under, checkpoint, metadata, dict(versions or {})))
