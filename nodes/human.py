"""The node that waits for a person; the one interrupt of a workflow's own stands in it.

Tests: tests/graphs/test_people.py.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt
from pydantic import StringConstraints

from asterism.core.decision import (
    AskUser,
    ContinueStopped,
    RaiseLimit,
    dump_decision,
    load_decision,
)
from asterism.core.messages import clean_text
from asterism.core.state import WorkflowState
from asterism.core.supervisor_decision import HumanFeedbackRequest
from asterism.core.sync_async import Steps, StepsNode
from asterism.nodes.routing import HUMAN
from asterism.nodes.run_context import meter_of
from asterism.nodes.view import message_facts

CONVERSATION_LENGTH = 20
"""How many of the latest messages a person is shown with a question."""

AnswerText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""The answer to a question: a text that is not empty."""


LimitText = Annotated[
    str, StringConstraints(strip_whitespace=True, pattern=r"^(stop|\d+(\.\d+)?)$")
]
"""A new limit, as a decimal number, or `stop`."""

_LIMIT: Any = LimitText
_ANSWER: Any = AnswerText  # any type that pydantic reads is a schema here


def create_human_node() -> StepsNode:
    """Create the node that asks the user what the supervisor wants to know."""

    def human(state: WorkflowState, config: RunnableConfig) -> Steps[dict[str, Any]]:
        yield from ()
        decision = load_decision(state.get("decision"))
        if isinstance(decision, RaiseLimit):
            return _raise_limit(decision, state.get("limits") or {}, config)
        asked = decision.user_prompt if isinstance(decision, AskUser) else None
        question = asked or "What should happen next?"
        request = HumanFeedbackRequest(
            prompt=question,
            context={
                "request": "\n\n".join(state.get("brief") or ()),
                "reported": [report["participant"] for report in state.get("reports") or ()],
            },
            conversation=[_message_summary(m) for m in state["messages"][-CONVERSATION_LENGTH:]],
        )
        answer = clean_text(interrupt(request.model_dump(), response_schema=_ANSWER))
        return {
            "messages": [HumanMessage(answer)],
            "brief": [f"Asked: {question}\nAnswered: {answer}"],
            "status": "running",
            "decision": None,
        }

    return StepsNode(human, name=HUMAN)


def _raise_limit(
    decision: RaiseLimit,
    limits: Mapping[str, Mapping[str, str]],
    config: RunnableConfig,
) -> dict[str, Any]:
    """Ask for a higher limit, and say what follows: going on, the end, or the same question."""
    breach, then = decision.budget, decision.then
    request = HumanFeedbackRequest(
        prompt=decision.user_prompt, context=dict(breach), request_type="budget"
    )
    said: str = interrupt(request.model_dump(), response_schema=_LIMIT)
    if said == "stop":
        return {"breach": {**breach, "asks": False}, "decision": None}
    if Decimal(said) <= Decimal(breach["spent"]):
        return {"decision": then and dump_decision(then)}
    scope, measure = breach["scope"], breach["measure"]
    meter_of(config).raise_limit(scope, measure, said)
    return {
        "breach": None,
        "limits": {**limits, scope: {**limits.get(scope, {}), measure: said}},
        "decision": then and dump_decision(ContinueStopped(then=then)),
        "status": "running",
    }


def _message_summary(message: AnyMessage) -> dict[str, str]:
    role = "user" if message.type == "human" else "assistant"
    name = message.name or ("supervisor" if message_facts(message) else role)
    return {"role": role, "name": name, "content": message.text}
