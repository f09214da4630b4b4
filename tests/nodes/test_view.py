"""What is shown of a conversation is kept, and is what the conversation says now."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.nodes import view
from asterism.nodes.view import OVERHEAD, Renderer, conversation, message_label
from asterism.testing import ScriptedChatModel


def decision(number: int, name: str) -> AIMessage:
    facts = message_label(decision={"next_agent": name, "instruction": f"Do {number}"})
    return AIMessage("→", id=f"d{number}", name="supervisor", response_metadata=facts)


def report(number: int, text: str, name: str = "clerk") -> AIMessage:
    facts = message_label(report="ok")
    return AIMessage(text, id=f"report-{number}", name=name, response_metadata=facts)


def history() -> list[AnyMessage]:
    answer = AIMessage(
        "Done 1", id="a", name="supervisor", response_metadata=message_label(answer=True)
    )
    return [
        HumanMessage("Please", id="h"),
        *(m for n in range(3) for m in (decision(n, "clerk"), report(n, f"Done {n}"))),
        answer,
        HumanMessage("Again", id="h2"),
    ]


def put(place: int, message: AnyMessage) -> Callable[[list[AnyMessage]], list[AnyMessage]]:
    return lambda old: [*old[:place], message, *old[place + 1 :]]


def write_over(old: list[AnyMessage]) -> list[AnyMessage]:
    old[2].content = "Another text"
    return old


def call(old: list[AnyMessage]) -> list[AnyMessage]:
    asked = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c"}], id="c")
    return [*old, asked, ToolMessage("found", tool_call_id="c", id="t")]


CHANGES: dict[str, Callable[[list[AnyMessage]], list[AnyMessage]]] = {
    "nothing": lambda old: old,
    "more": lambda old: [*old, decision(7, "cook"), report(7, "Done 0", "cook")],
    "an answer that was reported": lambda old: [
        *old,
        AIMessage("Done 2", id="b", response_metadata=message_label(answer=True)),
    ],
    "an edited report": put(2, report(0, "Edited")),
    "an edited request": put(0, HumanMessage("Please not", id="h")),
    "a renamed participant": put(2, report(0, "Done 0", "scribe")),
    "another decision": put(1, decision(0, "cook")),
    "a withdrawn message": put(
        2,
        AIMessage("", id="report-0", response_metadata=message_label(report="ok", withdrawn=True)),
    ),
    "a report that failed": put(
        2,
        AIMessage(
            "Done 0", id="report-0", name="clerk", response_metadata=message_label(report="failed")
        ),
    ),
    "a fork": lambda old: [*old[:3], decision(8, "cook"), report(8, "Fork", "cook")],
    "a cut": lambda old: [old[0], HumanMessage("(left out)", id="s"), *old[5:]],
    "a window": lambda old: old[4:],
    "copies": lambda old: [message.model_copy(deep=True) for message in old],
    "a text written over": write_over,
    "a tool call": call,
    "nothing left": lambda old: [],
}


@pytest.mark.parametrize("changes", CHANGES)
def test_what_is_shown_is_what_a_conversation_says_now(changes: str) -> None:
    renderer, first = Renderer(), history()
    assert renderer.render(first) == conversation(first)
    other = CHANGES[changes](first)
    assert renderer.render(other) == conversation(other)
    again = [*other, HumanMessage("And then?", id="h3")]
    assert renderer.render(again) == conversation(again)
    later = [*again, ToolMessage("late", tool_call_id="c", id="t2")]
    assert renderer.render(later) == conversation(later)
    assert renderer.render(history()) == conversation(history())


@pytest.mark.parametrize("copied", [False, True])
def test_each_message_is_rendered_once(monkeypatch: pytest.MonkeyPatch, copied: bool) -> None:
    rendered, render = list[str | None](), view._rendered

    def watch(message: AIMessage, *rest: Any) -> AnyMessage:
        rendered.append(message.id)
        return render(message, *rest)

    monkeypatch.setattr(view, "_rendered", watch)
    renderer, messages = Renderer(), history()
    for end in range(1, len(messages) + 1):
        renderer.render([m.model_copy() if copied else m for m in messages[:end]])
    assert rendered == [m.id for m in messages if isinstance(m, AIMessage)]


def test_conversations_that_were_not_used_for_long_are_let_go() -> None:
    renderer = Renderer(limit=10 * (OVERHEAD + 5))
    for number in range(20):
        renderer.render([HumanMessage("Hello", id=f"{number}"), HumanMessage("There", id="x")])
    assert [*renderer._kept] == [f"{number}" for number in range(15, 20)]
    renderer.render([HumanMessage("Hello", id="15")])
    renderer.render([HumanMessage("Hello", id="20")])
    assert [*renderer._kept] == ["16", "17", "18", "19", "15", "20"]
    picture: list[str | dict[Any, Any]] = [
        {"type": "image", "base64": "A" * 10_000, "mime_type": "image/png"}
    ]
    long = [HumanMessage("Hello", id="long"), HumanMessage(picture, id="picture")]
    assert renderer.render(long) == renderer.render(long) == long
    assert [*renderer._kept] == ["long"]
    assert renderer._size == renderer._kept["long"].size > 10_000


@pytest.mark.parametrize("sync", [True, False])
def test_an_edited_state_is_shown_in_the_next_prompt(sync: bool) -> None:
    send = {"next_agent": "clerk", "instruction": "Find it"}
    model = ScriptedChatModel(script=[send, {"next_agent": None}] * 2)
    clerk = ScriptedChatModel(script=["It costs 3", "It costs 4"])
    workflow = (
        SupervisorWorkflowBuilder("Shop", model=model, finish="forward")
        .participants(clerk=Participant(model=clerk, description="Finds out."))
        .build(checkpointer=InMemorySaver())
    )
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}

    def say(text: str) -> None:
        given: WorkflowInput = {"messages": [("user", text)]}
        if sync:
            workflow.invoke(given, config)
        else:
            asyncio.run(workflow.ainvoke(given, config))

    say("What does it cost?")
    messages = workflow.get_state(config).values["messages"]
    told = next(m for m in messages if m.text == "It costs 3" and m.name == "clerk")
    edited = told.model_copy(update={"content": "It costs 5"})
    workflow.update_state(config, {"messages": [edited]})
    say("And now?")
    shown = "\n".join(m.text for m in model.calls[-1].messages)
    assert "It costs 5" in shown
    assert '<report from="clerk">\nIt costs 3' not in shown
