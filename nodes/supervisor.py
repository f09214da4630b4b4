"""The node of the supervisor: it asks the decider who works next, and follows the decision.

Open it for the order of the rules around a decision: limits, compensation, stalled work, budgets.
How the decider is asked is in nodes/decider.py. Tests: tests/nodes/test_supervisor.py,
tests/graphs/test_statuses.py.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.managed import RemainingSteps
from langgraph.types import Command

from asterism.core.decision import (
    AskUser,
    ContinueStopped,
    Decision,
    FinishRun,
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
from asterism.core.steering import taken_ids
from asterism.core.sync_async import Steps, StepsNode
from asterism.errors import BudgetExceededError, RoutingError
from asterism.events import WorkflowEventType, emit, has_event_bus
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
from asterism.nodes.policies import emit_retry
from asterism.nodes.routing import SUPERVISOR, route
from asterism.nodes.run_context import (
    STEPS_OF_FAILURE,
    background_of,
    meter_of,
    participant_path,
    workflow_path,
)
from asterism.nodes.steering import waiting_for_supervisor
from asterism.nodes.team import Team
from asterism.nodes.view import (
    SupervisorView,
    conversation,
    message_facts,
    message_label,
    pinned_message_ids,
)

if TYPE_CHECKING:
    from asterism.memories.context_policies import Compaction
    from asterism.nodes.compaction import Compactor

STALL_LIMIT = 3
"""The number of equal results to equal requests that count as a stall."""
STALL_WINDOW = 50
"""The number of latest reports that are searched for a stall."""


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


def stall_reason(report: Report) -> str:
    """Write what stands still."""
    return (
        f"{report['participant']} has given the same answer to the same instruction "
        f"{STALL_LIMIT} times"
    )


def stall_feedback(report: Report) -> str:
    """Write what a decider is told of work that stands still."""
    return (
        f"{stall_reason(report)}. Choose somebody else, give another instruction, ask the user, or "
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


STEPS_OF_VISIT = 4
"""Engine steps that a visit, the decision after it, the answer and the end need."""


class SupervisorInput(WorkflowState):
    """The state that the node reads."""

    remaining_steps: RemainingSteps


@dataclass(kw_only=True)
class Supervisor:
    """The logic of the node that decides who works next."""

    decider: AnyDecider
    team: Team
    rules: DecisionRules
    compactor: "Compactor | None"
    """Keeps the decider's prompts short. None: they grow with the conversation."""
    new_id: Callable[[], str]
    """The function that makes ids of messages and handoffs."""

    def __post_init__(self) -> None:
        """Look up what holds for all decisions."""
        self._ask = decider_call(self.decider)
        self._nodes = frozenset(self.team.members)

    def supervise(self, state: Any, config: RunnableConfig) -> Steps[Command[Any]]:
        """Decide, and return the command that follows the decision."""
        background = background_of(config)
        if background.failure is not None:
            raise background.failure.with_traceback(None)  # this step is the one that raises it
        compaction: Compaction | None = None
        steered: list[HumanMessage] = []
        breach: dict[str, Any] | None = None
        try:
            before = load_decision(state.get("decision"))
            if isinstance(before, ContinueStopped) and (stopped := resume_stopped(before)):
                return self._follow_stopped(stopped, state)
            decision, number = self._decide_by_rule(state, before)
            decided = ValidatedDecision(decision) if decision is not None else None
            if decided is None:
                new = yield from waiting_for_supervisor(state, config, self.team.live(state))
                try:
                    while True:
                        steered += new
                        state = _with_steering(state, new)
                        view, compaction = yield from self._build_view(state, config)
                        on_retry = partial(_emit_retry, config)
                        decided = yield from ask_decider(
                            view, self._ask, self.rules, self.team.creation, on_retry=on_retry
                        )
                        if not isinstance(decided.decision, FinishRun | AskUser):
                            break  # what comes meanwhile is seen at the next decision
                        live = self.team.live(state)
                        if not (new := (yield from waiting_for_supervisor(state, config, live))):
                            break
                except BudgetExceededError as error:
                    if error.owner != workflow_path(config):
                        raise
                    breach = error.facts()
                    decided = ValidatedDecision(decide_at_limit(breach, None))
                else:
                    stall = find_stall(view.reports)
                    if stall and _insists(decided.decision, state):
                        decided = ValidatedDecision(finish_early("stalled", stall_reason(stall)))
            update = self._update(state, decided, number)
            if steered:
                update["messages"] = [*steered, *update["messages"]]
                update["brief"] = [message.text for message in steered]
                background.taken.update(taken_ids(steered))
            if compaction:
                update["compaction"] = compaction
            if breach:
                update["breach"] = breach
            return self._follow(state, update, config)
        except RoutingError as error:
            if not has_saver(config) or state["remaining_steps"] < STEPS_OF_FAILURE:
                raise
            background.failure = error  # a node that raises stores nothing
            faults = error.faults or [("", str(error))]
            update = {"tries": tries_of(self.new_id(), faults, failed=True)}
            return Command(update={**update, **_usage_update(config)}, goto=SUPERVISOR)

    def _decide_by_rule(
        self, state: Mapping[str, Any], before: Decision | None
    ) -> tuple[Decision | None, int]:
        """Decide without the decider, where a rule says what follows; count the decision.

        Returns:
            The decision, or None for the decider to be asked; and its number in the request.
        """
        taken: int = state.get("iterations") or 0
        made_up = decide_compensation(state)
        if state.get("breach"):
            return decide_at_limit(state["breach"], before), taken
        if taken >= self.rules.max_iterations and not isinstance(made_up, UndoWork):
            reason = f"max_iterations={self.rules.max_iterations} decisions were taken"
            return finish_early("limit", reason), taken
        stall = find_stall(state.get("reports") or ()) if made_up is None else None
        if stall and self.rules.on_stall == "finish":
            return finish_early("stalled", stall_reason(stall)), taken + 1
        if stall and self.rules.on_stall == "ask_user":
            prompt = f"The work stands still: {stall_reason(stall)}. What should be done next?"
            return AskUser(user_prompt=prompt), taken + 1
        return made_up, taken + 1

    def _build_view(
        self, state: Mapping[str, Any], config: RunnableConfig
    ) -> "Steps[tuple[SupervisorView, Compaction | None]]":
        """Build the decider's view, compacted to the context policy.

        Returns:
            The view, and what stands for the rest of the history if that is new.
        """
        view = SupervisorView(
            messages=state["messages"],
            participants=self.team.live(state),
            reports=state.get("reports") or (),
            iterations=state.get("iterations") or 0,
            request="\n\n".join(state.get("brief") or ()),
            state=state,
        )
        compaction: Compaction | None = None
        if self.compactor is not None:
            prompt: Any = getattr(self.decider, "prompt", None)
            whole = view

            def write(messages: list[AnyMessage]) -> list[AnyMessage]:
                shown = replace(whole, messages=messages)
                return prompt(shown) if prompt else conversation(messages)

            messages, compaction = yield from self.compactor.fit(
                cast(Sequence[AnyMessage], view.messages),
                state.get("compaction"),
                config,
                path=participant_path(config, SUPERVISOR),
                write=write,
                pinned=pinned_message_ids,
            )
            view = replace(view, messages=messages)
        if stall := find_stall(view.reports):
            view = replace(view, complaints=(("", stall_feedback(stall)),))
        return view, compaction

    def _update(
        self, state: Mapping[str, Any], decided: ValidatedDecision, number: int
    ) -> dict[str, Any]:
        """Write the update of the state that takes a decision."""
        decision = decided.decision
        steps = STEPS_OF_VISIT + len(decision.tasks if isinstance(decision, RunPlan) else ())
        if work_of(decision) and state["remaining_steps"] < steps:
            decision = finish_early("limit", "the recursion_limit of the run is reached")
        decision = replace(visit_as_plan(decision, self._nodes), handoff_id=self.new_id())
        update = {**decision_update(decision, number), **decided.update}
        if decided.faults or state.get("tries"):
            faults = decided.faults
            update["tries"] = tries_of(self.new_id(), faults, failed=False) if faults else None
        if update["status"] == state.get("status"):
            del update["status"]  # nothing is stored that stays as it is
        if decided.agents:
            update["agents"] = {**(state.get("agents") or {}), **decided.agents}
        return update

    def _follow(
        self, state: Mapping[str, Any], update: dict[str, Any], config: RunnableConfig
    ) -> Command[Any]:
        """Emit a decision, and go where it says."""
        after = {**state, **update}
        if after.get("breach"):
            path = workflow_path(config)
            emit(config, WorkflowEventType.BUDGET_EXCEEDED, path=path, **after["breach"])
        if has_event_bus(config):
            _emit_decision(config, load_decision(update["decision"]), update["iterations"])
        goto = route(after, self.team.live(after))
        return Command(update={**update, **_usage_update(config)}, goto=goto)

    def _follow_stopped(self, decision: Decision, state: Mapping[str, Any]) -> Command[Any]:
        """Follow a decision that a budget had stopped."""
        decision = visit_as_plan(decision, self._nodes)
        update = {"decision": dump_decision(decision), "status": "running"}
        after = {**state, **update}
        return Command(update=update, goto=route(after, self.team.live(after)))


def _with_steering(state: Mapping[str, Any], new: Sequence[HumanMessage]) -> Mapping[str, Any]:
    """Return the state as it is once steering messages are taken in."""
    if not new:
        return state
    brief = [*(state.get("brief") or ()), *(message.text for message in new)]
    return {**state, "messages": [*state["messages"], *new], "brief": brief}


def _usage_update(config: RunnableConfig) -> dict[str, Any]:
    """Take what the supervisor's own calls have used, as an update of the state."""
    lines = meter_of(config).take(participant_path(config, SUPERVISOR))
    return {"usage": lines} if lines else {}


def create_supervisor_node(
    decider: AnyDecider,
    team: Team,
    rules: DecisionRules,
    compactor: "Compactor | None" = None,
    *,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> StepsNode:
    """Create the node that decides.

    Args:
        decider: The decider. Where it has a method `prompt`, its messages are what must fit.
        team: The participants.
        rules: The rules of every decision.
        compactor: Keeps its prompts short. None: they grow with the conversation.
        new_id: Makes the names of messages and handoffs.
    """
    supervisor = Supervisor(
        decider=decider, team=team, rules=rules, compactor=compactor, new_id=new_id
    )
    graphs = tuple(getattr(decider, "graphs", ()))
    return StepsNode(supervisor.supervise, name=SUPERVISOR, graphs=graphs)


def _emit_decision(config: RunnableConfig, decision: Decision | None, number: int) -> None:
    """Tell the event bus of a decision."""
    where = {"path": workflow_path(config), "iteration": number}
    if isinstance(decision, AskUser | RaiseLimit):
        emit(config, WorkflowEventType.ASKED, prompt=decision.user_prompt, **where)
    elif decision is not None and (work := work_of(decision)):
        facts = {
            "next_agent": work.get("next_agent"),
            "instruction": work.get("instruction") or None,
            "tasks": [task["task_id"] for task in work.get("tasks", ())] or None,
        }
        emit(config, WorkflowEventType.ROUTED, **facts, **where)


def _emit_retry(config: RunnableConfig, error: Exception, seconds: float) -> None:
    """Tell the event bus that the decider is asked again."""
    emit_retry(config, error, seconds, path=participant_path(config, SUPERVISOR))


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
