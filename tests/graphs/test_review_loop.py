"""A loop of work and review: when it goes on, when it ends, and what the worker is sent."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from asterism import (
    Participant,
    SupervisorWorkflowBuilder,
    create_review_loop,
    create_reviewer,
    lines_of,
    pending_requests,
)
from asterism.core.interrupts import answer_command
from asterism.errors import ConfigurationError
from asterism.testing import ScriptedChatModel
from tests.teams import follow, said

THREAD: Any = {"configurable": {"thread_id": "1"}}
REQUEST: Any = {"messages": [("user", "Invite them")]}


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def invoke(request: pytest.FixtureRequest) -> Callable[..., Any]:
    def run(workflow: Any, *args: Any) -> Any:
        if request.param:
            return asyncio.run(workflow.ainvoke(*args))
        return workflow.invoke(*args)

    return run


def judge(*scores: float) -> ScriptedChatModel:
    """A model that gives scores, one after the other."""
    reviews = [
        {
            "criterion_1": {"score": score, "reason": f"the date is {score}"},
            "criterion_2": {"score": 1.0, "reason": "polite"},
        }
        for score in scores
    ]
    return ScriptedChatModel(script=reviews)


def loop(worker: Any, model: Any, **options: Any) -> SupervisorWorkflowBuilder:
    return create_review_loop(worker, create_reviewer(model, ["date", "tone"]), **options)


def drafts(asked: list[str]) -> Callable[..., Any]:
    def writer(messages: Any) -> str:
        """Writes invitations."""
        asked.append(messages[-1].text)
        return f"draft {len(asked)}"

    return writer


def test_work_goes_back_until_it_is_good(invoke: Callable[..., Any]) -> None:
    asked: list[str] = []
    model = judge(0.2, 0.9)
    team = loop(drafts(asked), model).build(checkpointer=InMemorySaver())
    result = invoke(team, REQUEST, THREAD)
    assert (result["status"], result["messages"][-1].text) == ("completed", "draft 2")
    assert asked[0] == "Invite them"
    assert "scored 0.2 of 1; it has to reach 0.8" in asked[1]
    assert "- date: the date is 0.2" in asked[1] and "tone" not in asked[1]
    assert "draft 1" in model.calls[0].messages[-1].text
    assert sum(line["calls"] for line in lines_of(result)) == 2  # the judge is counted
    model.assert_finished()


def test_the_last_round_is_the_answer() -> None:
    team = loop(drafts([]), judge(0.1, 0.1), rounds=3).build(checkpointer=InMemorySaver())
    result = team.invoke(REQUEST, THREAD)
    assert (result["status"], result["messages"][-1].text) == ("completed", "draft 3")


def test_an_answer_that_must_pass_fails_the_request(invoke: Callable[..., Any]) -> None:
    options: dict[str, Any] = {"rounds": 2, "must_pass": True}
    inner = loop(drafts([]), judge(0.1, 0.2), **options).build()
    team = (
        SupervisorWorkflowBuilder("Office", finish="forward")
        .participants(writer=Participant(runs=inner))
        .with_manager(follow(["writer", None]))
        .build(checkpointer=InMemorySaver())
    )
    report = invoke(team, REQUEST, THREAD)["reports"][0]
    assert (report["status"], report["kind"]) == ("failed", "agent_failed")
    assert "scored 0.2 of 0.8 in its 2. round" in report["error"]


def test_a_failure_of_the_worker_ends_the_loop() -> None:
    def fail(messages: Any) -> str:
        """Fails."""
        raise ValueError("no paper")

    model = judge()
    result = loop(fail, model).build(checkpointer=InMemorySaver()).invoke(REQUEST, THREAD)
    assert result["status"] == "failed" and "no paper" in str(result["reason"])
    model.assert_finished()


def test_a_question_of_the_worker_is_asked_and_reviewed_once(invoke: Callable[..., Any]) -> None:
    def writer(messages: Any) -> str:
        """Writes invitations."""
        return f"draft for {interrupt({'prompt': 'Whom?'})}"

    model = judge(0.9)
    team = loop(writer, model).build(checkpointer=InMemorySaver())
    invoke(team, REQUEST, THREAD)
    (question,) = pending_requests(team, THREAD)
    result = invoke(team, answer_command([question], "Ada"), THREAD)
    assert said(result) == ["draft for Ada"]
    model.assert_finished()


def test_the_final_answer_of_a_team_is_reviewed() -> None:
    team = (
        SupervisorWorkflowBuilder("Writers", finish="forward", description="Writes.")
        .participants(writer=drafts([]))
        .with_strategy("sequential")
        .build()
    )
    result = loop(team, judge(0.1, 0.9)).build(checkpointer=InMemorySaver()).invoke(REQUEST, THREAD)
    assert result["messages"][-1].text == "draft 2"


@pytest.mark.parametrize(
    "options", [{"rounds": 0}, {"threshold": 2}, {"threshold": "high"}], ids=str
)
def test_what_cannot_be_reached_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        loop(drafts([]), judge(), **options)
