"""Local graphs: what the models of participants are sent, and how."""

from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.messages.utils import count_tokens_approximately

from asterism import Participant, Personality, SupervisorWorkflowBuilder
from asterism.testing import ScriptedChatModel
from tests.plans import drive
from tests.teams import follow

REQUEST = {"messages": [("user", "What does it cost?")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


def price(city: str) -> str:
    """Tell a price."""
    return "9 dollars"


def asked(way: str, spec: Participant) -> Any:
    builder = SupervisorWorkflowBuilder("Trip", finish="forward").participants(trains=spec)
    return drive(builder.with_manager(follow(["trains"])).build(), way, REQUEST, None)


# ---- the default line


@WAYS
@pytest.mark.parametrize("tools", [[], [price]], ids=["a model", "an agent"])
@pytest.mark.parametrize("prompt", [None, "", " \n"], ids=["none", "empty", "white space"])
async def test_a_model_without_a_prompt_is_told_who_it_is(
    way: str, tools: list[Any], prompt: str | None
) -> None:
    model = ScriptedChatModel(script=["Done."])
    spec = Participant(model=model, tools=tools, prompt=prompt, description="Finds trains for $5.")
    await asked(way, spec)
    first, *rest = model.calls[0].messages
    assert isinstance(first, SystemMessage)
    assert first.text.startswith("You are trains. Finds trains for $5.\n")
    assert "Do only your part" in first.text
    assert all(isinstance(message, HumanMessage) for message in rest)
    assert count_tokens_approximately([first]) < 50


@WAYS
@pytest.mark.parametrize("tools", [[], [price]], ids=["a model", "an agent"])
async def test_a_prompt_stands_alone(way: str, tools: list[Any]) -> None:
    model = ScriptedChatModel(script=["Done."])
    await asked(way, Participant(model=model, tools=tools, prompt="Find.", description="F."))
    assert model.calls[0].messages[0].text == "Find."


def test_a_character_comes_after_the_default_line() -> None:
    model = ScriptedChatModel(script=["Done."])
    who = Personality(style="dry")
    spec = Participant(model=model, personality=who, description="Finds.")
    builder = SupervisorWorkflowBuilder("Trip", finish="forward").participants(trains=spec)
    builder.with_manager(follow(["trains"])).build().invoke(REQUEST)
    text = model.calls[0].messages[0].text
    assert text.startswith("You are trains. Finds.\n")
    assert text.endswith("Your way of speaking: dry")


def test_a_chat_model_of_ones_own_is_told_nothing() -> None:
    model = ScriptedChatModel(script=["Done."])
    builder = SupervisorWorkflowBuilder("Trip", finish="forward")
    builder.participants(trains=Participant(runs=model, description="Finds."))
    builder.with_manager(follow(["trains"])).build().invoke(REQUEST)
    assert [message.type for message in model.calls[0].messages] == ["human"]
