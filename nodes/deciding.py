"""How a decision comes about: asking, retrying, repairing, falling back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, cast, runtime_checkable

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from asterism.decisions import SupervisorDecision, read_decision, said_text
from asterism.errors import BadDecisionError, RoutingError
from asterism.nodes.effects import Call, Steps, both_ways
from asterism.nodes.guards import missing, missing_complaint
from asterism.nodes.retrying import retried
from asterism.nodes.view import SupervisorView
from asterism.redaction import describe_error, redact
from asterism.state import Decision

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


AnyDecider = Decider | DeciderFunction | Runnable[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What holds for every decision of a workflow."""

    max_iterations: int
    """How many decisions one request may take."""
    max_repairs: int
    """How often a bad decision is asked for again."""
    fallback: str | None = None
    """What happens when no decision is valid: `"ask_user"`, `"finish"`, the id of a
    participant, or None to raise `RoutingError`."""
    require: tuple[str, ...] = ()
    """Who must have answered before the request can be finished."""
    on_stall: str = "replan"
    """What happens when work stands still: `"replan"`, `"ask_user"` or `"finish"`."""
    retry: RetryPolicy
    """How failures of the decider are retried."""


def decide(view: SupervisorView, ask: Call, rules: Rules) -> Steps[Decision]:
    """Ask until a decision is valid or the bound is reached, then fall back."""
    names = tuple(view.participants)
    complaints = list(view.complaints)
    lacking: list[str] = []
    for _ in range(rules.max_repairs + 1):
        said = yield from _ask(replace(view, complaints=tuple(complaints)), ask, rules.retry)
        try:
            decision = read_decision(said, names)
        except BadDecisionError as error:
            lacking = []
            complaints.append((said_text(said), str(error)))
            continue
        lacking = missing(rules.require, view.reports) if decision.complete else []
        if not lacking:
            return cast(Decision, decision.model_dump())
        complaints.append((said_text(said), missing_complaint(lacking)))
    if lacking:
        return _insist(lacking, view)
    return _fall_back(complaints, rules.fallback)


def _ask(view: SupervisorView, ask: Call, policy: RetryPolicy) -> Steps[Any]:
    try:
        return (yield from retried(replace(ask, args=(view,)), policy))
    except GraphBubbleUp:
        raise
    except Exception as error:
        said = describe_error(error)
        raise RoutingError(
            f"The supervisor's decider failed ({said}). Nothing is lost: go on with proceed() "
            "when the cause is gone.",
            said=[said],
            attempts=policy.max_attempts,
        ) from error


def _insist(lacking: Sequence[str], view: SupervisorView) -> Decision:
    """Send those to work who must answer, or end where they were asked and could not."""
    asked = {report["participant"]: report for report in view.reports}
    for name in lacking:
        if name not in asked:
            return visit_of(name)
    report = asked[lacking[0]]
    return ending(
        "failed", f"{lacking[0]} must answer and did not: {report.get('error', report['status'])}"
    )


def _fall_back(complaints: Sequence[tuple[str, str]], fallback: str | None) -> Decision:
    tries = f"no valid decision in {len(complaints)} tries: {complaints[-1][1]}"
    if fallback is None:
        said = [redact(said) for said, _ in complaints]
        raise RoutingError(
            f"The supervisor gave {tries}. It said: {said[-1]!r}. To go on instead, give the "
            "builder fallback='ask_user', 'finish' or a participant.",
            said=said,
            attempts=len(complaints),
        )
    if fallback == "finish":
        return ending("failed", tries)
    if fallback == "ask_user":
        return question_of("I could not decide how to go on. What should be done next?")
    return visit_of(fallback)


def visit_of(name: str) -> Decision:
    """Decide that a participant works."""
    return Decision(next_agent=name, user_input_needed=False, user_prompt=None, instruction=None)


def question_of(prompt: str) -> Decision:
    """Decide that the user is asked."""
    return Decision(next_agent=None, user_input_needed=True, user_prompt=prompt, instruction=None)


def ending(status: Literal["limit", "failed", "stalled"], reason: str) -> Decision:
    """Decide that the run ends for another cause than being complete."""
    return Decision(
        next_agent=None,
        user_input_needed=False,
        user_prompt=None,
        instruction=None,
        end={"status": status, "reason": redact(reason)},
    )


def caller(decider: AnyDecider) -> Call:
    """Make the call that asks a decider."""
    if isinstance(decider, Decider):
        return Call(decider.decide, decider.adecide)
    return Call(*both_ways(decider))
