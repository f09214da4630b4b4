"""Participants that were renamed or removed while a stored run waited for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import StateSnapshot, StateUpdate

from asterism.checkpoints import Saver, copied, listed, place
from asterism.core.decision import RunPlan, VisitNext, dump_decision, load_decision
from asterism.effects import Call, Steps
from asterism.errors import UnknownParticipantError
from asterism.graphs.plans import open_tasks
from asterism.nodes.routing import HUMAN, SUPERVISOR
from asterism.runs import Graph


def renaming(
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


def replanning(
    snapshot: StateSnapshot, new_names: Mapping[str, str | None], names: Sequence[str]
) -> StateUpdate | None:
    """Write the update that gives the open tasks of a plan to those who take over, if any.

    Raises:
        UnknownParticipantError: It is not said who takes over, or that one is not there.
    """
    lost = {task: agent for task, agent in open_tasks(snapshot).items() if agent not in names}
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


def moves(graph: Graph, thread: str, new_names: Mapping[str, str | None]) -> Steps[None]:
    """Let the memory of participants that were renamed go with them."""
    saver = cast(Saver, graph.checkpointer)
    graphs: dict[str, Any] = dict(cast(Any, graph.get_subgraphs()))
    for old, heir in new_names.items():
        if heir in graphs and old not in graphs:
            for source, target in namespaces(graphs[heir], old, heir):
                yield from copy_memory(saver, thread, source, thread, target)


def copy_memory(saver: Saver, thread: str, source: str, to_thread: str, target: str) -> Steps[None]:
    """Copy the history stored under one namespace to another, or a thread, that has none yet."""
    there = place(to_thread, target)
    if (yield Call(saver.get_tuple, saver.aget_tuple, (there,))) is not None:
        return
    stored: list[CheckpointTuple] = yield listed(saver, place(thread, source))
    for item in reversed(stored):
        yield from copied(saver, item, to_thread, target)


def namespaces(graph: Any, old: str, new: str) -> Iterator[tuple[str, str]]:
    """Yield the namespaces of a participant, under its old name and its new one."""
    yield old, new
    for namespace, _ in graph.get_subgraphs(recurse=True):
        yield f"{old}|{namespace}", f"{new}|{namespace}"
