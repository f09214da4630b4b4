"""The supervisor's own prompt, hooks, tools and state, and questions to people among them."""

from typing import Annotated, Any, NotRequired, cast

import pytest
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import InjectedState, ToolNode
from langgraph.types import Command, interrupt

from asterism import pending_requests, resume
from asterism.compat.langgraph_supervisor import create_supervisor
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.asterism.compat.teams import REQUEST, THREAD, agent, back, hand_over, there, told


def dynamic(state: Any) -> list[AnyMessage]:
    return [SystemMessage(f"There are {len(state['messages'])} messages."), *state["messages"]]


async def adynamic(state: Any) -> list[AnyMessage]:
    return dynamic(state)


@pytest.mark.parametrize(
    ("prompt", "first"),
    [
        ("Be brief.", "Be brief."),
        (SystemMessage("Be brief."), "Be brief."),
        (dynamic, "There are 1 messages."),
        (adynamic, "There are 1 messages."),
        (RunnableLambda(dynamic), "There are 1 messages."),
    ],
    ids=["text", "message", "function", "async function", "Runnable"],
)
async def test_a_prompt_of_any_kind(prompt: Any, first: str) -> None:
    model = ScriptedChatModel(script=["Hello.", "Hello."])
    app = create_supervisor([agent("clerk")], model=model, prompt=prompt).compile()
    app.invoke(REQUEST)
    await app.ainvoke(REQUEST)
    assert [call.messages[0].text for call in model.calls] == [first, first]


def test_a_hook_before_the_model_chooses_what_it_reads() -> None:
    def latest(state: Any) -> dict[str, Any]:
        return {"llm_input_messages": state["messages"][-1:]}

    model = ScriptedChatModel(script=["Hello."])
    app = create_supervisor([agent("clerk")], model=model, pre_model_hook=latest).compile()
    result = app.invoke({"messages": [("user", "Old"), ("ai", "Yes"), ("user", "New")]})
    assert [message.text for message in model.calls[0].messages] == ["New"]
    assert told(result) == ["human: Old", "ai: Yes", "human: New", "supervisor: Hello."]


def test_a_hook_before_the_model_may_rewrite_the_history(saver: BaseCheckpointSaver[str]) -> None:
    def shorten(state: Any) -> dict[str, Any]:
        gone = RemoveMessage(REMOVE_ALL_MESSAGES)
        short = [SystemMessage("All was well."), state["messages"][-1]]
        return {"messages": [gone, *short]} if len(state["messages"]) > 2 else {}

    model = ScriptedChatModel(script=["Hello.", "Bye."])
    app = create_supervisor([agent("clerk")], model=model, pre_model_hook=shorten).compile(
        checkpointer=saver
    )
    app.invoke(REQUEST, THREAD)
    result = app.invoke({"messages": [("user", "Bye")]}, THREAD)
    assert told(result) == ["system: All was well.", "human: Bye", "supervisor: Bye."]
    assert told(app.get_state(THREAD).values) == told(result)


def test_a_hook_after_the_model_asks_a_person_and_the_model_is_not_asked_again(
    saver: BaseCheckpointSaver[str],
) -> None:
    def allow(state: Any) -> dict[str, Any]:
        last = state["messages"][-1]
        if last.tool_calls and interrupt("May it hand over?") == "no":
            return {"messages": [AIMessage("I may not.", id=last.id, name=last.name)]}
        return {}

    for answer, expected in (("no", ["supervisor: I may not."]), ("yes", None)):
        model = ScriptedChatModel(script=[hand_over("clerk"), "Done."])
        app = create_supervisor(
            [agent("clerk", "Hello")], model=model, post_model_hook=allow
        ).compile(checkpointer=saver)
        place: Any = {"configurable": {"thread_id": answer}}
        assert app.invoke(REQUEST, place)["status"] == "waiting"
        assert [asked.prompt for asked in pending_requests(app, place)] == ["May it hand over?"]
        result = resume(app, place, answer)
        full = [*there("clerk"), "clerk: Hello", *back("clerk"), "supervisor: Done."]
        assert told(result)[1:] == (expected or full)
        assert len(model.calls) == (1 if expected else 2)


def test_a_tool_of_the_supervisor_asks_a_person(saver: BaseCheckpointSaver[str]) -> None:
    @tool
    def approve(what: str) -> str:
        """Ask for leave."""
        return f"said {interrupt({'question': f'May I {what}?'})}"

    asks = ScriptedReply(tool_calls=[("approve", {"what": "go"})])
    model = ScriptedChatModel(script=[asks, hand_over("clerk"), "Done."])
    app = create_supervisor([agent("clerk", "Hello")], model=model, tools=[approve]).compile(
        checkpointer=saver
    )
    app.invoke(REQUEST, THREAD)
    (asked,) = pending_requests(app, THREAD)
    assert (asked.participant, asked.prompt) == ("supervisor", "May I go?")
    result = app.invoke(Command(resume="yes"), THREAD)
    assert told(result)[1:4] == ["supervisor: +approve", "<approve> said yes", there("clerk")[0]]
    assert len(model.calls) == 3


def test_an_agent_asks_a_person(saver: BaseCheckpointSaver[str]) -> None:
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"It is {interrupt('Which one?')}", name="clerk")]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    model = ScriptedChatModel(script=[hand_over("clerk"), "Done."])
    app = create_supervisor([graph.compile(name="clerk")], model=model).compile(checkpointer=saver)
    app.invoke(REQUEST, THREAD)
    assert [asked.path for asked in pending_requests(app, THREAD)] == ["clerk"]
    assert told(resume(app, THREAD, "blue"))[3] == "clerk: It is blue"


def test_a_tool_may_answer_the_user_directly() -> None:
    @tool(return_direct=True)
    def hours() -> str:
        """Tell when we are open."""
        return "From 9 to 5."

    model = ScriptedChatModel(script=[ScriptedReply(tool_calls=[("hours", {})])])
    app = create_supervisor([agent("clerk")], model=model, tools=[hours]).compile()
    assert told(app.invoke(REQUEST))[1:] == ["supervisor: +hours", "<hours> From 9 to 5."]


def test_a_tool_node_keeps_how_it_handles_errors() -> None:
    @tool
    def fail() -> str:
        """Fail."""
        raise ValueError("no")

    node = ToolNode([fail], handle_tool_errors="It did not work.")
    model = ScriptedChatModel(script=[ScriptedReply(tool_calls=[("fail", {})]), "Sorry."])
    app = create_supervisor([agent("clerk")], model=model, tools=node).compile()
    assert told(app.invoke(REQUEST))[2] == "<fail> It did not work."


def test_names_stand_in_texts_where_asked() -> None:
    model = ScriptedChatModel(script=[hand_over("clerk"), "<name>desk</name><content>Hi</content>"])
    app = create_supervisor(
        [agent("clerk", "Hello")], model=model, include_agent_name="inline"
    ).compile()
    result = app.invoke(REQUEST)
    sent = [message.text for message in model.calls[1].messages]
    assert "<name>clerk</name><content>Hello</content>" in sent
    assert told(result)[-1] == "supervisor: Hi"


# ---- state that is shared


class Order(MessagesState):
    budget: NotRequired[int]
    table: NotRequired[str]


def reserve(state: Order) -> dict[str, Any]:
    return {
        "messages": [AIMessage(f"Within {state.get('budget')}", name="waiter")],
        "table": "by the window",
    }


def waiter() -> Any:
    graph = StateGraph(Order)
    graph.add_node("reserve", reserve)
    graph.add_edge(START, "reserve")
    return graph.compile(name="waiter")


def test_further_keys_of_state_reach_agents_and_come_back(saver: BaseCheckpointSaver[str]) -> None:
    model = ScriptedChatModel(script=[hand_over("waiter"), "Done."])
    app = create_supervisor([waiter()], model=model, state_schema=Order).compile(checkpointer=saver)
    result: Any = app.invoke(cast(Any, {**REQUEST, "budget": 50}), THREAD)
    assert told(result)[3] == "waiter: Within 50"
    assert (result["budget"], result["table"]) == (50, "by the window")
    assert app.get_state(THREAD).values["table"] == "by the window"


def test_tools_read_and_write_further_keys_of_state() -> None:
    @tool
    def double(
        state: Annotated[dict[str, Any], InjectedState],
        tool_call_id: Annotated[str, InjectedToolCallId],
    ) -> Any:
        """Double the budget."""
        done = ToolMessage("doubled", tool_call_id=tool_call_id)
        return Command(update={"budget": state["budget"] * 2, "messages": [done]})

    call = ScriptedReply(tool_calls=[("double", {})])
    model = ScriptedChatModel(script=[call, hand_over("waiter"), "Done."])
    app = create_supervisor([waiter()], model=model, tools=[double], state_schema=Order).compile()
    result: Any = app.invoke(cast(Any, {**REQUEST, "budget": 50}))
    assert result["budget"] == 100
    assert "waiter: Within 100" in told(result)


def test_two_agents_at_once_may_write_different_keys() -> None:
    def tell(state: Order) -> dict[str, Any]:
        return {"messages": [AIMessage("More.", name="banker")], "budget": 99}

    graph = StateGraph(Order)
    graph.add_node("tell", tell)
    graph.add_edge(START, "tell")
    model = ScriptedChatModel(script=[hand_over("waiter", "banker"), "Done."])
    app = create_supervisor(
        [waiter(), graph.compile(name="banker")], model=model, state_schema=Order
    ).compile()
    result: Any = app.invoke(cast(Any, {**REQUEST, "budget": 50}))
    assert (result["budget"], result["table"]) == (99, "by the window")


def test_an_agent_with_a_history_of_its_own_keeps_it(saver: BaseCheckpointSaver[str]) -> None:
    sizes: list[int] = []

    def count(state: MessagesState) -> dict[str, Any]:
        sizes.append(len(state["messages"]))
        return {"messages": [HumanMessage("a note to myself"), AIMessage("Counted.", name="c")]}

    graph = StateGraph(MessagesState)
    graph.add_node("count", count)
    graph.add_edge(START, "count")
    for own in (None, True):
        sizes.clear()
        model = ScriptedChatModel(script=[hand_over("c"), hand_over("c"), "Done."])
        app = create_supervisor([graph.compile(name="c", checkpointer=own)], model=model).compile(
            checkpointer=saver
        )
        app.invoke(REQUEST, {"configurable": {"thread_id": str(own)}})
        assert sizes == [3, 8 if own is None else 9]
