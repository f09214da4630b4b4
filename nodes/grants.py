"""Grants: what a participant sees of its workflow's state, and what it leaves there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, messages_from_dict

from asterism.core.decision import RunPlan, VisitNext, load_decision
from asterism.model_input import without_reasoning
from asterism.nodes.reports import report_message
from asterism.state import Report

Shows = Callable[[Report, Sequence[BaseMessage]], Sequence[BaseMessage]]
"""Makes the messages of the workflow's history of a report and the messages of the visit."""


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Lets a participant see the whole conversation rather than a request of its own."""

    keys: tuple[str, ...] = ()
    """Further keys of the workflow's state that it is given, and may change."""
    shows: Shows
    """How its visits stand in the workflow's history."""
    speaker: str = ""
    """The name of its own messages in that history."""

    def given(self, name: str, handoff: str, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return what it is sent, given the workflow's state.

        Args:
            name: Under which the decision may have inputs: a task, or the participant.
            handoff: The visit.
            state: The state of the workflow.
        """
        decision = load_decision(state.get("decision"))
        given = decision.inputs if isinstance(decision, VisitNext | RunPlan) else None
        inputs = (given or {}).get(name) or {}
        found = {key: state[key] for key in self.keys if key in state}
        own = inputs.get("messages")
        messages = messages_from_dict(own) if own else state["messages"]
        messages = without_reasoning(messages, self.speaker)
        for place, message in enumerate(messages):
            message.id = message.id or f"{handoff}-{place}"
        return {**found, **inputs, "messages": messages}

    def left(
        self, report: Report, turn: Mapping[str, Any], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return what a visit leaves in the workflow's state besides its report.

        Args:
            report: The report.
            turn: The state of the turn that it is a report of: `messages` are the new ones. Empty
                where none came to its end.
            given: What it was sent; a key that it left alone is not written.
        """
        whole = report["status"] == "ok" and turn
        changed = [k for k in self.keys if whole and k in turn and turn[k] != given.get(k)]
        kept = {key: turn[key] for key in changed}
        messages = turn["messages"] if whole else [report_message(report)]
        return {**kept, "messages": list(self.shows(report, messages))}
