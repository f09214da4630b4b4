"""People: questions and approvals inside participants, several at once, at any depth."""

import sys
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import interrupt
from pydantic import BaseModel

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    open_checkpointer,
    pending_requests,
    resume,
)
from asterism.core.interrupts import ANY_TEXT, PendingRequest
from asterism.core.run_types import WorkflowInput
from asterism.errors import AnswerError, NothingPendingError, UnknownRequestError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.asterism.observability.telemetry.serving import Silent, serving
from tests.graphs.test_memory import is_valid
from tests.teams import follow, said

REQUEST: WorkflowInput = {"messages": [("user", "Pay the bills")]}
Saver = BaseCheckpointSaver[str]


class Effects:
    """Counts what really happened."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def tools(self) -> list[Any]:
        @tool
        def pay(amount: int) -> str:
            """Pay an amount, if the user says so."""
            answer = interrupt({"prompt": f"Pay {amount}?", "request_type": "payment"})
            self.done.append(f"paid {amount}: {answer}")
            return f"paid {amount}"

        @tool
        def look(what: str) -> str:
            """Look something up."""
            self.done.append(f"looked at {what}")
            return f"saw {what}"

        return [pay, look]


def calls(*amounts: int, look: str | None = None) -> ScriptedReply:
    looked = [("look", {"what": look})] if look else []
    return ScriptedReply(tool_calls=[*looked, *(("pay", {"amount": a}) for a in amounts)])


def bank(saver: Any, script: list[Any], *, deep: int = 0, visits: int = 1) -> Any:
    """A workflow whose participant `bank` stands `deep` workflows down."""
    effects = Effects()
    model = ScriptedChatModel(script=script)
    agent: Any = Participant(runs=create_agent(model, effects.tools()), description="Pays.")
    name = "bank"
    for level in range(deep, -1, -1):
        builder = SupervisorWorkflowBuilder("Bank", finish="forward", description="Pays.")
        builder.participants(**{name: agent}).with_manager(follow([name] * visits))
        agent = builder.build(checkpointer=None if level else saver)
        name = f"team{level}"
    return effects, model, agent


def shown(requests: list[PendingRequest]) -> list[tuple[str, str, str, str]]:
    return [(r.participant, r.path, r.request_type, r.prompt) for r in requests]


@pytest.mark.parametrize("deep", [0, 1, 2])
def test_a_question_inside_a_participant_at_any_depth(
    deep: int, saver: Saver, thread: RunnableConfig
) -> None:
    effects, model, workflow = bank(saver, [calls(5, look="bill"), "all paid"], deep=deep)
    assert workflow.invoke(REQUEST, thread)["status"] == "waiting"
    path = "/".join([*(f"team{n}" for n in range(1, deep + 1)), "bank"])
    assert shown(pending_requests(workflow, thread)) == [("bank", path, "payment", "Pay 5?")]
    result = resume(workflow, thread, "yes")
    assert (result["status"], said(result)) == ("completed", ["all paid"])
    assert effects.done == ["looked at bill", "paid 5: yes"]
    model.assert_finished()


@pytest.mark.parametrize("deep", [0, 2])
def test_several_questions_are_answered_some_now_and_some_later(
    deep: int, saver: Saver, thread: RunnableConfig
) -> None:
    effects, model, workflow = bank(saver, [calls(1, 2, 3, look="bill"), "done"], deep=deep)
    workflow.invoke(REQUEST, thread)
    requests = {r.prompt: r for r in pending_requests(workflow, thread)}
    assert list(requests) == ["Pay 1?", "Pay 2?", "Pay 3?"]
    with pytest.raises(AnswerError, match="3 requests are open, so the answers need ids"):
        resume(workflow, thread, "yes")
    first = {requests["Pay 1?"].id: "yes", requests["Pay 3?"].id: "no"}
    assert resume(workflow, thread, first)["status"] == "waiting"
    assert sorted(effects.done) == ["looked at bill", "paid 1: yes", "paid 3: no"]
    assert [r.prompt for r in pending_requests(workflow, thread)] == ["Pay 2?"]
    with pytest.raises(UnknownRequestError, match="No open request has the id"):
        resume(workflow, thread, first)  # stale: they were answered already
    assert resume(workflow, thread, "later")["status"] == "completed"
    assert sorted(effects.done)[2] == "paid 2: later"
    assert len(effects.done) == 4
    model.assert_finished()
    with pytest.raises(NothingPendingError):
        resume(workflow, thread, "again")


def test_an_answer_never_reaches_the_next_question(saver: Saver, thread: RunnableConfig) -> None:
    effects, _, workflow = bank(saver, [calls(1), calls(2), "done"])
    workflow.invoke(REQUEST, thread)
    (first,) = pending_requests(workflow, thread)
    resume(workflow, thread, {first.id: "yes"})
    (second,) = pending_requests(workflow, thread)
    assert second.prompt == "Pay 2?"
    with pytest.raises(UnknownRequestError):
        resume(workflow, thread, {first.id: "yes"})  # a double click
    assert effects.done == ["paid 1: yes"]
    resume(workflow, thread, {second.id: "no"})
    assert effects.done == ["paid 1: yes", "paid 2: no"]


def approving(saver: Any, script: list[Any]) -> Any:
    effects = Effects()

    @tool
    def send(to: str) -> str:
        """Send a letter."""
        effects.done.append(f"sent to {to}")
        return "sent"

    model = ScriptedChatModel(script=script)
    guard = HumanInTheLoopMiddleware(interrupt_on={"send": True})
    agent = create_agent(model, [send], middleware=[guard])
    workflow = (
        SupervisorWorkflowBuilder("Post", finish="forward")
        .participants(post=Participant(runs=agent, description="Sends letters."))
        .with_manager(follow(["post"]))
        .build(checkpointer=saver)
    )
    return effects, model, workflow


def letters(*names: str) -> ScriptedReply:
    return ScriptedReply(tool_calls=[("send", {"to": name}) for name in names])


def test_a_tool_approval_says_what_is_allowed(saver: Saver, thread: RunnableConfig) -> None:
    _, _, workflow = approving(saver, [letters("Ann"), "done"])
    workflow.invoke(REQUEST, thread)
    (request,) = pending_requests(workflow, thread)
    assert (request.participant, request.request_type) == ("post", "tool_approval")
    assert request.prompt == (
        "May these tools be called: send(to='Ann')? Allowed: approve, edit, reject, respond."
    )
    assert request.schema is not None


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        pytest.param("approve", ["sent to Ann", "sent to Bob"], id="a word for all"),
        pytest.param(" Reject ", [], id="rejecting all"),
        pytest.param({"type": "reject", "message": "no"}, [], id="one decision for all"),
        pytest.param(
            [{"type": "approve"}, {"type": "reject"}], ["sent to Ann"], id="a decision each"
        ),
        pytest.param(
            {
                "decisions": [
                    {"type": "edit", "edited_action": {"name": "send", "args": {"to": "Cy"}}},
                    {"type": "approve"},
                ]
            },
            ["sent to Bob", "sent to Cy"],
            id="an edit, in full",
        ),
    ],
)
def test_tool_calls_are_approved_edited_and_rejected(
    answer: Any, sent: list[str], saver: Saver, thread: RunnableConfig
) -> None:
    effects, model, workflow = approving(saver, [letters("Ann", "Bob"), "done"])
    workflow.invoke(REQUEST, thread)
    assert effects.done == []
    assert resume(workflow, thread, answer)["status"] == "completed"
    assert sorted(effects.done) == sent
    assert all(is_valid(call.messages) for call in model.calls)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("maybe", id="an unknown word"),
        pytest.param([{"type": "approve"}], id="too few"),
        pytest.param([{"type": "approve"}] * 3, id="too many"),
        pytest.param([{"type": "approve"}, {"type": "edit"}], id="an edit without an action"),
        pytest.param([{"type": "approve"}, {"type": "respond"}], id="a response without words"),
        pytest.param([{"type": "approve"}, 7], id="a number"),
        pytest.param({"decision": "approve"}, id="another key"),
        pytest.param(7, id="a number for all"),
        pytest.param(True, id="a boolean"),
    ],
)
def test_a_bad_approval_is_refused(answer: Any, saver: Saver, thread: RunnableConfig) -> None:
    effects, _, workflow = approving(saver, [letters("Ann", "Bob"), "done"])
    workflow.invoke(REQUEST, thread)
    before = workflow.get_state(thread)
    with pytest.raises(AnswerError, match="does not fit"):
        resume(workflow, thread, answer)
    assert workflow.get_state(thread) == before
    assert effects.done == []
    assert resume(workflow, thread, "approve")["status"] == "completed"


class Address(BaseModel):
    street: str
    number: int


def test_a_typed_question_is_answered_by_its_type(saver: Saver, thread: RunnableConfig) -> None:
    def ask(messages: Any) -> str:
        """Ask where."""
        where = interrupt({"prompt": "Where?"}, response_schema=Address)
        assert isinstance(where, Address)
        return f"{where.street} {where.number + 1}"

    workflow = (
        SupervisorWorkflowBuilder("Post", finish="forward")
        .participants(post=ask)
        .with_manager(follow(["post"]))
        .build(checkpointer=saver)
    )
    workflow.invoke(REQUEST, thread)
    with pytest.raises(AnswerError, match="'number' is a required property"):
        resume(workflow, thread, {"street": "Main"})
    with pytest.raises(AnswerError, match=r"at \['number'\]: 'x' is not of type 'integer'"):
        resume(workflow, thread, {"street": "Main", "number": "x"})
    assert said(resume(workflow, thread, {"street": "Main", "number": 6})) == ["Main 7"]


def test_a_refusal_of_the_engine_is_not_a_failure_of_the_participant(
    saver: Saver, thread: RunnableConfig
) -> None:
    """A plain Command goes past the check; the participant's own check then refuses."""
    from langgraph.types import Command
    from pydantic import ValidationError

    def ask(messages: Any) -> str:
        """Ask where."""
        return interrupt({"prompt": "Where?"}, response_schema=Address).street

    workflow = (
        SupervisorWorkflowBuilder("Post", finish="forward")
        .participants(post=ask)
        .with_manager(follow(["post"]))
        .build(checkpointer=saver)
    )
    workflow.invoke(REQUEST, thread)
    with pytest.raises(ValidationError):
        workflow.invoke(Command(resume={"street": "Main"}), thread)
    assert said(resume(workflow, thread, {"street": "Main", "number": 6})) == ["Main"]


def test_a_new_request_withdraws_what_is_open_and_the_history_stays_valid(
    saver: Saver, thread: RunnableConfig
) -> None:
    effects, model, workflow = bank(saver, [calls(5), "nothing to pay"], visits=1)
    workflow.invoke(REQUEST, thread)
    result = workflow.invoke({"messages": [("user", "Never mind, just look")]}, thread)
    assert (result["status"], said(result)) == ("completed", ["nothing to pay"])
    assert effects.done == []
    assert [m.text for m in result["messages"]] == [
        "Pay the bills",
        "→ bank: step 1",
        "(withdrawn by a new message: bank asked 'Pay 5?')",
        "Never mind, just look",
        "→ bank: step 1",
        "nothing to pay",
        "nothing to pay",
    ]
    assert result["messages"][2].name == "bank"
    assert is_valid(model.calls[1].messages)
    interrupted = [m for m in model.calls[1].messages if m.type == "tool"]
    assert "interrupted" in interrupted[0].text
    assert pending_requests(workflow, thread) == []


def test_a_new_request_notes_a_visit_that_was_cut_off(saver: Saver, thread: RunnableConfig) -> None:
    _, _, workflow = bank(saver, ["paid"])
    workflow.invoke(REQUEST, thread, interrupt_before=["bank"])
    result = workflow.invoke({"messages": [("user", "Another one")]}, thread)
    assert "(withdrawn by a new message: bank was still at work)" in [
        m.text for m in result["messages"]
    ]


def test_a_text_for_a_supervisor_needs_no_library(
    saver: Saver, thread: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(view: SupervisorView) -> SupervisorDecision:
        asks = view.iterations == 0
        return SupervisorDecision(
            next_agent=None, user_input_needed=asks, user_prompt="Why?" if asks else None
        )

    workflow = (
        SupervisorWorkflowBuilder("Why", finish="forward")
        .participants(echo=Participant(runs=lambda messages: "Done", description="Echoes."))
        .with_manager(ask)
        .build(checkpointer=saver)
    )
    workflow.invoke(REQUEST, thread)
    (request,) = pending_requests(workflow, thread)
    assert request.schema == ANY_TEXT
    with pytest.raises(AnswerError, match="is not of type 'string'"):
        resume(workflow, thread, 5)
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert resume(workflow, thread, "Because")["status"] == "completed"


def test_a_schema_that_refers_elsewhere_is_not_looked_up(thread: RunnableConfig) -> None:
    asked: list[str] = []

    class Elsewhere(Silent, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    with serving(Elsewhere) as url, open_checkpointer("memory:") as saver:

        def ask(messages: Any) -> str:
            return str(interrupt({"prompt": "Why?"}, response_schema={"$ref": f"{url}/schema"}))

        workflow = (
            SupervisorWorkflowBuilder("Test", finish="forward")
            .participants(asks=Participant(runs=ask, description="Asks."))
            .with_manager(follow(["asks"]))
            .build(checkpointer=saver)
        )
        workflow.invoke(REQUEST, thread)
        with pytest.raises(AnswerError, match="only its own parts are read"):
            resume(workflow, thread, "so")
    assert asked == []
