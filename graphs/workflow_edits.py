"""Edits of a stored run: decisions in an update, and participants that were renamed or removed.

Tests: tests/graphs/test_workflow_edits.py.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Command, StateSnapshot, StateUpdate

from asterism.core.checkpoints import Saver, checkpoint_key, copy_checkpoint, list_checkpoints
from asterism.core.continuation import HANDOFF, Graph
from asterism.core.decision import (
    RunPlan,
    VisitNext,
    apply_edit,
    dump_decision,
    load_decision,
    visit_as_plan,
)
from asterism.core.sync_async import Call, Steps
from asterism.core.values import as_dict
from asterism.errors import UnknownParticipantError
from asterism.graphs.request_checks import check_thread, missing_participant, unfinished_tasks
from asterism.nodes.engine_keys import parent_checkpointer
from asterism.nodes.routing import BEGIN, HUMAN, SUPERVISOR, route


def prepare_state_update(
    config: RunnableConfig,
    supersteps: Sequence[Sequence[StateUpdate]],
    snapshot: StateSnapshot,
    names: Sequence[str],
    nodes: Collection[str],
) -> tuple[RunnableConfig, Sequence[Sequence[StateUpdate]]]:
    """Prepare the arguments of `bulk_update_state`.

    Args:
        config: Where the edit is made: the workflow's own state, or that of a participant.
        supersteps: The edit.
        snapshot: The state that it finds.
        names: Who takes part in the workflow.
        nodes: The nodes of the workflow.
    """
    if parent_checkpointer(config) is None and (config.get("configurable") or {}).get(
        "checkpoint_ns"
    ):
        # A checkpoint of a participant carries the visit in which it was made, to go on there.
        visit = as_dict(snapshot.metadata).get(HANDOFF)
        facts = {} if visit is None else {HANDOFF: visit}
        return {**config, "metadata": {**(config.get("metadata") or {}), **facts}}, supersteps
    where = (snapshot, names, nodes)
    steps = [[route_state_update(update, *where) for update in step] for step in supersteps]
    return config, steps


def route_state_update(
    update: StateUpdate,
    snapshot: StateSnapshot,
    names: Sequence[str],
    nodes: Collection[str],
) -> StateUpdate:
    """Add where a decision leads to an update that comes from the supervisor.

    The supervisor's own node says where it goes; an update that takes its place has to say
    it too, or the run would end without a word. An update without a node takes the
    supervisor's place when it changes the decision or when one is being followed. A decision
    that is not changed stays as it is stored.
    """
    values = update.values
    if not isinstance(values, dict):
        return update
    before = as_dict(snapshot.values)
    stored = before.get("decision")
    changes = "decision" in values and values["decision"] != stored
    followed = any(name not in (BEGIN, SUPERVISOR) for name in snapshot.next)
    if update.as_node is None and (changes or followed):
        update = update._replace(as_node=SUPERVISOR)
    if update.as_node != SUPERVISOR:
        return update
    if changes and values["decision"]:
        decision = visit_as_plan(apply_edit(values["decision"], stored, names), nodes)
        values = {**values, "decision": dump_decision(decision)}
    elif "decision" in values and not changes:
        values = {**values, "decision": stored}  # byte for byte, in whatever order it came
    goto = route({**before, **values}, names)
    command: Command[Any] = Command(update=values, goto=goto)
    return update._replace(values=cast(Any, command))


def rename_participants(
    workflow: Any, config: RunnableConfig, names: Mapping[str, str | None]
) -> Steps[RunnableConfig]:
    """Let a stored run of a workflow go on after participants were renamed or removed."""
    yield from move_memories(workflow, check_thread(config), names)
    found: StateSnapshot = yield Call(workflow.get_state, workflow.aget_state, (config,))
    update = reassign_participants(found, workflow.facts.participants, names)
    if not update:
        return found.config
    edit = (workflow.bulk_update_state, workflow.abulk_update_state)
    updated: RunnableConfig = yield Call(*edit, (config, [[update]]))
    return updated


def rename_update(
    snapshot: StateSnapshot, gone: str, new_names: Mapping[str, str | None], names: Sequence[str]
) -> StateUpdate:
    """Write the update that lets a stored run go on without a participant that is gone.

    Raises:
        UnknownParticipantError: It is not said who takes over, or that one is not there.
    """
    heir = new_names.get(gone)
    if gone not in new_names or (heir is not None and heir not in names):
        raise UnknownParticipantError(
            f"Say who takes over from {gone!r}: one of {', '.join(names)}, or None."
        )
    if heir is None:  # as if a person had spoken: the supervisor decides anew
        return StateUpdate({"decision": None}, HUMAN)
    decision = load_decision(snapshot.values["decision"])
    if isinstance(decision, VisitNext):
        decision = replace(decision, next_agent=heir)
    return StateUpdate({"decision": decision and dump_decision(decision)}, SUPERVISOR)


def reassign_participants(
    snapshot: StateSnapshot, live: Mapping[str, str], new_names: Mapping[str, str | None]
) -> StateUpdate | None:
    """Write the update that lets a stored run go on after participants were renamed or removed.

    None: nothing in it depends on them.

    Raises:
        UnknownParticipantError: It is not said who takes over, or that one is not there.
    """
    gone = missing_participant(snapshot, live)
    if gone is None:
        return reassign_tasks_update(snapshot, new_names, tuple(live))
    return rename_update(snapshot, gone, new_names, tuple(live))


def reassign_tasks_update(
    snapshot: StateSnapshot, new_names: Mapping[str, str | None], names: Sequence[str]
) -> StateUpdate | None:
    """Write the update that gives the open tasks of a plan to those who take over, if any.

    Raises:
        UnknownParticipantError: It is not said who takes over, or that one is not there.
    """
    lost = {task: agent for task, agent in unfinished_tasks(snapshot).items() if agent not in names}
    for agent in lost.values():
        if agent not in new_names or new_names[agent] not in (None, *names):
            raise UnknownParticipantError(
                f"Say who takes over from {agent!r}: one of {', '.join(names)}, or None."
            )
    if not lost:
        return None
    if any(new_names[agent] is None for agent in lost.values()):
        return StateUpdate({"decision": None}, HUMAN)
    decision = load_decision(snapshot.values["decision"])
    if not isinstance(decision, RunPlan):
        return None
    tasks = [
        {**task, "agent_id": new_names[lost[task["task_id"]]]} if task["task_id"] in lost else task
        for task in decision.tasks
    ]
    return StateUpdate({"decision": dump_decision(replace(decision, tasks=tasks))}, SUPERVISOR)


def move_memories(graph: Graph, thread: str, new_names: Mapping[str, str | None]) -> Steps[None]:
    """Let the memory of participants that were renamed go with them."""
    saver = cast(Saver, graph.checkpointer)
    graphs: dict[str, Any] = dict(cast(Any, graph.get_subgraphs()))
    for old, heir in new_names.items():
        if heir in graphs and old not in graphs:
            for source, target in namespaces(graphs[heir], old, heir):
                yield from copy_memory(saver, thread, source, thread, target)


def copy_memory(saver: Saver, thread: str, source: str, to_thread: str, target: str) -> Steps[None]:
    """Copy the history stored under one namespace to another, or a thread, that has none yet."""
    there = checkpoint_key(to_thread, target)
    if (yield Call(saver.get_tuple, saver.aget_tuple, (there,))) is not None:
        return
    stored: list[CheckpointTuple] = yield list_checkpoints(saver, checkpoint_key(thread, source))
    for item in reversed(stored):
        yield from copy_checkpoint(saver, item, to_thread, target)


def namespaces(graph: Any, old: str, new: str) -> Iterator[tuple[str, str]]:
    """Yield the namespaces of a participant, under its old name and its new one."""
    yield old, new
    for namespace, _ in graph.get_subgraphs(recurse=True):
        yield f"{old}|{namespace}", f"{new}|{namespace}"
