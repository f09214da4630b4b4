"""The supervisor: decisions, repairs, fallbacks, limits."""

import traceback
from collections.abc import Sequence
from itertools import pairwise
from traceback import walk_tb
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver

from asterism import (
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
    create_supervisor_agent,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import RoutingError
from asterism.testing import ScriptedChatModel
from tests.teams import Turns, said, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
VISIT = {"next_agent": "venue", "instruction": "Find a hall"}
DONE: dict[str, Any] = {"next_agent": None}


def scripted(script: Sequence[Any], **options: Any) -> tuple[ScriptedChatModel, Any]:
    model = ScriptedChatModel(script=script)
    options = {"finish": "forward", **options}
    builder = SupervisorWorkflowBuilder("Test", model=model, **options)
    workflow = builder.participants(venue=Turns().participant("venue"))
    return model, workflow.build(checkpointer=InMemorySaver())


def test_the_model_is_shown_the_rules_the_team_and_the_conversation(
    thread: RunnableConfig,
) -> None:
    model, workflow = scripted([VISIT, DONE], prompt="Be quick.")
    workflow.invoke(REQUEST, thread)
    first, second = (call.messages for call in model.calls)
    assert isinstance(first[0], SystemMessage)
    assert "- venue: Answers as venue." in first[0].text
    assert "Be quick." in first[0].text
    assert [(m.type, m.text) for m in first[1:]] == [("human", "Plan it")]
    assert [(m.type, m.text) for m in second[1:]] == [
        ("human", "Plan it"),
        ("ai", '{"next_agent": "venue", "instruction": "Find a hall"}'),
        ("human", '<report from="venue">\nvenue 1\n</report>'),
    ]


def test_each_prompt_begins_with_the_one_before(thread: RunnableConfig) -> None:
    model, workflow = scripted([VISIT, VISIT, DONE, VISIT, DONE])
    workflow.invoke(REQUEST, thread)
    workflow.invoke({"messages": [("user", "And now?")]}, thread)
    prompts = [[(m.type, m.text) for m in call.messages] for call in model.calls]
    for before, after in pairwise(prompts):
        assert after[: len(before)] == before


def test_the_schema_is_bound_as_the_tool_that_has_to_be_called(thread: RunnableConfig) -> None:
    model, workflow = scripted([DONE])
    workflow.invoke(REQUEST, thread)
    assert model.calls[0].tools == ["SupervisorDecision"]
    assert model.calls[0].options["tool_choice"] == "SupervisorDecision"
    parameters = model.calls[0].options["tools"][0]["function"]["parameters"]
    assert "'venue'" in str(parameters["properties"]["next_agent"])


def test_a_bad_decision_is_asked_for_again_with_the_reason(thread: RunnableConfig) -> None:
    model, workflow = scripted(["Hm.", {"next_agent": "nobody"}, VISIT, DONE])
    result = workflow.invoke(REQUEST, thread)
    assert said(result) == ["venue 1"]
    second, third = model.calls[1].messages, model.calls[2].messages
    assert [m.type for m in second[-2:]] == ["ai", "human"]
    assert second[-2].text == "Hm."
    assert "plain text" in second[-1].text
    assert '"next_agent": "venue" or null' in second[-1].text
    assert "'nobody', which is not a participant" in third[-1].text
    model.assert_finished()
    assert "Hm." not in str(result["messages"])


def test_repairs_are_bounded(thread: RunnableConfig) -> None:
    model, workflow = scripted(["one", "two", "three"])
    with pytest.raises(RoutingError, match=r"in 3 tries.*It said: 'three'") as caught:
        workflow.invoke(REQUEST, thread)
    assert caught.value.said == ("one", "two", "three")
    assert caught.value.attempts == 3
    model.assert_finished()
    assert workflow.get_state(thread).values["status"] == "failed"


def test_no_repairs_means_one_try(thread: RunnableConfig) -> None:
    model, workflow = scripted(["one"], max_repairs=0)
    with pytest.raises(RoutingError, match="in 1 try:"):
        workflow.invoke(REQUEST, thread)
    model.assert_finished()


def test_a_thread_goes_on_after_a_routing_error(thread: RunnableConfig) -> None:
    _, workflow = scripted(["one", "two", "three", VISIT, DONE])
    with pytest.raises(RoutingError):
        workflow.invoke(REQUEST, thread)
    result = workflow.invoke({"messages": [("user", "Once more")]}, thread)
    assert (result["status"], said(result)) == ("completed", ["venue 1"])


def test_fallback_finish_ends_as_failed(thread: RunnableConfig) -> None:
    _, workflow = scripted(["a", "b", "c"], fallback="finish")
    result = workflow.invoke(REQUEST, thread)
    assert result["status"] == "failed"
    assert result["reason"].startswith("no valid decision in 3 tries: the answer is plain text")


def test_fallback_participant_goes_on(thread: RunnableConfig) -> None:
    _, workflow = scripted(["a", "b", "c", DONE], fallback="venue")
    assert said(workflow.invoke(REQUEST, thread)) == ["venue 1"]


def test_fallback_asks_the_user(thread: RunnableConfig) -> None:
    _, workflow = scripted(["a", "b", "c", DONE], fallback="ask_user")
    result = workflow.invoke(REQUEST, thread)
    assert result["status"] == "waiting"
    assert "could not decide" in result["__interrupt__"][0].value["prompt"]


def test_the_limit_ends_the_run_with_what_there_is(thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"] * 9, max_iterations=3).build(checkpointer=InMemorySaver())
    result = workflow.invoke(REQUEST, thread)
    assert (result["status"], result["iterations"]) == ("limit", 3)
    assert result["reason"] == "max_iterations=3 decisions were taken"
    assert said(result) == ["venue 1", "venue 2", "venue 3"]
    assert result["messages"][-1].text == "venue 3"


def test_counters_start_anew_with_each_request(thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ["venue", "food"]).build(checkpointer=InMemorySaver())
    first = workflow.invoke(REQUEST, thread)
    second = workflow.invoke(REQUEST, thread)
    assert first["iterations"] == second["iterations"] == 3
    assert said(second) == ["venue 2", "food 2"]
    assert len(second["messages"]) == 2 * len(first["messages"])


def rule(view: SupervisorView) -> SupervisorDecision:
    return SupervisorDecision(next_agent=None if view.reports else "venue")


async def arule(view: SupervisorView) -> dict[str, Any]:
    return {"next_agent": None if view.reports else "VENUE"}


class Person:
    def decide(self, view: SupervisorView) -> SupervisorDecision:
        return rule(view)

    async def adecide(self, view: SupervisorView) -> SupervisorDecision:
        return rule(view)


@pytest.mark.parametrize("decider", [rule, arule, Person(), RunnableLambda(rule)])
async def test_a_decider_may_be_anything_that_decides(decider: Any) -> None:
    builder = SupervisorWorkflowBuilder("Test", finish="forward").with_manager(decider)
    workflow = builder.participants(venue=Turns().participant("venue")).build()
    assert said(workflow.invoke(REQUEST)) == ["venue 1"]
    assert said(await workflow.ainvoke(REQUEST)) == ["venue 2"]


@pytest.mark.parametrize("bad", [None, "venue", 7])
def test_a_decider_that_returns_nothing_does_not_finish_in_silence(bad: Any) -> None:
    def decide(view: SupervisorView) -> Any:
        return bad

    builder = SupervisorWorkflowBuilder("Test", finish="forward").with_manager(decide)
    workflow = builder.participants(venue=Turns().participant("venue")).build()
    with pytest.raises(RoutingError, match="To finish, return"):
        workflow.invoke(REQUEST)


def _frames_of_ours(error: BaseException | None) -> list[str]:
    """The functions of the library in a traceback, with the causes that are printed above it."""
    found: list[str] = []
    while error is not None:
        for frame, _ in walk_tb(error.__traceback__):
            if str(frame.f_globals["__name__"]).startswith("asterism."):
                found.append(frame.f_code.co_qualname)
        error = error.__cause__
    return found


def buggy(view: SupervisorView) -> SupervisorDecision:
    raise KeyError("a bug")


async def abuggy(view: SupervisorView) -> SupervisorDecision:
    raise KeyError("a bug")


@pytest.mark.parametrize("decider", [buggy, abuggy], ids=["sync decider", "async decider"])
@pytest.mark.parametrize("is_stored", [False, True], ids=["without saver", "with saver"])
async def test_the_traceback_of_a_bug_in_a_decider_has_few_frames_of_ours(
    decider: Any, is_stored: bool, thread: RunnableConfig
) -> None:
    saver = InMemorySaver() if is_stored else None
    workflow = star(Turns(), ["venue"]).with_manager(decider).build(checkpointer=saver)
    with pytest.raises(RoutingError) as caught:
        workflow.invoke(REQUEST, thread)
    with pytest.raises(RoutingError) as acaught:
        await workflow.ainvoke(REQUEST, thread)
    for error in (caught.value, acaught.value):
        frames = _frames_of_ours(error)
        assert 0 < len(frames) <= 8, frames
        assert isinstance(error.__cause__, KeyError)
        assert traceback.format_exception(error.__cause__)[-2].count("a bug") == 1


def test_the_decisions_show_in_the_history(thread: RunnableConfig) -> None:
    _, workflow = scripted([VISIT, DONE])
    result = workflow.invoke(REQUEST, thread)
    assert [(m.type, m.name, m.text) for m in result["messages"]] == [
        ("human", None, "Plan it"),
        ("ai", "supervisor", "→ venue: Find a hall"),
        ("ai", "venue", "venue 1"),
        ("ai", "supervisor", "venue 1"),
    ]


def test_a_model_without_tools_is_asked_for_json_text(
    thread: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_tools(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    monkeypatch.setattr(ScriptedChatModel, "bind_tools", no_tools)
    script = ['I say {"next_agent": "venue"}.', '{"next_agent": null}']
    _, workflow = scripted(script)
    assert said(workflow.invoke(REQUEST, thread)) == ["venue 1"]


def test_the_default_decider_can_be_made_alone() -> None:
    model = ScriptedChatModel(script=[DONE])
    decider = create_supervisor_agent(model, "- venue: Finds venues.", prompt="Be quick.")
    view = SupervisorView(
        messages=[HumanMessage("Hi")], participants={"venue": ""}, reports=[], iterations=0
    )
    assert isinstance(decider.decide(view), AIMessage)
    assert "- venue: Finds venues." in model.calls[0].messages[0].text
