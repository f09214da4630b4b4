"""Agents that a `Participant` is made of: approvals, middleware and answers of a form."""

from typing import Any

import pytest
from langchain.agents.middleware import PIIMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    aresume,
    pending_requests,
    resume,
)
from asterism.testing import ScriptedChatModel, ScriptedReply

REQUEST = {"messages": [("user", "Pay 3 to anna@example.org")]}
THREAD: Any = {"configurable": {"thread_id": "1"}}


class Bill(BaseModel):
    total: int


def team(**fields: Any) -> Any:
    clerk = Participant(prompt="You pay.", description="Pays.", **fields)
    builder = SupervisorWorkflowBuilder("Office", finish="forward").participants(clerk=clerk)
    builder.with_manager(
        lambda view: SupervisorDecision(
            next_agent=None if view.reports else "clerk", instruction="Pay 3 to anna@example.org"
        )
    )
    return builder.build(InMemorySaver())


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(
    ("approve", "answer", "paid"),
    [
        pytest.param(["pay"], "approve", [3], id="approved"),
        pytest.param(["pay"], "reject", [], id="rejected"),
        pytest.param(
            {"pay": {"allowed_decisions": ["approve", "reject"]}}, "approve", [3], id="mapping"
        ),
    ],
)
async def test_a_call_waits_for_its_approval(
    way: str, approve: Any, answer: str, paid: list[int]
) -> None:
    done: list[int] = []

    def pay(amount: int) -> str:
        """Pay an amount."""
        done.append(amount)
        return "paid"

    def look(bill: str) -> str:
        """Look at a bill."""
        return "3"

    calls: list[tuple[str, dict[str, Any]]] = [("look", {"bill": "1"}), ("pay", {"amount": 3})]
    model = ScriptedChatModel(script=[ScriptedReply(tool_calls=calls), "I am done."])
    workflow = team(model=model, tools=[pay, look], approve=approve)
    result = (
        await workflow.ainvoke(REQUEST, THREAD)
        if way == "async"
        else workflow.invoke(REQUEST, THREAD)
    )
    assert result["status"] == "waiting" and not done
    [request] = pending_requests(workflow, "1")
    assert (request.participant, request.request_type) == ("clerk", "tool_approval")
    assert "pay(amount=3)" in request.prompt and "look" not in request.prompt
    result = (
        await aresume(workflow, "1", answer) if way == "async" else resume(workflow, "1", answer)
    )
    assert result["reports"][0]["text"] == "I am done."
    assert done == paid


def test_middleware_of_langchain_guards_what_goes_in() -> None:
    model = ScriptedChatModel(script=["Paid."])
    guard: Any = PIIMiddleware("email", strategy="redact")
    workflow = team(model=model, middleware=[guard])
    assert workflow.invoke(REQUEST, THREAD)["reports"][0]["text"] == "Paid."
    [call] = model.calls
    assert "anna@example.org" not in str(call.messages)
    assert "[REDACTED_EMAIL]" in str(call.messages)


def test_an_answer_has_the_form_that_was_asked_for() -> None:
    model = ScriptedChatModel(script=[{"total": 3}])
    [report] = team(model=model, response_format=Bill).invoke(REQUEST, THREAD)["reports"]
    assert Bill.model_validate_json(report["text"]) == Bill(total=3)
