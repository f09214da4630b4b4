"""The supervisor: asks its decider who works next, and follows the answer.

Guards of the supervisor, without a model: work that stands still, ends that come too early.

Looking: what a decider is shown of the state, kept to the policy there is.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.managed import RemainingSteps
from langgraph.types import Command

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
from asterism.core.state import Report, WorkflowState
from asterism.core.sync_async import Call, Steps, StepsNode
from asterism.errors import BudgetExceededError, RoutingError
from asterism.events import WorkflowEventType, emit, has_event_bus
from asterism.memories.context_policies import Compaction
from asterism.nodes.compaction import Compactor
from asterism.nodes.decider import (
    AnyDecider,
    DecisionRules,
    ValidatedDecision,
    ask_decider,
    decide_compensation,
    decider_call,
    tries_of,
)
from asterism.nodes.engine_keys import has_saver
from asterism.nodes.policies import OnRetry, emit_retry
from asterism.nodes.routing import SUPERVISOR, route
from asterism.nodes.run_context import (
    STEPS_OF_FAILURE,
    background_of,
    meter_of,
    participant_path,
    workflow_path,
)
from asterism.nodes.team import Team
from asterism.nodes.view import (
    SupervisorView,
    conversation,
    message_facts,
    message_label,
    pinned_message_ids,
)

STALL_LIMIT = 3
"""How often the same participant may give the same result to the same request."""
STALL_WINDOW = 50
"""How many of the latest reports are looked at."""


def find_stall(reports: Sequence[Report]) -> Report | None:
    """Return the last report where it says for the third time what was said before."""
    if not reports:
        return None
    last = reports[-1]
    same = {
        report["round"]
        for report in reports[-STALL_WINDOW:]
        if report["participant"] == last["participant"]
        and report["fingerprint"] == last["fingerprint"]
    }
    return last if len(same) >= STALL_LIMIT else None


def stall_feedback(report: Report) -> str:
    """Say to a decider what stands still."""
    return (
        f"{report['participant']} has given the same answer to the same instruction "
        f"{STALL_LIMIT} times. Choose somebody else, give another instruction, ask the user, or "
        "finish."
    )


def goes_round(
    work: Mapping[str, Any], reports: Sequence[Report], decided: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether a decision goes on with a round of visits that brings nothing new.

    Args:
        work: The work that the decision asks for, as `work_of` returns it.
        reports: The reports of this request.
        decided: What was decided before, as the history has it.
    """
    if decided.count(work) < STALL_LIMIT:
        return False
    tasks = work.get("tasks")
    agents = {task["agent_id"] for task in tasks} if tasks else {work["next_agent"]}
    rounds: dict[tuple[str, str], set[int]] = {}
    for report in reports[-STALL_WINDOW:]:
        key = report["participant"], report["fingerprint"]
        rounds.setdefault(key, set()).add(report["round"])
    return agents <= {who for (who, _), same in rounds.items() if len(same) >= STALL_LIMIT}


ViewAndCompaction = tuple[SupervisorView, Compaction | None]
"""What a decider is shown, and what stands for the rest if that is new."""

ViewBuilder = Callable[[Mapping[str, Any], RunnableConfig], Steps[ViewAndCompaction]]
"""Looks at the state for a decider."""


def create_view_builder(
    decider: AnyDecider, team: Team, compactor: Compactor | None
) -> ViewBuilder:
    """Make what shows a decider the state.

    Args:
        decider: Who decides. Where it has a method `prompt`, that is what must fit.
        team: Who takes part.
        compactor: Keeps its prompts short, if anything does.
    """
    prompt: Any = getattr(decider, "prompt", None)

    def look(state: Mapping[str, Any], config: RunnableConfig) -> Steps[ViewAndCompaction]:
        view = _view(state, team)
        if compactor is None:
            return view, None

        def write(messages: list[AnyMessage]) -> list[AnyMessage]:
            return prompt(replace(view, messages=messages)) if prompt else conversation(messages)

        messages, compaction = yield from compactor.fit(
            cast(Sequence[AnyMessage], view.messages),
            state.get("compaction"),
            config,
            path=participant_path(config, SUPERVISOR),
            write=write,
            pinned=pinned_message_ids,
        )
        return replace(view, messages=messages), compaction

    return look


def _view(state: Mapping[str, Any], team: Team) -> SupervisorView:
    """Show a decider the state."""
    return SupervisorView(
        messages=state["messages"],
        participants=team.live(state),
        reports=state.get("reports") or (),
        iterations=state.get("iterations") or 0,
        request="\n\n".join(state.get("brief") or ()),
        state=state,
    )


STEPS_OF_VISIT = 4
"""Engine steps that a visit, the decision after it, the answer and the end need."""


class SupervisorInput(WorkflowState):
    """What the node reads."""

    remaining_steps: RemainingSteps


def create_supervisor_node(
    decider: AnyDecider,
    team: Team,
    rules: DecisionRules,
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
    ask = decider_call(decider)
    look = create_view_builder(decider, team, compactor)
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
            if lines := meter_of(config).take(participant_path(config, SUPERVISOR)):
                update["usage"] = lines
            return Command(update=update, goto=SUPERVISOR)

    def follow(state: Any, config: RunnableConfig) -> Steps[Command[Any]]:
        taken: int = state.get("iterations") or 0
        decided: ValidatedDecision | None = None
        compaction: Compaction | None = None
        breach: dict[str, Any] | None = None
        before = load_decision(state.get("decision"))
        if isinstance(before, ContinueStopped) and (stopped := resume_stopped(before)):
            return _follow_on(visit_as_plan(stopped, nodes), state, team)
        made_up = decide_compensation(state)
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
                    again = partial(_emit_retry, config)
                    decided = yield from _decide_or_stall(state, view, team, ask, rules, again)
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
            emit(config, WorkflowEventType.BUDGET_EXCEEDED, path=workflow_path(config), **found)
        if has_event_bus(config):
            _emit_decision(config, decision, taken)
        if decided is not None and decided.agents:
            update["agents"] = {**(state.get("agents") or {}), **decided.agents}
        after = {**state, **update}
        goto = route(after, team.live(after))
        if lines := meter_of(config).take(participant_path(config, SUPERVISOR)):
            update["usage"] = lines
        return Command(update=update, goto=goto)

    return StepsNode(supervise, name=SUPERVISOR, graphs=tuple(getattr(decider, "graphs", ())))


def _emit_decision(config: RunnableConfig, decision: Decision, number: int) -> None:
    """Tell the event bus of a decision."""
    where = {"path": workflow_path(config), "iteration": number}
    if isinstance(decision, AskUser | RaiseLimit):
        emit(config, WorkflowEventType.ASKED, prompt=decision.user_prompt, **where)
    elif work := work_of(decision):
        facts = {
            "next_agent": work.get("next_agent"),
            "instruction": work.get("instruction") or None,
            "tasks": [task["task_id"] for task in work.get("tasks", ())] or None,
        }
        emit(config, WorkflowEventType.ROUTED, **facts, **where)


def _follow_on(decision: Decision, state: Mapping[str, Any], team: Team) -> Command[Any]:
    """Follow on a decision that a budget had stopped."""
    update = {"decision": dump_decision(decision), "status": "running"}
    after = {**state, **update}
    return Command(update=update, goto=route(after, team.live(after)))


def _emit_retry(config: RunnableConfig, error: Exception, seconds: float) -> None:
    """Tell the event bus that the decider is asked again."""
    emit_retry(config, error, seconds, path=participant_path(config, SUPERVISOR))


def _decide_or_stall(
    state: Mapping[str, Any],
    view: SupervisorView,
    team: Team,
    ask: Call,
    rules: DecisionRules,
    on_retry: OnRetry,
) -> Steps[ValidatedDecision]:
    """Decide, unless the work stands still and the rules say what happens then."""
    stall = find_stall(state.get("reports") or ())
    reason = stall and stall_feedback(stall).split(". ")[0]
    if reason and rules.on_stall == "finish":
        return ValidatedDecision(finish_early("stalled", reason))
    if reason and rules.on_stall == "ask_user":
        prompt = f"The work stands still: {reason}. What should be done next?"
        return ValidatedDecision(AskUser(user_prompt=prompt))
    if stall:
        view = replace(view, complaints=(("", stall_feedback(stall)),))
    decided = yield from ask_decider(view, ask, rules, team.creation, on_retry=on_retry)
    if reason and _insists(decided.decision, state):
        return ValidatedDecision(finish_early("stalled", reason))
    return decided


def _insists(decision: Decision, state: Mapping[str, Any]) -> bool:
    """Whether a decision repeats what stands still, at once or after others in a round."""
    work = work_of(decision)
    if work is None or work == work_of(load_decision(state.get("decision"))):
        return work is not None
    marks = (message_facts(message).get("decision") for message in state["messages"])
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
    facts = message_label(decision=work_of(decision))
    match decision:
        case AskUser(user_prompt=text) | RaiseLimit(user_prompt=text):
            facts = message_label(question=True)
        case RunPlan(tasks=tasks):
            lines = [f"- {t['task_id']} → {t['agent_id']}: {t['task_description']}" for t in tasks]
            text = "\n".join(["→ plan", *lines])
        case VisitNext(next_agent=name, instruction=instruction):
            text = f"→ {name}: {instruction}" if instruction else f"→ {name}"
        case _:
            return
    message_id = f"decision-{decision.handoff_id}"
    yield AIMessage(text, name=SUPERVISOR, id=message_id, response_metadata=facts)
