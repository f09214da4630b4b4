"""Which models a team calls, as far as that can be seen."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableLambda
from langchain_ollama import ChatOllama

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.nodes.deciders.model_decider import create_supervisor_agent
from asterism.nodes.models_used import find_models
from asterism.offline import OfflineChatModel
from tests.teams import follow

OLLAMA: BaseChatModel = ChatOllama(model="qwen3")
LOCAL = OfflineChatModel()


def price(item: str) -> str:
    """Tell what an item costs."""
    return item


def say(messages: Any) -> str:
    """Says something."""
    return "something"


def call_global(messages: Any) -> Any:
    """Calls a model that stands beside it."""
    return OLLAMA.invoke(messages)


def call_closure() -> Callable[[Any], Any]:
    model = ChatOllama(model="llama3.2")
    return lambda messages: model.invoke(messages)


def builder(**team: Any) -> SupervisorWorkflowBuilder:
    described = {
        name: thing
        if isinstance(thing, Participant)
        else Participant(runs=thing, description="Works.")
        for name, thing in team.items()
    }
    return SupervisorWorkflowBuilder("Team", model="offline").participants(say=say, **described)


@pytest.mark.parametrize(
    ("workflow", "expected"),
    [
        pytest.param(builder(), ("offline",), id="a model that decides"),
        pytest.param(
            builder(a=Participant(tools=[price], description="x")), ("offline",), id="own"
        ),
        pytest.param(
            builder(a=Participant(model="ollama:qwen3", prompt="x")),
            ("offline", "ollama:qwen3"),
            id="another for a participant",
        ),
        pytest.param(
            builder(a=Participant(prompt="x", fallback_model=OLLAMA)),
            ("offline", "ollama:qwen3"),
            id="a fallback",
        ),
        pytest.param(builder(a=OLLAMA), ("offline", "ollama:qwen3"), id="a model that takes part"),
        pytest.param(
            builder(a=create_agent(OLLAMA, [price])), ("offline", "ollama:qwen3"), id="an agent"
        ),
        pytest.param(
            builder(a=builder(b=OLLAMA).build()), ("offline", "ollama:qwen3"), id="a workflow"
        ),
        pytest.param(builder(a=call_global), ("offline", "ollama:qwen3"), id="a global"),
        pytest.param(builder(a=call_closure()), ("offline", "ollama:llama3.2"), id="a closure"),
        pytest.param(
            builder(a=RunnableLambda(say) | OLLAMA), ("offline", "ollama:qwen3"), id="a chain"
        ),
        pytest.param(builder().with_model(OLLAMA), ("ollama:qwen3",), id="with another model"),
        pytest.param(
            SupervisorWorkflowBuilder("Team", model="offline", finish="forward")
            .participants(say=say)
            .with_manager(follow(["say"])),
            (),
            id="a model that is never called",
        ),
        pytest.param(
            SupervisorWorkflowBuilder("Team")
            .participants(say=say)
            .with_manager(create_supervisor_agent(OLLAMA, "- say: Says.")),
            ("ollama:qwen3",),
            id="a decider with a model",
        ),
    ],
)
def test_the_models_of_a_team_are_found(
    workflow: SupervisorWorkflowBuilder, expected: tuple[str, ...]
) -> None:
    assert find_models(workflow.build()) == expected


def test_the_models_of_a_plain_graph_are_found() -> None:
    assert find_models(create_agent(OLLAMA, [price])) == ("ollama:qwen3",)
    assert find_models(LOCAL.with_fallbacks([OLLAMA])) == ("offline", "ollama:qwen3")
    assert find_models(say, OLLAMA.bind(stop=["x"])) == ("ollama:qwen3",)


def test_with_model_leaves_the_builder_as_it_is() -> None:
    first = builder()
    assert find_models(first.with_model("ollama:qwen3").build()) == ("ollama:qwen3",)
    assert find_models(first.build()) == ("offline",)
