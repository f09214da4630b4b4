"""The node that runs a plan: it visits several participants at once, each when it is due.

Open it for how tasks start, stop, are delegated and are rebuilt after a crash; the order of tasks
is in asterism/core/plan.py. Tests: tests/graphs/test_plans.py.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.runtime import get_runtime
from langgraph.types import Command, Interrupt

from asterism.core.decision import RunPlan, load_decision
from asterism.core.plan import Schedule, Skipped, SubAgentTask
from asterism.core.state import Report, VisitRequest, WorkflowState
from asterism.core.sync_async import Call, Steps, StepsNode
from asterism.core.values import describe_error, log_failure
from asterism.errors import BudgetExceededError
from asterism.nodes.engine_keys import is_resuming, participant_place
from asterism.nodes.participant import Visit
from asterism.nodes.policies import VisitResult
from asterism.nodes.report import failure_report, report_message
from asterism.nodes.routing import (
    DISPATCH,
    SUPERVISOR,
    handoff_id,
    request_media,
    task_handoff,
    write_request,
)
from asterism.nodes.run_context import (
    RunContext,
    VisitOutcome,
    background_of,
    outside_step_span,
    workflow_path,
)
from asterism.nodes.steering import waiting_for_supervisor
from asterism.nodes.team import Team
from asterism.nodes.view import fenced_report
from asterism.prompts import render

_log = logging.getLogger(__name__)


@dataclass
class RunningPlan:
    """A plan under way: what stands in state, kept in a form that is quick to ask."""

    id: str
    decided: object
    """The tasks as they stand in state."""
    tasks: dict[str, SubAgentTask]
    schedule: Schedule
    media: list[dict[str, Any]]
    """The pictures, recordings and files of the request."""
    agents: dict[str, str]
    """The participant of each task: the one that the plan names, or its successor."""
    tried: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """The participants that have tried each task."""
    reports: dict[str, Report] = field(default_factory=dict[str, Report])
    begun: frozenset[str] = frozenset()
    """The tasks that may have begun before the run was stopped."""
    passed_on: set[str] = field(default_factory=set[str])
    """The tasks that somebody took over, who has not begun with them."""
    stopped: dict[str, BaseException] = field(default_factory=dict[str, BaseException])
    """The tasks that wait for a person, or were stopped from outside."""
    breach: dict[str, Any] | None = None
    """The facts of the budget of the workflow that a task has used up: no further task begins."""


def create_plan_runner_node(team: Team, *, max_parallel_tasks: int) -> StepsNode:
    """Create the node that follows a plan.

    Each of its steps starts what is due, waits until something is done, and writes the
    reports; so progress is in state, and a crash costs only what was being done.

    Args:
        team: Who takes part.
        max_parallel_tasks: How many tasks may run at once.
    """

    def dispatch(state: Any, config: RunnableConfig) -> Steps[Command[Any] | list[Command[Any]]]:
        background = background_of(config)
        plan, due = _plan(state, background, max_parallel_tasks, config)
        live = team.live(state)
        steered = bool((yield from waiting_for_supervisor(state, config, live)))
        results: list[VisitResult] = []
        beside = outside_step_span(config)
        while not results or ((is_draining() or steered) and background.names):
            rests = is_draining() or plan.breach or steered  # of what has begun, all is waited for
            due += [] if rests else plan.schedule.start()
            visits = {name: partial(_visit, plan, name, state, beside, team) for name in due}
            if not visits and not background.names:
                break
            done = yield Call(background.start_and_wait, background.aadvance, (visits, beside))
            due = []
            results += _record_results(plan, done, state)
            steered = steered or bool((yield from waiting_for_supervisor(state, config, live)))
        begun = [
            name
            for name in state.get("running") or ()
            if name not in plan.reports and name not in plan.passed_on
        ]
        running = list(dict.fromkeys([*begun, *background.names, *plan.stopped]))
        update: dict[str, Any] = {
            "reports": [result.report for result in results],
            "messages": [],
            "running": running,
        }
        last: Command[Any]
        further: list[Command[Any]] = []  # one write each, so that reducers and conflicts count
        for result in results:
            left = {**result.update} or {"messages": [report_message(result.report)]}
            update["messages"] += left.pop("messages")
            further += [Command(update=left)] if left else []
        if (plan.stopped or plan.breach) and not background.names:
            if breach := plan.breach or _own_exceeded_budget(plan.stopped, workflow_path(config)):
                last = Command(update={**update, "breach": breach}, goto=SUPERVISOR)
                return [*further, last] if further else last
            if not results and set(running) == set(state.get("running") or ()):
                _raise(plan.stopped)
        over = plan.schedule.done or not (running or results or is_draining())
        over = over or (steered and not running)  # the supervisor makes the rest of the plan anew
        last = Command(update=update, goto=SUPERVISOR if over else DISPATCH)
        return [*further, last] if further else last

    return StepsNode(dispatch, name=DISPATCH)


def is_draining() -> bool:
    """Whether the run has been asked to stop; then what runs is waited for, all of it."""
    return get_runtime().drain_requested


def _plan(
    state: WorkflowState, background: RunContext, limit: int, config: RunnableConfig
) -> tuple[RunningPlan, list[str]]:
    """Return the plan that is being followed, and the tasks that a stop had cut off."""
    loaded = load_decision(state["decision"])
    decision = loaded if isinstance(loaded, RunPlan) else RunPlan(tasks=[])
    name = decision.handoff_id or handoff_id(decision, ())
    plan: RunningPlan | None = background.plan
    if plan is not None and plan.id == name and plan.decided == decision.tasks:
        return plan, []
    tasks = [SubAgentTask.model_validate(task) for task in decision.tasks]
    plan = RunningPlan(
        id=name,
        decided=decision.tasks,
        tasks={task.task_id: task for task in tasks},
        schedule=Schedule(tasks, limit=limit),
        media=request_media(state),
        agents={task.task_id: task.agent_id for task in tasks},
    )
    background.plan = plan
    written = {report["id"]: report for report in state.get("reports") or ()}
    for name in plan.tasks:
        while name not in plan.reports and (report := written.get(_handoff(plan, name))):
            _record_report(plan, report)
    if is_resuming(config):  # the engine says so in the first step only
        plan.begun = frozenset(
            name
            for name, task in plan.tasks.items()
            if name not in plan.reports and plan.reports.keys() >= set(task.dependencies)
        )
    else:
        plan.begun = frozenset(state.get("running") or ())
    return plan, plan.schedule.start(first=state.get("running") or ())


def _handoff(plan: RunningPlan, name: str) -> str:
    return task_handoff(plan.id, plan.tasks[name], plan.agents[name])


def _record_report(plan: RunningPlan, report: Report) -> list[Skipped]:
    """Note what came of a task: a result, or somebody else who takes over."""
    name = report.get("task") or ""
    plan.tried.setdefault(name, set()).add(report["participant"])
    heir = (report.get("compensation") or {}).get("to")
    if heir is not None and heir not in plan.tried[name]:
        plan.agents[name] = heir
        plan.passed_on.add(name)
        plan.schedule.reassign(name, heir)
        return []
    plan.reports[name] = report
    return plan.schedule.finish(name, ok=report["status"] == "ok")


def _record_results(
    plan: RunningPlan, done: Mapping[str, VisitOutcome], state: Mapping[str, Any]
) -> list[VisitResult]:
    """Record what is done in the plan; return the results, and those of skipped tasks."""
    results: list[VisitResult] = []
    for name, outcome in done.items():
        if isinstance(outcome, BaseException):
            plan.stopped[name] = outcome
            plan.schedule.park(name)
            continue
        results.append(outcome)
        plan.breach = plan.breach or outcome.breach
        for skipped in _record_report(plan, outcome.report):
            visit = _request(plan, skipped.task_id, state)
            why = f"skipped, because the task {skipped.because!r} has no result"
            report = failure_report(visit, "dependency_failed", why, attempts=0)
            plan.reports[skipped.task_id] = report
            results.append(VisitResult(report))
    return results


def _visit(
    plan: RunningPlan, name: str, state: Mapping[str, Any], config: RunnableConfig, team: Team
) -> Steps[VisitResult]:
    """Make the visit that a task asks for."""
    agent = plan.agents[name]
    request = _request(plan, name, state)
    try:
        runtime = team.runtime(agent, plan.tasks[name], state)
    except GraphBubbleUp:
        raise
    except Exception as error:  # noqa: BLE001 - a created agent may be impossible to make
        log_failure(_log, "the agent %s cannot be made", agent, error=error)
        fault = describe_error(error)
        return VisitResult(failure_report(request, "agent_failed", fault, attempts=0))
    if runtime is None:
        fault = f"{agent!r} does not take part any more"
        return VisitResult(failure_report(request, "agent_removed", fault, attempts=0))
    if runtime.grant is not None:
        request["state_input"] = runtime.grant.state_input(name, request["id"], state)
    overrides = participant_place(config, agent)
    visit = Visit(
        runtime=runtime,
        request=request,
        config={**config, "configurable": overrides},
        overrides=overrides,
        resumes=name in plan.begun,
    )
    return (yield from visit.run())


def _request(plan: RunningPlan, name: str, state: Mapping[str, Any]) -> VisitRequest:
    """Write what the participant of a task is sent: with the results that the task needs."""
    task = plan.tasks[name]
    context = task.context or ""
    needed = [plan.reports[other] for other in task.dependencies if other in plan.reports]
    parts = [
        task.task_description,
        context if isinstance(context, str) else json.dumps(context, indent=2),
        _results(needed),
    ]
    instruction = "\n\n".join(part for part in parts if part)
    visit = VisitRequest(
        id=_handoff(plan, name),
        participant=plan.agents[name],
        request=write_request(state.get("brief") or (), instruction),
        round=state.get("iterations") or 0,
        task=name,
    )
    media = plan.media + [block for r in needed for block in r.get("media") or ()]
    if media:
        visit["media"] = media
    return visit


def _results(reports: Sequence[Report]) -> str:
    if not reports:
        return ""
    shown = [fenced_report(r["participant"], r["text"], r["status"]) for r in reports]
    return render("results", reports="\n\n".join(shown))


def _own_exceeded_budget(stopped: Mapping[str, BaseException], owner: str) -> dict[str, Any] | None:
    """Return the facts of the budget that has stopped a visit and that this workflow sees to."""
    breaches = (e for e in stopped.values() if isinstance(e, BudgetExceededError))
    return next((e.facts() for e in breaches if e.owner == owner), None)


def _raise(stopped: Mapping[str, BaseException]) -> None:
    """Stop as the visits did: for a fault that ends the run, else to wait for people."""
    interrupts: list[Interrupt] = []
    for reason in stopped.values():
        if not isinstance(reason, GraphInterrupt):
            raise reason
        interrupts += reason.args[0]
    raise GraphInterrupt(interrupts)
