"""A supervisor workflow, as its users write it: a client, a mapping of participants, tools."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from langchain_core.callbacks import BaseCallbackHandler

import asterism
from asterism import (
    SupervisorDecision,
    SupervisorOrchestratorExecutor,
    SupervisorWorkflowBuilder,
    create_supervisor_agent,
)
from asterism.errors import ConfigurationError, WorkflowBuildError
from asterism.graphs.examples.event_planning import (
    build_event_planning_workflow,
    create_event_planning,
)
from asterism.prompts import SUPERVISOR_SYSTEM_PROMPT_TEMPLATE, render
from asterism.testing import ScriptedChatModel

REQUEST: Any = {"messages": [("user", "Plan a party for 50 people in Seattle on May 5th")]}
SCRIPT = [{"next_agent": "venue"}, {"next_agent": None}]


def venue(messages: Sequence[Any]) -> str:
    """Find venues."""
    return "Hall A"


@pytest.mark.parametrize("named", [True, False], ids=["by name", "as a mapping"])
def test_a_client_is_the_model_and_participants_may_be_a_mapping(named: bool) -> None:
    script = [{"next_agent": "venue"}, {"next_agent": None}, "The plan"]
    builder = SupervisorWorkflowBuilder("Trip", client=ScriptedChatModel(script=script))
    if named:
        builder.with_participants(venue=venue)
    else:
        builder.with_participants({"venue": venue})
    assert builder.build().invoke(REQUEST)["messages"][-1].text == "The plan"


def test_the_event_planning_takes_a_client_and_tools_for_everybody() -> None:
    def look(place: str) -> str:
        """Look a place up."""
        return place

    result = build_event_planning_workflow("offline", [look]).invoke(REQUEST)
    assert {report["participant"] for report in result["reports"]} >= {"venue", "catering"}
    with pytest.raises(ValueError, match="tools names 'nobody', who does not take part"):
        create_event_planning("offline", tools={"nobody": [look]})


def test_the_default_manager_takes_a_client_and_a_name_of_its_calls() -> None:
    called: list[str] = []

    class Names(BaseCallbackHandler):
        def on_chain_start(self, *args: Any, name: str = "", **kwargs: Any) -> None:
            called.append(name)

        def on_chat_model_start(self, *args: Any, name: str = "", **kwargs: Any) -> None:
            called.append(name)

    manager = create_supervisor_agent(
        client=ScriptedChatModel(script=SCRIPT),
        participants_description_block="- venue: Halls.",
        name="Event Planning Supervisor",
        response_format=SupervisorDecision,
    )
    built = SupervisorWorkflowBuilder("Trip").participants(venue=venue).with_manager(manager)
    result = built.build().invoke(REQUEST, {"callbacks": [Names()]})
    assert result["messages"][-1].text == "Hall A"
    assert called.count("Event Planning Supervisor") == 2
    assert {m.name for m in result["messages"]} == {None, "supervisor", "venue"}


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, ConfigurationError, "was given no model"),
        ({"model": "offline", "temperature": 0.2}, TypeError, r"init_chat_model.*docs/names\.md"),
        ({"model": "offline", "response_format": dict}, ConfigurationError, "finish=model"),
    ],
    ids=["no model", "a setting of models", "another format"],
)
def test_what_the_default_manager_does_not_take_is_refused_with_the_way_out(
    given: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        create_supervisor_agent(**given)


def executor(*names: str) -> SupervisorOrchestratorExecutor:
    agent = create_supervisor_agent(ScriptedChatModel(script=SCRIPT), "- venue: Halls.")
    return SupervisorOrchestratorExecutor(supervisor_agent=agent, participant_ids=list(names))


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
async def test_an_executor_is_a_manager(sync: bool) -> None:
    workflow = (
        SupervisorWorkflowBuilder(name="My Workflow")
        .with_participants(venue=venue)
        .with_manager(executor("venue"))
        .build()
    )
    result = workflow.invoke(REQUEST) if sync else await workflow.run(REQUEST["messages"])
    assert (result["status"], result["messages"][-1].text) == ("completed", "Hall A")


def test_an_executor_of_another_team_is_refused() -> None:
    builder = SupervisorWorkflowBuilder("x").participants(venue=venue)
    with pytest.raises(WorkflowBuildError) as caught:
        builder.with_manager(executor("budget")).build()
    assert "participant_ids names 'budget', who does not take part" in str(caught.value)
    assert "participant_ids lacks 'venue', who takes part" in str(caught.value)
    builder.with_manager(executor("venue")).build()
    builder.with_manager(executor("budget")).with_strategy("sequential").build()


@pytest.mark.parametrize(
    ("manager", "said"),
    [
        ("offline", r"with_manager\(create_supervisor_agent\(model"),
        (ScriptedChatModel(script=SCRIPT), r"with_manager\(create_supervisor_agent\(model"),
        (SupervisorOrchestratorExecutor(cast(Any, 5), ["venue"]), "a function of a Supervisor"),
    ],
    ids=["a name of a model", "a model", "a number"],
)
def test_what_cannot_decide_is_refused_when_it_is_built(manager: Any, said: str) -> None:
    builder = SupervisorWorkflowBuilder("x").participants(venue=venue).with_manager(manager)
    with pytest.raises(WorkflowBuildError, match=said):
        builder.build()


async def test_a_workflow_runs_a_text() -> None:
    workflow = SupervisorWorkflowBuilder("x", "Says halls.", 5, model="offline").participants(
        venue=venue
    )
    built = workflow.build()
    assert built.description == "Says halls."
    result = await built.run("Find a hall")
    assert result["status"] == "completed"
    assert "Hall A" in result["messages"][-1].text


def test_the_prompt_of_the_supervisor_is_a_template_that_shows_what_a_model_is_sent() -> None:
    assert SUPERVISOR_SYSTEM_PROMPT_TEMPLATE.input_variables == ["participants_description_block"]
    block = "- venue: Find {halls}."
    said = SUPERVISOR_SYSTEM_PROMPT_TEMPLATE.format(participants_description_block=block)
    assert said == render(
        "supervisor", participants=block, plans="", ending="", instructions="", example="name"
    )


def test_one_tool_for_everybody_needs_no_list() -> None:
    def look(place: str) -> str:
        """Look a place up."""
        return place

    assert build_event_planning_workflow(client="offline", tools=look).name == "Event planning"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("build_event_planning_workflow", r"asterism\.graphs\.examples\.event_planning"),
        ("SUPERVISOR_SYSTEM_PROMPT_TEMPLATE", r"asterism\.prompts"),
        ("EventCallback", "on_event="),
        ("AgentLoop", "agent_loop="),
    ],
)
def test_a_name_that_stands_elsewhere_says_where(name: str, said: str) -> None:
    with pytest.raises(AttributeError, match=f"{said}.*docs/names.md"):
        getattr(asterism, name)
    with pytest.raises(ImportError, match=f"{said}.*docs/names.md"):
        exec(f"from asterism import {name}")
    assert not hasattr(asterism, name)


def test_a_question_without_words_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="say what the user is asked"):
        SupervisorDecision(next_agent=None, user_input_needed=True)
