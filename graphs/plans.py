"""Plans under way, as a stored run shows them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from langgraph.types import PregelTask, StateSnapshot

from asterism.core.decision import RunPlan, load_decision
from asterism.effects import Call, Steps
from asterism.nodes.engine import lent
from asterism.nodes.routing import DISPATCH
from asterism.nodes.team import Team
from asterism.plain import as_dict


def open_tasks(snapshot: StateSnapshot) -> dict[str, str]:
    """Return the tasks of the plan that are not done yet, each with who does it."""
    values = as_dict(snapshot.values)
    decision = load_decision(values.get("decision"))
    if DISPATCH not in snapshot.next or not isinstance(decision, RunPlan):
        return {}
    agents: dict[str, str] = {task["task_id"]: task["agent_id"] for task in decision.tasks}
    taken = values.get("iterations")
    for report in values.get("reports") or ():
        if report["round"] == taken and (name := report.get("task")) in agents:
            heir = as_dict(report.get("compensation")).get("to")
            if heir is None:
                del agents[name]
            else:
                agents[name] = heir
    return agents


def running_participants(snapshot: StateSnapshot) -> set[str]:
    """Return who is at work for a plan, or waits for a person in the middle of it."""
    running = as_dict(snapshot.values).get("running") or ()
    return {agent for task, agent in open_tasks(snapshot).items() if task in running}


def seen(snapshot: StateSnapshot, team: Team, saver: Any) -> Steps[StateSnapshot]:
    """Show the visits of a plan under way, as the engine shows those of its own nodes."""
    visits: list[PregelTask] = []
    for name in sorted(running_participants(snapshot)):
        member = None
        with suppress(Exception):  # a created agent may be impossible to make, by now
            member = team.member(name, as_dict(snapshot.values))
        if member is None:  # it takes no part any more
            visits.append(PregelTask("", name, ((),)))
            continue
        place = lent(snapshot.config, saver, name)
        read = (member.graph.get_state, member.graph.aget_state)
        found: StateSnapshot = yield Call(*read, (place,), {"subgraphs": True})
        visits.append(PregelTask("", name, ((),), interrupts=found.interrupts, state=found))
    return _with_visits(snapshot, _claimed(snapshot, visits)) if visits else snapshot


def _claimed(snapshot: StateSnapshot, visits: Sequence[PregelTask]) -> list[PregelTask]:
    """Give the questions that nobody's state shows to the one visit that shows none."""
    shown = {interrupt.id for visit in visits for interrupt in visit.interrupts}
    rest = tuple(i for i in snapshot.interrupts if i.id not in shown)
    silent = [visit for visit in visits if not visit.interrupts]
    if len(silent) != 1:
        return [*visits]
    return [visit._replace(interrupts=rest) if visit is silent[0] else visit for visit in visits]


def _with_visits(snapshot: StateSnapshot, visits: Sequence[PregelTask]) -> StateSnapshot:
    inner = StateSnapshot(
        values={"reports": as_dict(snapshot.values).get("reports") or []},
        next=tuple(visit.name for visit in visits),
        config=snapshot.config,
        metadata=None,
        created_at=None,
        parent_config=None,
        tasks=tuple(visits),
        interrupts=(),
    )
    tasks: list[Any] = [
        task._replace(state=inner) if task.name == DISPATCH else task for task in snapshot.tasks
    ]
    return snapshot._replace(tasks=tuple(tasks))
