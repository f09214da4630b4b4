"""A supervisor workflow, as its users write it: a client, a mapping of participants, tools."""

from collections.abc import Sequence
from typing import Any

import pytest

import asterism
from asterism import SupervisorWorkflowBuilder, create_supervisor_agent
from asterism.errors import ConfigurationError
from asterism.graphs.examples.event_planning import (
    build_event_planning_workflow,
    create_event_planning,
)
from asterism.testing import ScriptedChatModel

REQUEST: Any = {"messages": [("user", "Plan a party for 50 people in Seattle on May 5th")]}


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


def test_the_default_manager_takes_a_client_and_is_what_an_executor_was() -> None:
    script = [{"next_agent": "venue"}, {"next_agent": None}]
    manager = create_supervisor_agent(
        client=ScriptedChatModel(script=script), participants_description_block="- venue: Halls."
    )
    built = SupervisorWorkflowBuilder("Trip").participants(venue=venue).with_manager(manager)
    assert built.build().invoke(REQUEST)["messages"][-1].text == "Hall A"
    with pytest.raises(ConfigurationError, match="was given no model"):
        create_supervisor_agent()
    with pytest.raises(AttributeError, match=r"with_manager\(create_supervisor_agent"):
        _ = asterism.SupervisorOrchestratorExecutor
