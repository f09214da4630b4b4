"""What if: one thing of a past run changes, and only what follows runs again."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import interrupt

from asterism import (
    Budget,
    Participant,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    awhat_if,
    read_run,
    resume,
    what_if,
)
from asterism.core.run_types import WorkflowInput
from asterism.core.thread_lease import take_lease
from asterism.errors import BadDecisionError, ThreadBusyError, UnknownThreadError, WhatIfError
from tests.pictures import builder, member
from tests.plans import plan, task
from tests.teams import Turns, follow, said, star

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
ELSE = {"next_agent": "venue", "instruction": "Else"}


async def changed(way: str, workflow: Any, thread: RunnableConfig, **change: Any) -> Any:
    if way == "sync":
        return what_if(workflow, thread, **change)
    return await awhat_if(workflow, thread, **change)


def heard(turns: Turns, name: str) -> list[str]:
    """What a participant had said before, as its latest turn saw it."""
    return [m.text for m in turns.prompts[name][-1] if m.type == "ai"]


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_another_decision_runs_what_follows_and_nothing_before(
    way: str, saver: Saver, thread: RunnableConfig
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue", "food", "venue"]).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread)
    old = read_run(workflow, thread)
    found = await changed(way, workflow, thread, decision=ELSE, round=2)
    assert said(found.result) == ["venue 1", "venue 3", "venue 4"]
    assert turns.taken == {"venue": 4, "food": 1}
    assert heard(turns, "venue") == ["venue 1", "venue 3"], "it does not remember venue 2"
    assert found.result["iterations"] == 4
    assert read_run(workflow, thread) == found.before == old, "the old thread is as it was"
    assert found.after == read_run(workflow, found.config)
    assert [(c.where, c.after) for c in found.difference.decisions] == [
        ("round 2", "sends venue: Else")
    ]
    shown = [m.text for m in found.result["messages"]]
    assert "→ venue: Else" in shown and "→ food: step 2" not in shown


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_any_round_can_end_the_run(number: int, saver: Saver, thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ["venue", "food", "venue"]).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread)
    if number == 4:
        with pytest.raises(WhatIfError, match="Nothing changes: that is what was decided"):
            what_if(workflow, thread, decision={"next_agent": None}, round=number)
        return
    decision = SupervisorDecision(next_agent=None)
    found = what_if(workflow, thread, decision=decision, round=number)
    assert found.result["status"] == "completed"
    assert said(found.result) == ["venue 1", "food 1", "venue 2"][: number - 1]
    assert turns.taken == {"venue": 2, "food": 1}


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_another_participant_takes_the_place_of_one(
    way: str, saver: Saver, thread: RunnableConfig
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue", "food", "venue"]).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread)
    found = await changed(
        way, workflow, thread, participant="food", instead=lambda messages: "soup"
    )
    assert said(found.result) == ["venue 1", "soup", "venue 3"]
    assert turns.taken == {"venue": 3, "food": 1}
    assert heard(turns, "venue") == ["venue 1"]
    assert [c.where for c in found.difference.reports] == ["food, turn 1", "venue, turn 2"]


def test_a_workflow_that_was_built_with_the_other_participant_will_do(
    saver: Saver, thread: RunnableConfig
) -> None:
    star(Turns(), ["venue", "food"]).build(checkpointer=saver).invoke(REQUEST, thread)
    turns = Turns()
    other = star(turns, ["venue", "food"]).build(checkpointer=saver)
    found = what_if(other, thread, participant="food")
    assert said(found.result) == ["venue 1", "food 1"]
    assert turns.taken == {"food": 1}


def test_what_ran_beside_the_change_does_not_run_again(
    saver: Saver, thread: RunnableConfig
) -> None:
    turns = Turns()
    inner = star(turns, ["deep"], description="Digs.").build()
    tasks = (
        task("one", "a"), task("two", "b"), task("three", "c", "two"),
        task("four", "a", "three"), task("five", "team"),
    )  # fmt: skip
    members = {name: turns.participant(name) for name in "abc"}
    workflow = (
        builder("Plan", team=Participant(runs=inner, description="Digs."), **members)
        .with_manager(plan(*tasks))
        .build(checkpointer=saver)
    )
    before = workflow.invoke(REQUEST, thread)
    turns.taken = dict.fromkeys(turns.taken, 10)
    found = what_if(workflow, thread, participant="b", instead=lambda messages: "B")
    assert turns.taken == {"a": 11, "b": 10, "c": 11, "deep": 10}
    by_task = {r["task"]: r["text"] for r in found.result["reports"]}
    assert by_task == {"one": "a 1", "two": "B", "three": "c 11", "four": "a 11", "five": "deep 1"}
    assert heard(turns, "a") == ["a 1"]
    assert len(before["reports"]) == len(found.result["reports"])


def test_a_question_can_be_asked_instead(saver: Saver, thread: RunnableConfig) -> None:
    workflow = star(Turns(), ["venue", "food"]).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread)
    asks = {"next_agent": None, "user_input_needed": True, "user_prompt": "Which one?"}
    found = what_if(workflow, thread, decision=asks, round=2, thread="asked")
    assert found.result["status"] == "waiting"
    result = resume(workflow, found.config, "The first")
    assert result["status"] == "completed"
    question = read_run(workflow, found.config).requests[0].rounds[1].question
    assert question is not None and question.answer == "The first"


def test_an_earlier_request_can_be_changed(saver: Saver, thread: RunnableConfig) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
    for _ in range(2):
        workflow.invoke(REQUEST, thread)
    end = {"next_agent": None}
    found = what_if(workflow, thread, decision=end, round=1, request=1)
    assert [len(request.rounds) for request in found.after.requests] == [1]
    found = what_if(workflow, thread, decision=end, round=1)
    assert [len(request.rounds) for request in found.after.requests] == [2, 1]


def test_a_waiting_run_can_be_changed_and_goes_on_waiting(
    saver: Saver, thread: RunnableConfig
) -> None:
    def bank(messages: Any) -> str:
        return f"paid: {interrupt({'prompt': 'Pay?'})}"

    workflow = (
        builder("Bank", venue=member("one", "two"), bank=Participant(runs=bank, description="Pays"))
        .with_manager(follow(["venue", "bank"]))
        .build(checkpointer=saver)
    )
    workflow.invoke(REQUEST, thread)
    found = what_if(workflow, thread, decision=ELSE, round=2)
    assert said(found.result) == ["one", "two"]
    assert found.before.requests[0].status == "waiting"
    assert said(resume(workflow, thread, "yes")) == ["one", "paid: yes"]


FAULTS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no round": ({"decision": ELSE, "round": 9}, WhatIfError, "no round 9; the request has 3"),
    "a round that is left out": ({"decision": ELSE}, WhatIfError, "no round None"),
    "no request": ({"decision": ELSE, "round": 1, "request": 2}, WhatIfError, "no request 2"),
    "two changes": ({"decision": ELSE, "participant": "food"}, WhatIfError, "Change one thing"),
    "no change": ({}, WhatIfError, "Change one thing"),
    "a stranger": ({"participant": "x"}, WhatIfError, "no participant 'x'; it has food, venue"),
    "a stranger's heir": ({"participant": "x", "instead": 1}, WhatIfError, "cannot be replaced"),
    "no visit": ({"participant": "venue", "round": 2}, WhatIfError, "no visit from round 2"),
    "who is not there": (
        {"decision": {"next_agent": "x"}, "round": 1}, BadDecisionError, "Allowed: food, venue"
    ),
    "the old thread": ({"decision": ELSE, "round": 1, "thread": "t"}, WhatIfError, "is in use"),
    "the same decision": (
        {"decision": {"next_agent": "food", "instruction": "step 2"}, "round": 2},
        WhatIfError, "Nothing changes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_change_that_cannot_be_is_refused_and_leaves_nothing(fault: str, saver: Saver) -> None:
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    workflow = star(Turns(), ["venue", "food"]).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread)
    change, kind, words = FAULTS[fault]
    with pytest.raises(kind, match=words):
        what_if(workflow, thread, **change)
    threads = {item.config["configurable"]["thread_id"] for item in saver.list(None)}
    assert threads == {"t"}


def test_a_thread_that_is_driven_or_empty_is_refused(saver: Saver, thread: RunnableConfig) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
    with pytest.raises(UnknownThreadError):
        what_if(workflow, thread, decision=ELSE, round=1)
    workflow.invoke(REQUEST, thread)
    release = take_lease(saver, thread["configurable"]["thread_id"])
    assert release is not None
    with pytest.raises(ThreadBusyError, match="is being driven"):
        what_if(workflow, thread, decision=ELSE, round=1)
    release()
    assert what_if(workflow, thread, decision=ELSE, round=1).result["status"] == "completed"


def test_a_visit_that_a_budget_stopped_is_changed_from_its_beginning() -> None:
    def price(city: str) -> str:
        """Look up the price of a city."""
        return "Price: $360"

    clerk = Participant(tools=[price], model="offline", description="Prices cities.")
    builder = SupervisorWorkflowBuilder(
        "Trip", finish="forward", budget=Budget(max_calls=1, on_breach="ask")
    )
    builder.participants(clerk=clerk).with_manager(follow(["clerk"]))
    workflow = builder.build(checkpointer="memory:")
    asked: WorkflowInput = {"messages": [("user", "The price in Lisbon")]}
    assert workflow.invoke(asked, {"configurable": {"thread_id": "1"}})["status"] == "waiting"
    assert resume(workflow, "1", "9")["reports"][0]["text"] == "Price: $360"
    fork = what_if(workflow, "1", participant="clerk", instead=lambda messages: "Sold out")
    assert [report["text"] for report in fork.result["reports"]] == ["Sold out"]
