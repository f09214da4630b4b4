"""What a decider is, and what it may say."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable

from asterism.core.decision import Decision, FinishRun, RunPlan, VisitNext
from asterism.decisions import SupervisorDecision
from asterism.effects import Call, both_ways
from asterism.nodes.view import SupervisorView


@dataclass(frozen=True, kw_only=True)
class Told:
    """A decision of a decider that keeps the history itself."""

    decision: SupervisorDecision
    messages: Sequence[BaseMessage]
    """What the history gets, rather than the workflow's own words; the answer is part of it."""
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """What participants with a grant are sent besides the state, by task or participant."""
    update: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further keys of the workflow's state, and what they become."""

    def noted(self, decision: Decision) -> Decision:
        """Note in a decision what follows from how it was told."""
        if isinstance(decision, FinishRun):
            return replace(decision, recorded=decision.answer is not None)
        if self.inputs and isinstance(decision, VisitNext | RunPlan):
            inputs = {name: dict(given) for name, given in self.inputs.items()}
            return replace(decision, inputs=inputs)
        return decision


Said = SupervisorDecision | AIMessage | Mapping[str, Any] | Told
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


def caller(decider: AnyDecider) -> Call:
    """Make the call that asks a decider."""
    if isinstance(decider, Decider):
        return Call(decider.decide, decider.adecide)
    return Call(*both_ways(decider))
