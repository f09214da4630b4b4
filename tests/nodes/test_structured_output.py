"""How a model is asked for an object, and what it learns of its model."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from llmock.pytest_plugin import LLMock
from pydantic import BaseModel

from asterism import SupervisorWorkflowBuilder
from asterism.core.decision_schema import decision_schema
from asterism.core.defaults import METHOD_VARIABLE, Method
from asterism.core.run_types import WorkflowInput
from asterism.errors import RoutingError, WorkflowBuildError
from asterism.nodes.structured_output import StructuredOutput, bind_inside, bind_method
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import said

REQUEST: WorkflowInput = {"messages": [("user", "What does a pen cost?")]}


class Plan(BaseModel):
    """A plan."""

    day: str


class RefusesAtServer(ScriptedChatModel):
    """The server answers a forced tool choice with status 400, as DeepSeek's reasoner does."""

    words: str = "deepseek-reasoner does not support this tool_choice"

    def _next(self, messages: Any, options: Any) -> Any:
        if options.get("tool_choice") not in (None, "auto"):
            request = httpx2.Request("POST", "http://127.0.0.1/v1/chat/completions")
            response = httpx2.Response(400, request=request)
            raise openai.BadRequestError(self.words, response=response, body=None)
        return super()._next(messages, options)


class RefusesInClient(ScriptedChatModel):
    """The client does not know a forced tool choice."""

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        if tool_choice not in (None, "auto"):
            raise ValueError(f"tool_choice {tool_choice!r} is not supported; use 'auto'")
        return super().bind_tools(tools, **kwargs)


class HasNoTools(ScriptedChatModel):
    """The client has no tools at all."""

    def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def clerk(messages: Any) -> str:
    """Tells prices."""
    return "3 dollars"


def shop(model: Any, **options: Any) -> SupervisorWorkflowBuilder:
    builder = SupervisorWorkflowBuilder("Shop", model=model, **{"finish": "forward", **options})
    return builder.participants(clerk=clerk)


@pytest.mark.parametrize("kind", [RefusesAtServer, RefusesInClient, HasNoTools])
def test_a_model_that_refuses_a_forced_tool_is_asked_in_words(kind: Any) -> None:
    model = kind(script=[{"next_agent": "clerk"}, {"next_agent": None}, {"day": "Monday"}])
    result = shop(model, finish=Plan).build().invoke(REQUEST)
    assert (result["status"], result["structured_response"]) == ("completed", Plan(day="Monday"))
    model.assert_finished()
    assert '{"next_agent": "clerk" or null' in model.calls[0].messages[0].text
    assert '{"day": text}' in model.calls[2].messages[0].text


def test_another_bad_request_is_no_refusal() -> None:
    model = RefusesAtServer(script=[], words="the prompt has 9000 tokens")
    with pytest.raises(RoutingError, match="the prompt has 9000 tokens"):
        shop(model).build().invoke(REQUEST)


def test_a_way_that_was_chosen_is_kept_to() -> None:
    with pytest.raises(RoutingError, match="does not support this tool_choice"):
        shop(RefusesAtServer(script=[]), decisions="tool").build().invoke(REQUEST)
    with pytest.raises(WorkflowBuildError, match="decisions is 'tools'; allowed: None, 'tool'"):
        shop(ScriptedChatModel(), decisions="tools").build()


def test_prose_instead_of_a_forced_tool_changes_the_method_and_is_repaired() -> None:
    model = ScriptedChatModel(script=["I would ask the clerk.", {"next_agent": None}])
    shop(model).build().invoke(REQUEST)
    assert [call.tools for call in model.calls] == [["SupervisorDecision"], []]
    assert '"next_agent": "clerk" or null' in model.calls[1].messages[-1].text
    assert StructuredOutput(model).method == "json"
    assert StructuredOutput(ScriptedChatModel()).method == "tool"


def test_equal_answers_end_the_repairs_and_the_error_names_the_way_out() -> None:
    model = ScriptedChatModel(script=["I would ask the clerk."] * 3)
    with pytest.raises(RoutingError, match=r"in 2 tries.*decisions='json_schema'"):
        shop(model).build().invoke(REQUEST)
    assert len(model.calls) == 2


def test_the_method_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(METHOD_VARIABLE, "json")
    model = ScriptedChatModel(script=[{"next_agent": None}])
    shop(model).build().invoke(REQUEST)
    assert model.calls[0].tools == []


@pytest.mark.parametrize("method", ["tool", "json_schema", "json"])
def test_what_is_sent_to_a_server(method: Method, llmock: LLMock) -> None:
    for decision in ({"next_agent": "clerk"}, {"next_agent": None}):
        if method == "tool":
            llmock.call_tool("SupervisorDecision", decision)
        else:
            llmock.reply(json.dumps(decision))
    model = ChatOpenAI(model="gpt-5-mini")
    result = shop(model, decisions=method).build().invoke(REQUEST)
    assert said(result) == ["3 dollars"]
    body = llmock.requests[0].body
    assert ("tools" in body, "response_format" in body) == (
        method == "tool",
        method == "json_schema",
    )
    if method == "json_schema":
        form = body["response_format"]["json_schema"]
        assert form["name"] == "SupervisorDecision"
        assert form["schema"]["properties"]["next_agent"]["anyOf"][0]["enum"] == ["clerk"]


@pytest.mark.parametrize("finish", ["forward", Plan], ids=["decision", "structured finish"])
def test_bound_arguments_reach_every_call(finish: Any, llmock: LLMock) -> None:
    llmock.call_tool("SupervisorDecision", {"next_agent": None})
    llmock.call_tool("Plan", {"day": "Monday"})
    model: Any = ChatOpenAI(model="gpt-5-mini", max_retries=0).bind(seed=1, user="ann")
    broken = ChatOpenAI(model="gpt-5-nano", max_retries=0, base_url="http://127.0.0.1:9/v1")
    chain = broken.bind(seed=2).with_fallbacks([model])
    shop(chain, finish=finish).build().invoke(REQUEST)
    assert {(record.body["seed"], record.body["user"]) for record in llmock.requests} == {
        (1, "ann")
    }


def test_strict_schemas_where_the_provider_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_BASE", raising=False)
    model = ChatOpenAI(model="gpt-5-mini", api_key="none")  # type: ignore[arg-type]
    schema = decision_schema(("clerk", "bob"))
    bound: Any = bind_inside(model, lambda one: bind_method(one, "tool", schema, strict=True))
    tool = bound.kwargs["tools"][0]["function"]
    assert tool["strict"] is True
    parameters = tool["parameters"]
    assert parameters["required"] == list(parameters["properties"])
    assert parameters["additionalProperties"] is False
    other = ChatOpenAI(model="gpt-5-mini", base_url="http://127.0.0.1:9/v1", api_key="none")  # type: ignore[arg-type]
    plain: Any = bind_inside(other, lambda one: bind_method(one, "tool", schema, strict=True))
    assert "strict" not in plain.kwargs["tools"][0]["function"]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(IndexError("list index out of range"), id="no choices"),
        pytest.param(KeyError("message"), id="a choice without a message"),
        pytest.param(TypeError("null value for choices"), id="choices that are null"),
        pytest.param(
            AIMessage("", invalid_tool_calls=[{"name": "SupervisorDecision", "args": "[1]"}]),
            id="arguments that are a list",
        ),
        pytest.param(
            ScriptedReply(tool_calls=[("launch_missiles", {"next_agent": "clerk"})]),
            id="a tool that was not offered",
        ),
        pytest.param(
            ScriptedReply(
                tool_calls=[
                    ("SupervisorDecision", {"next_agent": "clerk"}),
                    ("SupervisorDecision", {"next_agent": None}),
                ]
            ),
            id="decisions that contradict each other",
        ),
    ],
)
async def test_an_answer_that_cannot_be_read_is_repaired(reply: Any) -> None:
    script = [reply, {"next_agent": "clerk"}, {"next_agent": None}]
    model = ScriptedChatModel(script=script)
    assert said(shop(model).build().invoke(REQUEST)) == ["3 dollars"]
    assert "That does not work" in model.calls[1].messages[-1].text
    again = ScriptedChatModel(script=script)
    assert said(await shop(again).build().ainvoke(REQUEST)) == ["3 dollars"]


class ChatAnthropic(ScriptedChatModel):
    """A model that is known by the name of its class alone."""


MARKED: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "the model itself": (lambda model: model, True),
    "bound arguments": (lambda model: model.bind(temperature=0), True),
    "fallbacks of its kind": (
        lambda model: model.with_fallbacks([ChatAnthropic(script=[])]),
        True,
    ),
    "a fallback that knows no marks": (
        lambda model: model.with_fallbacks([ScriptedChatModel(script=[])]),
        False,
    ),
}


@pytest.mark.parametrize("how", MARKED)
async def test_the_rules_are_marked_for_anthropics_cache(how: str) -> None:
    wrap, marked = MARKED[how]
    model = ChatAnthropic(script=[{"next_agent": "clerk"}, {"next_agent": None}])
    result = shop(wrap(model)).build().invoke(REQUEST)  # pyright: ignore[reportArgumentType]
    assert result["status"] == "completed"
    first, second = (call.messages for call in model.calls)
    assert first[0] == second[0]
    if not marked:
        assert isinstance(first[0].content, str)
        return
    content: Any = first[0].content
    [block] = content
    assert block["cache_control"] == {"type": "ephemeral"}
    assert block["text"].startswith("You are the supervisor")
    assert all("cache_control" not in str(message.content) for message in second[1:])


def test_another_models_rules_are_a_plain_text() -> None:
    model = ScriptedChatModel(script=[{"next_agent": None}])
    shop(model).build().invoke(REQUEST)  # pyright: ignore[reportArgumentType]
    assert isinstance(model.calls[0].messages[0].content, str)
