"""The supervisor: asks its decider who works next, and follows the answer."""

import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, cast, runtime_checkable

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.managed import RemainingSteps
from langgraph.types import Command

from asterism.decisions import SupervisorDecision, read_decision, said_text
from asterism.errors import BadDecisionError, RoutingError
from asterism.nodes.effects import Call, Steps, StepsNode, both_ways
from asterism.nodes.routing import SUPERVISOR, route
from asterism.nodes.view import SupervisorView, label
from asterism.state import Decision, WorkflowState

STEPS_OF_VISIT = 4
"""Engine steps that a visit, the decision after it, the answer and the end need."""

Said = SupervisorDecision | AIMessage | Mapping[str, Any]
"""What a decider may return: a decision, its fields, or a model's message that carries one."""

DeciderFunction = Callable[[SupervisorView], Said | Awaitable[Said]]
"""A rule, a classifier or a person: a sync or async function of the view."""


@runtime_checkable
class Decider(Protocol):
    """Decides who works next. Any function of a `SupervisorView` fits as well."""

    def decide(self, view: SupervisorView) -> Said:
        """Return the decision."""
        ...

    async def adecide(self, view: SupervisorView) -> Said:
        """Return the decision."""
        ...


class SupervisorInput(WorkflowState):
    """What the node reads."""

    remaining_steps: RemainingSteps


def create_supervisor_node(
    decider: Decider | DeciderFunction | Runnable[Any, Any],
    participants: Mapping[str, str],
    *,
    max_iterations: int,
    max_repairs: int,
    fallback: str | None = None,
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> StepsNode:
    """Create the node that decides.

    Args:
        decider: Who decides.
        participants: The live participants, id and description.
        max_iterations: How many decisions one request may take.
        max_repairs: How often a bad decision is asked for again.
        fallback: What happens when no decision is valid: `"ask_user"`, `"finish"`, the id of
            a participant, or None to raise `RoutingError`.
        new_id: Makes the names of messages and handoffs.
    """
    names = tuple(participants)
    ask = _callers(decider)

    def supervise(state: Any, config: RunnableConfig) -> Steps[Command[Any]]:
        taken = state.get("iterations") or 0
        if taken >= max_iterations:
            reason = f"max_iterations={max_iterations} decisions were taken"
            decision = _ending("limit", reason)
        else:
            taken += 1
            view = SupervisorView(
                messages=state["messages"],
                participants=participants,
                reports=state.get("reports") or (),
                iterations=taken - 1,
            )
            decision = yield from _decide(view, names, ask, max_repairs, fallback)
            if decision["next_agent"] and state["remaining_steps"] < STEPS_OF_VISIT:
                decision = _ending("limit", "the recursion_limit of the run is reached")
        decision["handoff_id"] = new_id()
        update = {
            "decision": decision,
            "iterations": taken,
            "status": "waiting" if decision["user_input_needed"] else "running",
            "messages": list(_messages(decision)),
        }
        return Command(update=update, goto=route({**state, **update}, names))

    return StepsNode(supervise, name=SUPERVISOR)


def _decide(
    view: SupervisorView,
    names: tuple[str, ...],
    ask: tuple[Callable[..., Any], Callable[..., Awaitable[Any]]],
    max_repairs: int,
    fallback: str | None,
) -> Steps[Decision]:
    """Ask until a decision is valid or the bound is reached, then fall back."""
    complaints: list[tuple[str, str]] = []
    for _ in range(max_repairs + 1):
        said = yield Call(*ask, (replace(view, complaints=tuple(complaints)),))
        try:
            return cast(Decision, read_decision(said, names).model_dump())
        except BadDecisionError as error:
            complaints.append((said_text(said), str(error)))
    return _fall_back(complaints, fallback)


def _fall_back(complaints: Sequence[tuple[str, str]], fallback: str | None) -> Decision:
    tries = f"no valid decision in {len(complaints)} tries: {complaints[-1][1]}"
    if fallback is None:
        raise RoutingError(
            f"The supervisor gave {tries}. It said: {complaints[-1][0]!r}. To go on instead, "
            "give the builder fallback='ask_user', 'finish' or a participant.",
            said=[said for said, _ in complaints],
            attempts=len(complaints),
        )
    if fallback == "finish":
        return _ending("failed", tries)
    if fallback == "ask_user":
        question = "I could not decide how to go on. What should be done next?"
        return Decision(
            next_agent=None, user_input_needed=True, user_prompt=question, instruction=None
        )
    return Decision(
        next_agent=fallback, user_input_needed=False, user_prompt=None, instruction=None
    )


def _ending(status: Literal["limit", "failed"], reason: str) -> Decision:
    return Decision(
        next_agent=None,
        user_input_needed=False,
        user_prompt=None,
        instruction=None,
        end={"status": status, "reason": reason},
    )


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


def _callers(
    decider: Decider | DeciderFunction | Runnable[Any, Any],
) -> tuple[Callable[..., Any], Callable[..., Awaitable[Any]]]:
    if isinstance(decider, Decider):
        return decider.decide, decider.adecide
    return both_ways(cast(Callable[..., Any], decider))
