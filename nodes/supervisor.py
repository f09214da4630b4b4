"""The supervisor: asks its decider who works next, and follows the answer."""

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.managed import RemainingSteps
from langgraph.types import Command

from asterism.nodes.deciding import (
    AnyDecider,
    Rules,
    caller,
    decide,
    ending,
    question_of,
)
from asterism.nodes.effects import Call, Steps, StepsNode
from asterism.nodes.guards import same_visit, stall_complaint, stalled
from asterism.nodes.routing import SUPERVISOR, route
from asterism.nodes.view import SupervisorView, label
from asterism.state import Decision, WorkflowState

STEPS_OF_VISIT = 4
"""Engine steps that a visit, the decision after it, the answer and the end need."""


class SupervisorInput(WorkflowState):
    """What the node reads."""

    remaining_steps: RemainingSteps


def create_supervisor_node(
    decider: AnyDecider,
    participants: Mapping[str, str],
    rules: Rules,
    *,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> StepsNode:
    """Create the node that decides.

    Args:
        decider: Who decides.
        participants: The live participants, id and description.
        rules: What holds for every decision.
        new_id: Makes the names of messages and handoffs.
    """
    ask = caller(decider)

    def supervise(state: Any, config: RunnableConfig) -> Steps[Command[Any]]:
        taken: int = state.get("iterations") or 0
        if taken >= rules.max_iterations:
            reason = f"max_iterations={rules.max_iterations} decisions were taken"
            decision = ending("limit", reason)
        else:
            taken += 1
            decision = yield from _next(state, participants, ask, rules)
            if decision["next_agent"] and state["remaining_steps"] < STEPS_OF_VISIT:
                decision = ending("limit", "the recursion_limit of the run is reached")
        decision["handoff_id"] = new_id()
        update = {
            "decision": decision,
            "iterations": taken,
            "status": "waiting" if decision["user_input_needed"] else "running",
            "messages": list(_messages(decision)),
        }
        return Command(update=update, goto=route({**state, **update}, participants))

    return StepsNode(supervise, name=SUPERVISOR)


def _next(
    state: Mapping[str, Any], participants: Mapping[str, str], ask: Call, rules: Rules
) -> Steps[Decision]:
    """Decide, unless the work stands still and the rules say what happens then."""
    stall = stalled(state.get("reports") or ())
    reason = stall and stall_complaint(stall).split(". ")[0]
    if reason and rules.on_stall == "finish":
        return ending("stalled", reason)
    if reason and rules.on_stall == "ask_user":
        return question_of(f"The work stands still: {reason}. What should be done next?")
    view = SupervisorView(
        messages=state["messages"],
        participants=participants,
        reports=state.get("reports") or (),
        iterations=state.get("iterations") or 0,
        complaints=(("", stall_complaint(stall)),) if stall else (),
    )
    decision = yield from decide(view, ask, rules)
    if reason and same_visit(decision, state.get("decision")):
        return ending("stalled", reason)
    return decision


def _messages(decision: Decision) -> Iterator[AIMessage]:
    """Show a decision in the history: who is sent to work, or what the user is asked."""
    name, instruction = decision["next_agent"], decision["instruction"]
    if decision["user_input_needed"]:
        text = decision["user_prompt"] or ""
        facts = label(question=True)
    elif name is not None:
        text = f"→ {name}: {instruction}" if instruction else f"→ {name}"
        facts = label(decision={"next_agent": name, "instruction": instruction})
    else:
        return
    message_id = f"decision-{decision.get('handoff_id')}"
    yield AIMessage(text, name=SUPERVISOR, id=message_id, response_metadata=facts)
