"""The supervisor: asks its decider who works next, and follows the answer."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.managed import RemainingSteps
from langgraph.types import Command

from asterism.compaction import Compaction
from asterism.core.decision import (
    AskUser,
    ContinueStopped,
    Decision,
    RaiseLimit,
    RunPlan,
    UndoWork,
    VisitNext,
    decide_at_limit,
    dump_decision,
    finish_early,
    load_decision,
    resume_stopped,
    visit_as_plan,
    work_of,
)
from asterism.effects import Call, Steps, StepsNode
from asterism.errors import BudgetExceededError, RoutingError
from asterism.events import WorkflowEventType, is_told, tell
from asterism.nodes.background import STEPS_OF_FAILURE
from asterism.nodes.compacting import Compactor
from asterism.nodes.context import background_of, meter_of, path_of, workflow_path
from asterism.nodes.deciding import (
    Decided,
    Rules,
    compensation_of,
    decide,
    tries_of,
)
from asterism.nodes.engine import has_saver
from asterism.nodes.guards import goes_round, stall_complaint, stalled
from asterism.nodes.looking import looking
from asterism.nodes.protocol import AnyDecider, caller
from asterism.nodes.retrying import OnRetry, tell_retry
from asterism.nodes.routing import SUPERVISOR, route
from asterism.nodes.team import Team
from asterism.nodes.view import SupervisorView, facts_of, label
from asterism.state import WorkflowState

STEPS_OF_VISIT = 4
"""Engine steps that a visit, the decision after it, the answer and the end need."""


class SupervisorInput(WorkflowState):
    """What the node reads."""

    remaining_steps: RemainingSteps


def create_supervisor_node(
    decider: AnyDecider,
    team: Team,
    rules: Rules,
    compactor: Compactor | None = None,
    *,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> StepsNode:
    """Create the node that decides.

    Args:
        decider: Who decides.
        team: Who takes part.
        rules: What holds for every decision.
        compactor: Keeps its prompts short. None: they grow with the conversation.
        new_id: Makes the names of messages and handoffs.
    """
    ask = caller(decider)
    look = looking(decider, team, compactor)
    nodes = frozenset(team.members)

    def supervise(state: Any, config: RunnableConfig) -> Steps[Command[Any]]:
        background = background_of(config)
        if background.failure is not None:
            raise background.failure
        try:
            return (yield from follow(state, config))
        except RoutingError as error:
            if not has_saver(config) or state["remaining_steps"] < STEPS_OF_FAILURE:
                raise
            background.failure = error  # a node that raises stores nothing
            faults = error.faults or [("", str(error))]
            update: dict[str, Any] = {"tries": tries_of(new_id(), faults, failed=True)}
            if lines := meter_of(config).take(path_of(config, SUPERVISOR)):
                update["usage"] = lines
            return Command(update=update, goto=SUPERVISOR)

    def follow(state: Any, config: RunnableConfig) -> Steps[Command[Any]]:
        taken: int = state.get("iterations") or 0
        decided: Decided | None = None
        compaction: Compaction | None = None
        breach: dict[str, Any] | None = None
        before = load_decision(state.get("decision"))
        if isinstance(before, ContinueStopped) and (stopped := resume_stopped(before)):
            return _follow_on(visit_as_plan(stopped, nodes), state, team)
        made_up = compensation_of(state)
        if state.get("breach"):
            decision = decide_at_limit(state["breach"], before)
        elif taken >= rules.max_iterations and not isinstance(made_up, UndoWork):
            reason = f"max_iterations={rules.max_iterations} decisions were taken"
            decision = finish_early("limit", reason)
        else:
            taken += 1
            try:
                if made_up is None:
                    view, compaction = yield from look(state, config)
                    again = partial(_retried, config)
                    decided = yield from _next(state, view, team, ask, rules, again)
                    decision = decided.decision
                else:
                    decision = made_up
            except BudgetExceededError as error:
                if error.owner != workflow_path(config):
                    raise
                breach = error.facts()
                decision = decide_at_limit(breach, None)
            steps = STEPS_OF_VISIT + len(decision.tasks if isinstance(decision, RunPlan) else ())
            if work_of(decision) and state["remaining_steps"] < steps:
                decision = finish_early("limit", "the recursion_limit of the run is reached")
        decision = replace(visit_as_plan(decision, nodes), handoff_id=new_id())
        update = decision_update(decision, taken)
        if decided is not None:
            update |= decided.update
        faults = decided.faults if decided is not None else ()
        if faults or state.get("tries"):
            update["tries"] = tries_of(new_id(), faults, failed=False) if faults else None
        if compaction:
            update["compaction"] = compaction
        if update["status"] == state.get("status"):
            del update["status"]  # nothing is stored that stays as it is
        if breach:
            update["breach"] = breach
        if found := breach or state.get("breach"):
            tell(config, WorkflowEventType.BUDGET_EXCEEDED, path=workflow_path(config), **found)
        if is_told(config):
            _tell_decision(config, decision, taken)
        if decided is not None and decided.agents:
            update["agents"] = {**(state.get("agents") or {}), **decided.agents}
        after = {**state, **update}
        goto = route(after, team.live(after))
        if lines := meter_of(config).take(path_of(config, SUPERVISOR)):
            update["usage"] = lines
        return Command(update=update, goto=goto)

    return StepsNode(supervise, name=SUPERVISOR, graphs=tuple(getattr(decider, "graphs", ())))


def _tell_decision(config: RunnableConfig, decision: Decision, number: int) -> None:
    """Tell the event bus of a decision."""
    where = {"path": workflow_path(config), "iteration": number}
    if isinstance(decision, AskUser | RaiseLimit):
        tell(config, WorkflowEventType.ASKED, prompt=decision.user_prompt, **where)
    elif work := work_of(decision):
        facts = {
            "next_agent": work.get("next_agent"),
            "instruction": work.get("instruction") or None,
            "tasks": [task["task_id"] for task in work.get("tasks", ())] or None,
        }
        tell(config, WorkflowEventType.ROUTED, **facts, **where)


def _follow_on(decision: Decision, state: Mapping[str, Any], team: Team) -> Command[Any]:
    """Follow on a decision that a budget had stopped."""
    update = {"decision": dump_decision(decision), "status": "running"}
    after = {**state, **update}
    return Command(update=update, goto=route(after, team.live(after)))


def _retried(config: RunnableConfig, error: Exception, seconds: float) -> None:
    """Tell the event bus that the decider is asked again."""
    tell_retry(config, error, seconds, path=path_of(config, SUPERVISOR))


def _next(
    state: Mapping[str, Any],
    view: SupervisorView,
    team: Team,
    ask: Call,
    rules: Rules,
    on_retry: OnRetry,
) -> Steps[Decided]:
    """Decide, unless the work stands still and the rules say what happens then."""
    stall = stalled(state.get("reports") or ())
    reason = stall and stall_complaint(stall).split(". ")[0]
    if reason and rules.on_stall == "finish":
        return Decided(finish_early("stalled", reason))
    if reason and rules.on_stall == "ask_user":
        prompt = f"The work stands still: {reason}. What should be done next?"
        return Decided(AskUser(user_prompt=prompt))
    if stall:
        view = replace(view, complaints=(("", stall_complaint(stall)),))
    decided = yield from decide(view, ask, rules, team.creation, on_retry=on_retry)
    if reason and _insists(decided.decision, state):
        return Decided(finish_early("stalled", reason))
    return decided


def _insists(decision: Decision, state: Mapping[str, Any]) -> bool:
    """Whether a decision repeats what stands still, at once or after others in a round."""
    work = work_of(decision)
    if work is None or work == work_of(load_decision(state.get("decision"))):
        return work is not None
    marks = (facts_of(message).get("decision") for message in state["messages"])
    decided = [mark for mark in marks if mark is not None]
    return goes_round(work, state.get("reports") or (), decided)


def decision_update(decision: Decision, iterations: int) -> dict[str, Any]:
    """Return the update of the state that takes a decision.

    Args:
        decision: The decision.
        iterations: How many the request has taken with it.
    """
    return {
        "decision": dump_decision(decision),
        "iterations": iterations,
        "status": "waiting" if isinstance(decision, AskUser | RaiseLimit) else "running",
        "messages": list(_messages(decision)),
    }


def _messages(decision: Decision) -> Iterator[AIMessage]:
    """Show a decision in the history: who is sent to work, or what the user is asked."""
    facts = label(decision=work_of(decision))
    match decision:
        case AskUser(user_prompt=text) | RaiseLimit(user_prompt=text):
            facts = label(question=True)
        case RunPlan(tasks=tasks):
            lines = [f"- {t['task_id']} → {t['agent_id']}: {t['task_description']}" for t in tasks]
            text = "\n".join(["→ plan", *lines])
        case VisitNext(next_agent=name, instruction=instruction):
            text = f"→ {name}: {instruction}" if instruction else f"→ {name}"
        case _:
            return
    message_id = f"decision-{decision.handoff_id}"
    yield AIMessage(text, name=SUPERVISOR, id=message_id, response_metadata=facts)
