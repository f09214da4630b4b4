"""Local graphs: what the models of participants are sent, and how."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import RunnableConfig

from asterism import Participant, Personality, SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.plans import drive
from tests.teams import follow

REQUEST: WorkflowInput = {"messages": [("user", "What does it cost?")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])
CALL = ScriptedReply(tool_calls=[("price", {"city": "Rome"})])


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


# ---- bound arguments


class Watched(ScriptedChatModel):
    """Keeps the tags of its calls."""

    tags_seen: list[Any]

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **k: Any) -> Any:
        self.tags_seen.append(run_manager.tags)
        return super()._generate(messages, stop, run_manager, **k)


BOUND: dict[str, Callable[[Any], Any]] = {
    "bind": lambda model: model.bind(temperature=0.7, seed=1),
    "bind twice": lambda model: model.bind(seed=1).bind(temperature=0.7),
    "with_config": lambda model: model.bind(temperature=0.7, seed=1).with_config(tags=["t"]),
    "with_retry": lambda model: model.bind(temperature=0.7, seed=1).with_retry(),
    "with_fallbacks": lambda model: model.bind(temperature=0.7, seed=1).with_fallbacks(
        [ScriptedChatModel()]
    ),
}


@WAYS
@pytest.mark.parametrize("bind", BOUND.values(), ids=BOUND)
@pytest.mark.parametrize("tools", [[], [price]], ids=["a model", "an agent"])
async def test_a_participant_keeps_what_is_bound_to_its_model(
    way: str, tools: list[Any], bind: Any
) -> None:
    model = ScriptedChatModel(script=[*[CALL] * len(tools), "9 dollars."])
    result = await asked(way, Participant(model=bind(model), tools=tools, description="F."))
    assert result["reports"][0]["text"] == "9 dollars."
    assert len(model.calls) == 1 + len(tools)
    for call in model.calls:
        assert (call.options["temperature"], call.options["seed"]) == (0.7, 1)
        assert call.tools == ["price"][: len(tools)]


@WAYS
@pytest.mark.parametrize("tools", [[], [price]], ids=["a model", "an agent"])
async def test_the_second_model_keeps_what_is_bound_to_it(way: str, tools: list[Any]) -> None:
    first = ScriptedChatModel(script=[RuntimeError("down")])
    second = ScriptedChatModel(script=["9 dollars."])
    spec = Participant(
        model=first.bind(seed=1),
        fallback_model=second.bind(temperature=0.2),
        tools=tools,
        description="F.",
    )
    result = await asked(way, spec)
    assert result["reports"][0]["text"] == "9 dollars."
    assert (first.calls[0].options["seed"], second.calls[0].options["temperature"]) == (1, 0.2)
    assert second.calls[0].tools == ["price"][: len(tools)]


@pytest.mark.parametrize("tools", [[], [price]], ids=["a model", "an agent"])
def test_a_config_of_the_model_reaches_its_calls(tools: list[Any]) -> None:
    seen: list[Any] = []
    model = Watched(script=["Done."], tags_seen=seen)
    tagged: Any = model.with_config(RunnableConfig(tags=["cheap"]))
    builder = SupervisorWorkflowBuilder("Trip", finish="forward")
    builder.participants(trains=Participant(model=tagged, tools=tools, description="F."))
    builder.with_manager(follow(["trains"])).build().invoke(REQUEST)
    assert ["cheap" in tags for tags in model.tags_seen] == [True]
