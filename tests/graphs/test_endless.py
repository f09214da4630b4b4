"""Endless work: loops, requirements, limits, and sizes."""

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    proceed,
    resume,
)
from asterism.core.run_types import WorkflowInput
from tests.teams import Turns, follow, said, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


class Stubborn:
    """Sends the same participant to the same work for ever, and keeps what it is told."""

    def __init__(self, *after: str | None) -> None:
        self.told: list[Sequence[tuple[str, str]]] = []
        self._after = list(after)

    def decide(self, view: SupervisorView) -> SupervisorDecision:
        self.told.append(view.complaints)
        if view.complaints and self._after:
            return SupervisorDecision(next_agent=self._after.pop(0), instruction="else")
        return SupervisorDecision(next_agent="echo", instruction="Say it")

    async def adecide(self, view: SupervisorView) -> SupervisorDecision:
        return self.decide(view)


def looping(decider: Any, say: Any = lambda messages: "The same", **options: Any) -> Any:
    builder = SupervisorWorkflowBuilder("Loop", finish="forward", **options)
    builder.participants(
        echo=Participant(runs=say, description="Echoes."),
        other=Participant(runs=lambda messages: "Something else", description="Differs."),
    )
    return builder.with_manager(decider).build(checkpointer=InMemorySaver())


def test_the_same_result_three_times_is_a_stall(thread: RunnableConfig) -> None:
    decider = Stubborn()
    result = looping(decider).invoke(REQUEST, thread)
    assert (result["status"], result["iterations"]) == ("stalled", 4)
    assert result["reason"].startswith("echo has given the same answer to the same instruction 3")
    assert said(result) == ["The same"] * 3
    assert [len(complaints) for complaints in decider.told] == [0, 0, 0, 1]


def test_a_supervisor_that_replans_goes_on(thread: RunnableConfig) -> None:
    result = looping(Stubborn("other", None)).invoke(REQUEST, thread)
    assert said(result)[:4] == ["The same"] * 3 + ["Something else"]


def test_white_space_does_not_make_a_difference(thread: RunnableConfig) -> None:
    turns = iter(["a  b", "a b ", " a\nb"])
    result = looping(Stubborn(), lambda messages: next(turns)).invoke(REQUEST, thread)
    assert result["status"] == "stalled"


def test_another_result_is_no_loop(thread: RunnableConfig) -> None:
    turns = iter(range(99))
    workflow = looping(Stubborn(), lambda messages: f"Step {next(turns)}", max_iterations=9)
    result = workflow.invoke(REQUEST, thread)
    assert (result["status"], len(result["reports"])) == ("limit", 9)


def test_the_count_starts_anew_with_each_request(thread: RunnableConfig) -> None:
    workflow = looping(follow(["echo", "echo"]))
    for _ in range(3):
        assert workflow.invoke(REQUEST, thread)["status"] == "completed"


def test_a_stall_can_be_asked_about(thread: RunnableConfig) -> None:
    workflow = looping(Stubborn(), on_stall="ask_user")
    result = workflow.invoke(REQUEST, thread)
    assert result["status"] == "waiting"
    assert "The work stands still: echo" in result["__interrupt__"][0].value["prompt"]
    assert resume(workflow, thread, "Louder")["status"] == "waiting"


def test_a_stall_can_end_the_run_at_once(thread: RunnableConfig) -> None:
    decider = Stubborn()
    result = looping(decider, on_stall="finish").invoke(REQUEST, thread)
    assert (result["status"], len(decider.told)) == ("stalled", 3)


def finishing(view: SupervisorView) -> SupervisorDecision:
    """Finish at once, unless told who is missing; then send the first of them."""
    if not view.complaints:
        return SupervisorDecision(next_agent=None)
    missing = next(name for name in view.participants if name in view.complaints[-1][1])
    return SupervisorDecision(next_agent=missing, instruction="Answer")


def test_a_finish_before_the_required_have_answered_is_sent_back(thread: RunnableConfig) -> None:
    told: list[str] = []

    def decide(view: SupervisorView) -> SupervisorDecision:
        told.extend(why for _, why in view.complaints)
        return finishing(view)

    builder = star(Turns(), ["risk", "law", "food"], require=["risk", "law"])
    result = (
        builder.with_manager(decide).build(checkpointer=InMemorySaver()).invoke(REQUEST, thread)
    )
    assert result["status"] == "completed"
    assert sorted(r["participant"] for r in result["reports"]) == ["law", "risk"]
    assert told[0].startswith("the request cannot be finished: risk, law must answer first")
    assert "finished: risk must answer first" in told[1]


def test_a_supervisor_that_insists_on_finishing_is_overruled(thread: RunnableConfig) -> None:
    builder = star(Turns(), ["risk"], require=["risk"]).with_manager(follow([]))
    result = builder.build(checkpointer=InMemorySaver()).invoke(REQUEST, thread)
    assert (result["status"], said(result)) == ("completed", ["risk 1"])


def test_who_is_required_and_fails_ends_the_run_as_failed(thread: RunnableConfig) -> None:
    def fails(messages: Any) -> str:
        raise ValueError("no")

    builder = star(Turns(), ["food"], require=["risk"])
    builder.participants(risk=Participant(runs=fails, description="Fails."))
    workflow = builder.with_manager(follow([])).build(checkpointer=InMemorySaver())
    result = workflow.invoke(REQUEST, thread)
    assert result["status"] == "failed"
    assert result["reason"] == "risk must answer and did not: ValueError: no"


def test_a_run_goes_on_when_its_limit_is_raised(thread: RunnableConfig) -> None:
    turns, saver = Turns(), InMemorySaver()
    route = ["venue", "food", "venue", "food"]
    short = star(turns, route, max_iterations=2).build(checkpointer=saver)
    assert short.invoke(REQUEST, thread)["status"] == "limit"
    long = star(turns, route, max_iterations=9).build(checkpointer=saver)
    result = proceed(long, thread)
    assert (result["status"], result["iterations"]) == ("completed", 5)
    assert said(result) == ["venue 1", "food 1", "venue 2", "food 2"]


async def test_a_thousand_participants_build_and_run(thread: RunnableConfig) -> None:
    names = [f"p{number}" for number in range(1_000)]
    workflow = (
        star(Turns(), names, max_iterations=9)
        .with_manager(follow(["p0", "p999", "p500"]))
        .build(checkpointer=InMemorySaver())
    )
    assert said(await workflow.ainvoke(REQUEST, thread)) == ["p0 1", "p999 1", "p500 1"]


async def test_a_thread_of_ten_thousand_messages_works(thread: RunnableConfig) -> None:
    long = [
        kind(f"message {number}") for number in range(5_000) for kind in (HumanMessage, AIMessage)
    ]
    turns = Turns()
    workflow = star(turns, ["venue", "food"]).build(checkpointer=InMemorySaver())
    result = await workflow.ainvoke({"messages": [*long, HumanMessage("Plan it")]}, thread)
    assert (result["status"], len(result["messages"])) == ("completed", 10_006)
    again = await workflow.ainvoke(REQUEST, thread)
    assert len(again["messages"]) == 10_012
    assert [m.text for m in turns.prompts["venue"][0]] == ["Plan it\n\nYour part: step 1"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"require": ["nobody"]}, "require names 'nobody'"),
        ({"on_stall": "cry"}, "on_stall is 'cry'; allowed: 'replan'"),
        ({"thread_wait": -1}, "thread_wait is -1"),
        ({"thread_wait": float("nan")}, "thread_wait is nan"),
        ({"thread_wait": float("inf")}, "thread_wait is inf"),
        ({"thread_wait": True}, "thread_wait is True"),
        ({"thread_wait": "1"}, "thread_wait is '1'"),
    ],
)
def test_bad_rules_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match="cannot be built") as caught:
        star(Turns(), ["venue"], **options).build()
    assert fault in str(caught.value)
