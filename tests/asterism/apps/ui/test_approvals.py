"""The calls that wait for approval: what the page is told of each of them."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorWorkflowBuilder, pending_requests
from asterism.apps.ui.approvals import approval_calls, is_single
from asterism.core.interrupts import PendingRequest
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import follow


@tool
def pay(amount: int, to: str, memo: str | None = None) -> str:
    """Pay an amount."""
    return f"paid {amount} to {to}"


def asked(nested: bool = False, args: Any = None, **options: Any) -> list[dict[str, Any]]:
    """The calls of a team whose bank wants to pay."""
    call = ("pay", args or {"amount": 1, "to": "Ann"})
    guard = HumanInTheLoopMiddleware(**{"interrupt_on": {"pay": True}, **options})
    model = ScriptedChatModel(script=[ScriptedReply(tool_calls=[call])])
    bank: Any = create_agent(model, [pay], middleware=[guard])
    for name in ("bank", "team") if nested else ("bank",):
        members = {name: Participant(runs=bank, description="Pays.")}
        builder = SupervisorWorkflowBuilder("Test", finish="forward").participants(**members)
        saver = None if nested and name == "bank" else InMemorySaver()
        bank = builder.with_manager(follow([name])).build(checkpointer=saver)
    place: Any = {"configurable": {"thread_id": "1"}}
    bank.invoke({"messages": [("user", "Pay")]}, place)
    (request,) = pending_requests(bank, place)
    assert is_single(request) == (options.get("interrupt_mode") == "per_call")
    return approval_calls(request, bank)


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize("mode", ["batched", "per_call"])
def test_a_call_brings_the_schema_of_its_tool(mode: str, nested: bool) -> None:
    (call,) = asked(nested, interrupt_mode=mode)
    assert (call["name"], call["args"]) == ("pay", {"amount": 1, "to": "Ann"})
    assert call["description"] == "Pay an amount."
    assert call["allowed"] == ["approve", "edit", "reject", "respond"]
    properties = call["schema"]["properties"]
    assert (properties["amount"]["type"], properties["to"]["type"]) == ("integer", "string")
    assert list(properties) == ["amount", "to", "memo"]
    assert call["schema"]["required"] == ["amount", "to"]


@pytest.mark.parametrize("mode", ["batched", "per_call"])
def test_only_what_is_allowed_is_offered(mode: str) -> None:
    rule = {"allowed_decisions": ["approve"], "description": "Money leaves the account."}
    (call,) = asked(interrupt_mode=mode, interrupt_on={"pay": rule})
    assert (call["allowed"], call["description"]) == (["approve"], "Money leaves the account.")


def test_an_argument_that_the_tool_does_not_know_is_shown_by_its_type() -> None:
    (call,) = asked(args={"amount": 1, "to": "Ann", "urgent": True, "tags": ["a"]})
    properties = call["schema"]["properties"]
    assert (properties["urgent"], properties["tags"]) == ({"type": "boolean"}, {})


def test_a_question_has_no_calls() -> None:
    given = {"participant": "a", "path": "a", "request_type": "question", "prompt": "?"}
    for value in ("?", {"prompt": "?"}, {"type": "tool_approval"}, None):
        request = PendingRequest(id="1", schema=None, value=value, **given)
        assert approval_calls(request, None) == []  # type: ignore[arg-type]  # is not looked at
