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

from asterism.core.run_types import WorkflowInput
from asterism.errors import BadDecisionError
from tests.decisions import THREAD, WAITING, run_to_the_end, waiting
from tests.teams import Turns, star

Saver = BaseCheckpointSaver[str]


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


@pytest.mark.parametrize("kind", WAITING)
@settings(max_examples=6, deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.sampled_from(EDITS), st.sampled_from(["By the way", "Ünd"])), max_size=6
    )
)
def test_every_kind_of_decision_survives_edits_of_something_else(
    kind: str, edits: list[tuple[Callable[[Any, str], None], str]]
) -> None:
    expected = run_to_the_end(waiting(kind))
    workflow = waiting(kind)
    before = workflow.get_state(THREAD)
    for edit, words in edits:
        edit(workflow, words)
        after = workflow.get_state(THREAD)
        assert json.dumps(after.values["decision"]) == json.dumps(before.values["decision"])
        assert after.next == before.next
    assert run_to_the_end(workflow) == expected


def test_an_edit_that_changes_nothing_opens_no_finished_run(thread: RunnableConfig) -> None:
    workflow = waiting("answer")
    workflow.invoke(None, THREAD)
    count = len(workflow.get_state(THREAD).values["messages"])
    nothing(workflow, "")
    assert workflow.get_state(THREAD).next == ()
    assert len(workflow.get_state(THREAD).values["messages"]) == count


@pytest.mark.parametrize(
    ("kind", "edit", "kept"),
    [
        ("visit", {"instruction": "Else"}, {"next_agent": "venue", "instruction": "Else"}),
        ("answer", {"answer": "43"}, {"answer": "43", "fields": {"n": 42}}),
        ("answer", {"next_agent": "VENUE"}, {"next_agent": "venue", "answer": None}),
        ("end", {"status": "failed", "reason": "no"}, {"status": "failed", "reason": "no"}),
        ("end", {"end": {"status": "failed", "reason": "no"}}, {"status": "failed"}),
        (
            "raise_limit",
            {"user_prompt": "More?"},
            {"user_prompt": "More?", "budget": {}, "then": {}},
        ),
        ("raise_limit", {"user_input_needed": False}, {"budget": None, "then": None}),
        ("raise_limit", {"user_input_needed": False, "next_agent": "p"}, {"budget": None}),
        ("undo", {"undo": False}, {"kind": "finish"}),
        ("orchestrated", {"answer": "43"}, {"kind": "finish", "answer": "43"}),
    ],
)
def test_an_edit_keeps_the_fields_of_the_kind_that_it_makes(
    kind: str, edit: dict[str, Any], kept: dict[str, Any]
) -> None:
    workflow = waiting(kind)
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
    workflow = waiting("visit")
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
    again: WorkflowInput = {"messages": [HumanMessage("A party for 20", id="A par")]}
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
