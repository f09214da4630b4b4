"""Edits of a stored run: what they leave alone stays, whatever kind of decision is followed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from asterism import (
    Compensation,
    Participant,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    UndoAll,
    resume,
)
from asterism.budgets import Budget
from asterism.compat.langgraph_supervisor import create_supervisor
from asterism.decisions import AnswerDecision
from asterism.errors import BadDecisionError
from asterism.testing import ScriptedChatModel
from tests.asterism.compat.teams import agent, hand_over
from tests.graphs.test_budgets import team as budgeted
from tests.graphs.test_budgets import worker
from tests.teams import Turns, follow, star

Saver = BaseCheckpointSaver[str]
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}
REQUEST = {"messages": [("user", "Plan it")]}


def visit() -> Any:
    workflow = star(Turns(), ["venue", "food"]).build(checkpointer=InMemorySaver())
    workflow.invoke(REQUEST, THREAD, interrupt_before=["venue"])
    return workflow


def plan() -> Any:
    builder = SupervisorWorkflowBuilder("Test", finish="forward")
    builder.participants(venue=Turns().participant("venue"), food=Turns().participant("food"))
    workflow = builder.with_strategy("sequential").build(checkpointer=InMemorySaver())
    workflow.invoke(REQUEST, THREAD, interrupt_before=["dispatch"])
    return workflow


def deciding(decide: Callable[[Any], Any], stop: list[str], **options: Any) -> Any:
    builder = SupervisorWorkflowBuilder("Test", **{"finish": "forward", **options})
    builder.participants(venue=Turns().participant("venue")).with_manager(decide)
    workflow = builder.build(checkpointer=InMemorySaver())
    workflow.invoke(REQUEST, THREAD, interrupt_before=stop)
    return workflow


def ask() -> Any:
    def decide(view: Any) -> SupervisorDecision:
        asks = view.iterations == 0
        return SupervisorDecision(next_agent=None, user_input_needed=asks, user_prompt="When?")

    return deciding(decide, [])


def answer() -> Any:
    written = AnswerDecision(next_agent=None, answer="42", fields={"n": 42})
    return deciding(lambda view: written, ["finish"])


def end() -> Any:
    return deciding(follow(["venue", "venue"]), ["finish"], max_iterations=1)


def raise_limit() -> Any:
    _, spec = worker(9)
    budget = Budget(max_calls=2, on_breach="ask")
    workflow = budgeted(follow(["p"]), InMemorySaver(), budget=budget, p=spec)
    workflow.invoke(REQUEST, THREAD)
    return workflow


def go_on() -> Any:
    """The limit was raised, and the visit has not gone on yet."""
    workflow = raise_limit()
    [asked] = workflow.get_state(THREAD).interrupts
    workflow.invoke(Command(resume={asked.id: "99"}), THREAD, interrupt_after=["human"])
    return workflow


def goes_on() -> Any:
    """The limit was raised, and the visit is about to go on."""
    workflow = go_on()
    workflow.invoke(None, THREAD, interrupt_before=["p"])
    return workflow


def undo() -> Any:
    def fail(messages: Any) -> str:
        raise RuntimeError("broken")

    policy = Compensation({"agent_failed": UndoAll()})
    builder = SupervisorWorkflowBuilder("Test", finish="forward")
    builder.participants(
        one=Participant(runs=lambda m: "booked", description="Books.", undo=lambda report: None),
        bad=Participant(runs=fail, description="Fails.", policies=[policy]),
    )
    workflow = builder.with_strategy("sequential").build(checkpointer=InMemorySaver())
    workflow.invoke(REQUEST, THREAD, interrupt_before=["undo"])
    return workflow


def told() -> Any:
    """The answer stands in the history already."""
    model = ScriptedChatModel(script=[hand_over("clerk"), "All done."])
    workflow = create_supervisor([agent("clerk", "Yes")], model=model).compile(InMemorySaver())
    workflow.invoke(REQUEST, THREAD, interrupt_before=["finish"])
    return workflow


KINDS = {
    f.__name__: f for f in (visit, plan, ask, answer, end, raise_limit, go_on, goes_on, undo, told)
}


def to_the_end(workflow: Any) -> dict[str, Any]:
    result = workflow.invoke(None, THREAD)
    if result["status"] == "waiting":
        [asked] = workflow.get_state(THREAD).interrupts
        budget = asked.value["request_type"] == "budget"
        result = resume(workflow, THREAD, "99" if budget else "Tomorrow")
    return {
        "status": result["status"],
        "reason": result["reason"],
        "reports": [(r["participant"], r["status"], r["text"]) for r in result["reports"]],
        "answer": [m.text for m in result["messages"] if m.type == "ai"][-1],
        "fields": result["structured_response"],
    }


def nothing(workflow: Any, words: str) -> None:
    """Send back the decision as a page has it that was given it as JSON."""
    decision = json.loads(json.dumps(workflow.get_state(THREAD).values["decision"]))
    workflow.update_state(THREAD, {"decision": decision})


def nothing_as_supervisor(workflow: Any, words: str) -> None:
    if workflow.get_state(THREAD).next != ("supervisor",):
        decision = workflow.get_state(THREAD).values["decision"]
        workflow.update_state(THREAD, {"decision": decision}, as_node="supervisor")


def a_message(workflow: Any, words: str) -> None:
    workflow.update_state(THREAD, {"messages": [("user", words)]})


def a_message_and_nothing(workflow: Any, words: str) -> None:
    decision = workflow.get_state(THREAD).values["decision"]
    workflow.update_state(THREAD, {"messages": [("user", words)], "decision": decision})


EDITS = [nothing, nothing_as_supervisor, a_message, a_message_and_nothing]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6, deadline=None)
@given(edits=st.lists(st.tuples(st.sampled_from(EDITS), st.sampled_from(["By the way", "Ünd"]))))
def test_every_kind_of_decision_survives_edits_of_something_else(
    kind: str, edits: list[tuple[Callable[[Any, str], None], str]]
) -> None:
    expected = to_the_end(KINDS[kind]())
    workflow = KINDS[kind]()
    before = workflow.get_state(THREAD)
    for edit, words in edits:
        edit(workflow, words)
        after = workflow.get_state(THREAD)
        assert json.dumps(after.values["decision"]) == json.dumps(before.values["decision"])
        assert after.next == before.next
    assert to_the_end(workflow) == expected


def test_an_edit_that_changes_nothing_opens_no_finished_run(thread: RunnableConfig) -> None:
    workflow = answer()
    workflow.invoke(None, THREAD)
    count = len(workflow.get_state(THREAD).values["messages"])
    nothing(workflow, "")
    assert workflow.get_state(THREAD).next == ()
    assert len(workflow.get_state(THREAD).values["messages"]) == count


@pytest.mark.parametrize(
    ("kind", "edit", "kept"),
    [
        (visit, {"instruction": "Else"}, {"next_agent": "venue", "instruction": "Else"}),
        (answer, {"answer": "43"}, {"answer": "43", "fields": {"n": 42}}),
        (answer, {"next_agent": "VENUE"}, {"next_agent": "venue", "answer": None}),
        (end, {"end": {"status": "failed", "reason": "no"}}, {"end": {"status": "failed"}}),
        (raise_limit, {"user_prompt": "More?"}, {"user_prompt": "More?", "budget": {}, "then": {}}),
        (raise_limit, {"user_input_needed": False}, {"budget": None, "then": None}),
        (raise_limit, {"user_input_needed": False, "next_agent": "p"}, {"budget": None}),
        (undo, {"undo": False}, {"undo": None}),
    ],
)
def test_an_edit_keeps_the_fields_of_the_kind_that_it_makes(
    kind: Callable[[], Any], edit: dict[str, Any], kept: dict[str, Any]
) -> None:
    workflow = kind()
    stored = workflow.get_state(THREAD).values["decision"]
    workflow.update_state(THREAD, {"decision": {**stored, **edit}})
    after = workflow.get_state(THREAD).values["decision"]
    for name, value in kept.items():
        if isinstance(value, dict):
            assert value.items() <= after[name].items() and after[name]
        else:
            assert after.get(name) == value
    assert after["handoff_id"] == stored["handoff_id"]


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        ({"next_agnet": "food"}, "'next_agnet', which a decision has not. Allowed: answer, budget"),
        ({"end": {"status": "fine", "reason": "x"}}, "cannot be used"),
        ({"answer": 3}, "answer"),
        ({"user_input_needed": True, "user_prompt": "More?", "budget": {"x": 1}}, "unexpected"),
        ({"next_agent": "food", "inputs": 3}, "inputs"),
        ({"next_agent": "food", "follow": "soon"}, "follow"),
        ({"undo": True, "then": {"next_agent": "nobody"}}, "'nobody', which is not a participant"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
async def test_an_edit_that_cannot_be_followed_is_refused_by_name(
    edit: dict[str, Any], fault: str
) -> None:
    workflow = visit()
    with pytest.raises(BadDecisionError, match=fault):
        workflow.update_state(THREAD, {"decision": edit})
    with pytest.raises(BadDecisionError, match=fault):
        await workflow.aupdate_state(THREAD, {"decision": edit})
    assert workflow.get_state(THREAD).next == ("venue",)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_an_earlier_message_that_is_sent_again_is_worked_on_as_edited(
    asynchronous: bool, saver: Saver, thread: RunnableConfig
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=saver)
    for words in ("A party for 10", "And a cake"):
        workflow.invoke({"messages": [HumanMessage(words, id=words[:5])]}, thread)
    again = {"messages": [HumanMessage("A party for 20", id="A par")]}
    result = (
        await workflow.ainvoke(again, thread) if asynchronous else workflow.invoke(again, thread)
    )
    asked = [m.text for m in result["messages"] if m.type == "human"]
    assert asked == ["And a cake", "A party for 20"]
    assert "A party for 20" in turns.prompts["venue"][-1][-1].text
    assert "cake" not in turns.prompts["venue"][-1][-1].text
    assert [m.id for m in result["messages"]].count("A par") == 1


def test_a_whole_history_that_is_sent_again_is_no_edit(
    saver: Saver, thread: RunnableConfig
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=saver)
    known = workflow.invoke({"messages": [HumanMessage("One", id="1")]}, thread)["messages"]
    result = workflow.invoke({"messages": [*known, HumanMessage("Two", id="2")]}, thread)
    assert [m.text for m in result["messages"]][: len(known) + 1] == [
        *(m.text for m in known),
        "Two",
    ]
    assert "Two" in turns.prompts["venue"][-1][-1].text
