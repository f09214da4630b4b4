"""Arguments that cannot be honoured are refused by name, all at once, with the way out."""

import operator
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from asterism.compat.langgraph_supervisor import create_handoff_tool, create_supervisor
from asterism.compat.langgraph_supervisor.agent_name import (
    add_inline_agent_name,
    remove_inline_agent_name,
    with_agent_name,
)
from asterism.errors import WorkflowBuildError
from asterism.testing import ScriptedChatModel
from tests.asterism.compat.teams import agent

MODEL = ScriptedChatModel()


def nameless(**options: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("x", lambda state: {})
    graph.add_edge(START, "x")
    return graph.compile(**options)


class Pydantic(BaseModel):
    messages: list[Any]


class Taken(MessagesState):
    reports: list[str]


class Adding(MessagesState):
    notes: Annotated[list[str], operator.add]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"agents": []}, "there are no agents"),
        ({"agents": [nameless()]}, r"an agent has no name; .*create_agent\(\.\.\., name=\.\.\.\)"),
        ({"agents": [agent("a"), agent("a")]}, "2 agents are called 'a'; names have to differ"),
        ({"agents": ["a"]}, "'a' is no agent; allowed: a compiled graph"),
        ({"agents": [agent("supervisor")]}, "is called as the supervisor; rename one"),
        ({"agents": [agent("human")], "supervisor_name": "s"}, "'human' is reserved"),
        (
            {"agents": [nameless(name="a", checkpointer=InMemorySaver())]},
            "the agent 'a' is compiled with checkpointer=",
        ),
        ({"output_mode": "all"}, "output_mode is 'all'; allowed: 'full_history', 'last_message'"),
        ({"include_agent_name": "xml"}, "include_agent_name is 'xml'; allowed: None, 'inline'"),
        ({"state_schema": Pydantic}, "state_schema is a pydantic model; give a TypedDict"),
        ({"state_schema": Taken}, "has the key 'reports', which the workflow has itself; rename"),
        ({"state_schema": Adding}, "gives the key 'notes' a reducer; use a plain key"),
        (
            {"tools": [create_handoff_tool(agent_name="b")], "agents": [agent("a"), agent("b")]},
            r"none to the agent 'a'; add create_handoff_tool\(agent_name='a'\)",
        ),
        (
            {"tools": [create_handoff_tool(agent_name=name) for name in ("a", "c")]},
            "a tool hands over to 'c', which is no agent; there are 'a'",
        ),
        ({"max_iterations": 0}, "max_iterations is 0; it must be a whole number of at least 1"),
        ({"version": "v1"}, "version is not honoured here; leave it out"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_it_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkflowBuildError, match=said):
        create_supervisor(**{"agents": [agent("a")], "model": MODEL, **options})


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="no agents") as caught:
        create_supervisor([], model=MODEL, output_mode="all", version="v1")  # type: ignore[arg-type]
    assert "output_mode" in str(caught.value)
    assert "version" in str(caught.value)


def test_parallel_tool_calls_are_told_to_models_that_know_them() -> None:
    class Knows(ScriptedChatModel):
        model_name: str = "gpt-5-mini"

        def bind_tools(
            self, tools: Any, *, parallel_tool_calls: bool | None = None, **kwargs: Any
        ) -> Any:
            return super().bind_tools(tools, parallel_tool_calls=parallel_tool_calls, **kwargs)

    for name, given, expected in (
        ("gpt-5-mini", True, True),
        ("gpt-5-mini", False, False),
        ("o3-mini", True, None),
    ):
        model = Knows(script=["Hello"], model_name=name)
        app = create_supervisor([agent("a")], model=model, parallel_tool_calls=given).compile()
        app.invoke({"messages": [("user", "Hi")]})
        assert model.calls[0].options.get("parallel_tool_calls") is expected


def test_names_are_written_into_texts_and_taken_out_again() -> None:
    image = {"type": "image", "image_url": "http://example.com/a.png"}
    plain = AIMessage("Hello\nthere", name="ann")
    inline = "<name>ann</name><content>Hello\nthere</content>"
    assert add_inline_agent_name(plain).content == inline
    assert remove_inline_agent_name(AIMessage(inline)).content == "Hello\nthere"
    blocks = AIMessage([{"type": "text", "text": "Hi"}, image], name="ann")
    assert add_inline_agent_name(blocks).content == [
        {"type": "text", "text": "<name>ann</name><content>Hi</content>"},
        image,
    ]
    empty = AIMessage([{"type": "text", "text": "<name>ann</name><content></content>"}, image])
    assert remove_inline_agent_name(empty).content == [image]
    for message in (HumanMessage("Hi", name="ann"), AIMessage("Hi")):
        assert add_inline_agent_name(message) is message
        assert remove_inline_agent_name(message) is message
    with pytest.raises(ValueError, match="agent_name_mode is 'xml'; allowed: 'inline'"):
        with_agent_name(MODEL, "xml")  # type: ignore[arg-type]
