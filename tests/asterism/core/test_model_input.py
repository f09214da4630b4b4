"""What every provider accepts: one function sees every prompt on its way out."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorDecision, SupervisorWorkflowBuilder
from asterism.compat.langgraph_supervisor import create_supervisor
from asterism.core.messages import history_fault
from asterism.core.model_input import GO_ON, prepare_messages, without_reasoning
from asterism.testing import ScriptedChatModel, ScriptedReply

TEXTS = st.sampled_from(["", "  ", "Hello", "3 dollars"])
NAMES = st.sampled_from([None, "ann", "Jürgen M.", "a b", "x" * 90])
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}


def faults(messages: Sequence[BaseMessage]) -> list[str]:
    """What a provider would refuse."""
    places = [n for n, m in enumerate(messages) if isinstance(m, SystemMessage)]
    found = ["system messages later on"] if places not in ([], [0]) else []
    for message in messages:
        if isinstance(message, AIMessage) and not message.tool_calls and not message.text.strip():
            found.append("an empty answer")
        if message.name is not None and not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", message.name):
            found.append(f"the name {message.name!r}")
    if messages and isinstance(messages[-1], AIMessage):
        found.append("an answer at the end")
    return found + [fault for fault in [history_fault(messages)] if fault]


@st.composite
def conversations(draw: st.DrawFn) -> list[AnyMessage]:
    found: list[AnyMessage] = []
    for number in range(draw(st.integers(0, 8))):
        text, name = draw(TEXTS), draw(NAMES)
        kind = draw(st.sampled_from(["human", "ai", "system", "tool", "thought"]))
        if kind == "human":
            found.append(HumanMessage(text, name=name))
        elif kind == "system":
            found.append(SystemMessage(text))
        elif kind == "ai":
            found.append(AIMessage(text, name=name))
        elif kind == "thought":
            found.append(AIMessage([THOUGHT, {"type": "text", "text": text}], name=name))
        else:
            call = {"name": "price", "args": {}, "id": str(number)}
            found += [
                AIMessage(text, tool_calls=[call]),
                ToolMessage("3", tool_call_id=str(number)),
            ]
    return found


@given(conversations())
def test_what_is_sent_is_accepted_and_loses_nothing(messages: list[AnyMessage]) -> None:
    sent = prepare_messages(messages)
    assert faults(sent) == []
    said = "\n".join(m.text for m in sent)
    assert all(m.text in said for m in messages if m.text.strip())
    assert prepare_messages(sent) == sent


def test_a_prompt_that_is_accepted_stays_as_it_is() -> None:
    messages = [SystemMessage("Rules"), HumanMessage("Hello"), AIMessage("Hi"), HumanMessage("Bye")]
    assert prepare_messages(messages) == messages
    assert prepare_messages(messages[:3])[-1].text == GO_ON


def test_thoughts_of_others_are_left_out_and_pictures_stay() -> None:
    picture = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
    thought = AIMessage(
        [THOUGHT, {"type": "text", "text": "12", "id": "msg_1"}, picture],
        name="math",
        additional_kwargs={"reasoning_content": "5 + 7"},
    )
    (own,) = without_reasoning([thought], "math")
    (other,) = without_reasoning([thought], "poet")
    assert own is thought
    assert (other.text, other.additional_kwargs) == ("12", {})
    assert [block["type"] for block in other.content_blocks] == ["text", "image"]
    assert "rs_1" not in str(other)
    assert "msg_1" not in str(other)


def price(item: str) -> str:
    """Tell a price."""
    return f"{item}: 3 dollars"


@pytest.mark.parametrize("tools", [[], [price]], ids=["a model", "an agent"])
def test_an_empty_answer_is_not_sent_again(tools: list[Any], thread: RunnableConfig) -> None:
    def decide(view: Any) -> SupervisorDecision:
        return SupervisorDecision(next_agent=None if view.reports else "clerk")

    model = ScriptedChatModel(script=["", "3 dollars"])
    clerk = Participant(model=model, tools=tools, description="Tells prices.")
    workflow = (
        SupervisorWorkflowBuilder("Shop", finish="forward")
        .participants(clerk=clerk)
        .with_manager(decide)
        .build(checkpointer=InMemorySaver())
    )
    for _ in range(2):
        result = workflow.invoke({"messages": [("user", "What does a pen cost?")]}, thread)
    assert result["messages"][-1].text == "3 dollars"
    assert faults(model.calls[1].messages) == []


def test_a_system_message_with_each_request(thread: RunnableConfig) -> None:
    model = ScriptedChatModel(script=[{"next_agent": "clerk"}, {"next_agent": None}, "3."] * 2)
    clerk = Participant(runs=lambda messages: "3 dollars", description="Prices.")
    workflow = (
        SupervisorWorkflowBuilder("Shop", model=model)
        .participants(clerk=clerk)
        .build(checkpointer=InMemorySaver())
    )
    request = [("system", "Answer in English."), ("user", "What does a pen cost?")]
    for _ in range(2):
        workflow.invoke({"messages": request}, thread)
    for call in model.calls:
        assert faults(call.messages) == []
        assert call.messages[0].text.count("Answer in English.") == 1


def test_another_agents_thoughts_are_not_sent_to_a_model() -> None:
    thought = AIMessage([THOUGHT, {"type": "text", "text": "12"}])
    poet = ScriptedChatModel(script=["A poem."])
    boss = ScriptedChatModel(
        script=[
            ScriptedReply(tool_calls=[("transfer_to_math", {})]),
            ScriptedReply(tool_calls=[("transfer_to_poet", {})]),
            "Done.",
        ]
    )
    math = create_agent(ScriptedChatModel(script=[thought]), [], name="math")
    agents = [math, create_agent(poet, [], name="poet")]
    create_supervisor(agents, model=boss).compile().invoke({"messages": [("user", "5 + 7?")]})
    for call in (*poet.calls, *boss.calls):
        assert "rs_1" not in str(call.messages)
    assert "12" in str(poet.calls[0].messages)
