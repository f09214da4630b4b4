"""Models that are resolved: what is changed about them, and what is not."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from llmock.pytest_plugin import LLMock

from asterism import Participant, SupervisorWorkflowBuilder, Usage, lines_of
from asterism.core.agent_spec import resolve_model
from asterism.testing import ScriptedChatModel

HOST = "http://127.0.0.1:9/v1"


def chat(**fields: Any) -> ChatOpenAI:
    given: dict[str, Any] = {"model": "m", "base_url": HOST, "api_key": "x", **fields}
    return ChatOpenAI(**given)


def test_a_model_of_another_host_asks_for_usage_and_the_users_own_stays() -> None:
    own = chat()
    resolved: Any = resolve_model(own)
    assert (own.stream_usage, resolved.stream_usage) == (None, True)
    assert resolved.root_client is own.root_client


KEPT: dict[str, Any] = {
    "told not to": lambda: chat(stream_usage=False),
    "told to": lambda: chat(stream_usage=True),
    "another class": lambda: ScriptedChatModel(script=[]),
    "fallbacks of those": lambda: chat(stream_usage=False).with_fallbacks(
        [ScriptedChatModel(script=[])]
    ),
    "bound arguments of one": lambda: chat(stream_usage=False).bind(temperature=0),
}


@pytest.mark.parametrize("what", KEPT)
def test_a_model_that_has_its_choice_is_the_same_object(what: str) -> None:
    own = KEPT[what]()
    assert resolve_model(own) is own


WRAPPED: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bound arguments": (lambda m: m.bind(temperature=0), lambda r: r.bound),
    "retries": (lambda m: m.with_retry(), lambda r: r.bound),
    "a fallback": (
        lambda m: ScriptedChatModel(script=[]).with_fallbacks([m]),
        lambda r: r.fallbacks[0],
    ),
    "the first of fallbacks": (lambda m: m.with_fallbacks([chat()]), lambda r: r.runnable),
    "bound arguments in fallbacks": (
        lambda m: chat(stream_usage=False).with_fallbacks([m.bind(seed=1)]),
        lambda r: r.fallbacks[0].bound,
    ),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_a_model_inside_of_another_is_changed_too(how: str) -> None:
    wrap, inner = WRAPPED[how]
    own = chat()
    resolved = resolve_model(wrap(own))
    assert (own.stream_usage, inner(resolved).stream_usage) == (None, True)
    kwargs = getattr(resolved, "kwargs", None)
    assert kwargs is None or kwargs == wrap(own).kwargs


def test_a_model_by_name_asks_for_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", HOST)
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    resolved: Any = resolve_model("openai:some-model")
    assert resolved.stream_usage is True


def test_azure_asks_for_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "x")
    where: dict[str, Any] = {"azure_endpoint": "https://x.test", "api_version": "2024-10-21"}
    resolved: Any = resolve_model(AzureChatOpenAI(azure_deployment="d", **where))
    assert resolved.stream_usage is True


@pytest.mark.parametrize("bound", [False, True], ids=["plain", "bound arguments"])
def test_streamed_tokens_of_another_host_are_counted(
    bound: bool, llmock: LLMock, thread: RunnableConfig
) -> None:
    llmock.call_tool("SupervisorDecision", {"next_agent": "clerk"})
    llmock.reply("It costs 3 dollars.")
    llmock.call_tool("SupervisorDecision", {"next_agent": None})
    llmock.reply("3 dollars.")
    own = ChatOpenAI(model="m")  # the fixture sets the host and the key
    model: Any = own.bind(temperature=0) if bound else own
    clerk = Participant(prompt="Answer.", description="Tells prices.")
    built = SupervisorWorkflowBuilder("Shop", model=model).participants(clerk=clerk).build()
    result: Any = None
    modes: Any = ["messages", "values"]
    for kind, data in built.stream(
        {"messages": [("user", "What does it cost?")]}, stream_mode=modes
    ):
        result = data if kind == "values" else result
    assert [record.body["stream_options"] for record in llmock.requests] == [
        {"include_usage": True}
    ] * 4
    usage = Usage.of(lines_of(result))
    assert usage.calls == 4 and usage.input_tokens > 0 and usage.output_tokens > 0
