"""Time travel: forks with the participants' memory of then, edits, participants that are gone."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism import Participant, SupervisorWorkflowBuilder, proceed, resume
from asterism.core.run_types import WorkflowInput
from asterism.errors import UnknownParticipantError
from tests.graphs.test_people import bank, calls
from tests.teams import Turns, follow, said, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
ROUTE = ["venue", "food", "venue", "food", "venue"]
Saver = BaseCheckpointSaver[str]


def memory(workflow: Any, config: RunnableConfig, name: str) -> list[str]:
    inside: RunnableConfig = {"configurable": {**config["configurable"], "checkpoint_ns": name}}
    values = workflow.get_state({"configurable": {**inside["configurable"], "checkpoint_id": None}})
    return [m.text for m in values.values.get("messages", []) if m.type == "ai"]


def past_states(workflow: Any, thread: RunnableConfig) -> list[Any]:
    return [state for state in workflow.get_state_history(thread) if state.next]


@pytest.mark.parametrize("back", range(11))
def test_a_fork_from_any_checkpoint_finds_the_memory_of_then(
    back: int, saver: Saver, thread: RunnableConfig
) -> None:
    turns = Turns()
    workflow = star(turns, ROUTE).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread)
    states = past_states(workflow, thread)
    state = states[min(back, len(states) - 1)]
    done = [report["text"] for report in state.values.get("reports", [])]
    turns.prompts.clear()
    result = workflow.invoke(None, state.config)
    assert result["status"] == "completed"
    assert said(result)[: len(done)] == done
    assert len(said(result)) == len(ROUTE)
    for name in ("venue", "food"):
        before = [text for text in done if text.startswith(name)]
        first = (turns.prompts.get(name) or [[]])[0]
        assert [m.text for m in first if m.type == "ai"] == (before if first else [])


def test_branches_do_not_mix(saver: Saver, thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ROUTE).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread)
    before = next(s for s in past_states(workflow, thread) if len(s.values["reports"]) == 2)
    fork = workflow.update_state(
        before.config, {"decision": {"next_agent": "food", "instruction": "Else"}}, "supervisor"
    )
    result = workflow.invoke(None, fork)
    assert said(result)[:3] == ["venue 1", "food 1", "food 3"]
    assert [m.text for m in turns.prompts["food"][2] if m.type == "ai"] == ["food 1"]


def test_an_open_question_can_be_asked_again_and_answered_otherwise(
    saver: Saver, thread: RunnableConfig
) -> None:
    effects, _, workflow = bank(saver, [calls(5), "paid", calls(7), "paid less"])
    workflow.invoke(REQUEST, thread)
    resume(workflow, thread, "yes")
    before = next(s for s in past_states(workflow, thread) if s.next == ("bank",))
    assert workflow.invoke(None, before.config)["status"] == "waiting"
    result = resume(workflow, thread, "no")
    assert said(result) == ["paid less"]
    assert effects.done == ["paid 5: yes", "paid 7: no"]


def paused(saver: Saver, thread: RunnableConfig) -> Turns:
    """A thread that waits for its second visit to the venue."""
    turns = Turns()
    workflow = star(turns, ["venue", "venue"]).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread, interrupt_before=["venue"])
    workflow.invoke(None, thread, interrupt_before=["venue"])
    assert said(workflow.get_state(thread).values) == ["venue 1"]
    return turns


def without_venue(turns: Turns, saver: Saver, route: list[str | None]) -> Any:
    builder = SupervisorWorkflowBuilder("New", finish="forward")
    builder.participants(halls=turns.participant("halls"), food=turns.participant("food"))
    return builder.with_manager(follow(route)).build(checkpointer=saver)


def test_a_participant_that_is_gone_is_named_with_the_way_out(
    saver: Saver, thread: RunnableConfig
) -> None:
    workflow = without_venue(paused(saver, thread), saver, [])
    for _ in range(2):
        with pytest.raises(
            UnknownParticipantError, match=r"waits for a visit to 'venue'.*it has halls, food"
        ):
            proceed(workflow, thread)
    with pytest.raises(UnknownParticipantError, match="Say who takes over from 'venue'"):
        workflow.rename(thread, {"other": "halls"})
    with pytest.raises(UnknownParticipantError, match="one of halls, food, or None"):
        workflow.rename(thread, {"venue": "nobody"})


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_renamed_participant_goes_on_with_its_memory(
    asynchronous: bool, saver: Saver, thread: RunnableConfig
) -> None:
    turns = paused(saver, thread)
    workflow = without_venue(turns, saver, ["", "", None])
    if asynchronous:
        await workflow.arename(thread, {"venue": "halls"})
        result = await workflow.ainvoke(None, thread)
    else:
        workflow.rename(thread, {"venue": "halls"})
        result = proceed(workflow, thread)
    assert said(result) == ["venue 1", "halls 1"]
    assert [m.text for m in turns.prompts["halls"][0] if m.type == "ai"] == ["venue 1"]


def test_a_removed_participant_is_decided_anew(saver: Saver, thread: RunnableConfig) -> None:
    turns = paused(saver, thread)
    workflow = without_venue(turns, saver, ["", "", "food", None])
    workflow.rename(thread, {"venue": None})
    assert said(proceed(workflow, thread)) == ["venue 1", "food 1"]


def test_a_new_request_goes_on_without_the_one_who_is_gone(
    saver: Saver, thread: RunnableConfig
) -> None:
    workflow = without_venue(paused(saver, thread), saver, ["food"])
    assert said(workflow.invoke(REQUEST, thread)) == ["food 1"]


def test_a_renamed_workflow_takes_the_memories_of_its_own_with_it(
    saver: Saver, thread: RunnableConfig
) -> None:
    turns = Turns()
    inner = star(turns, ["venue"], description="Plans.").build()

    def outer(name: str, route: list[str | None]) -> Any:
        builder = SupervisorWorkflowBuilder("Outer", finish="forward")
        builder.participants(**{name: Participant(runs=inner, description="Plans.")})
        return builder.with_manager(follow(route)).build(checkpointer=saver)

    old = outer("team", ["team", "team"])
    old.invoke(REQUEST, thread, interrupt_before=["team"])
    old.invoke(None, thread, interrupt_before=["team"])
    new = outer("crew", ["", "", None])
    new.rename(thread, {"team": "crew"})
    assert said(proceed(new, thread)) == ["venue 1", "venue 2"]
    assert [m.text for m in turns.prompts["venue"][1] if m.type == "ai"] == ["venue 1"]
