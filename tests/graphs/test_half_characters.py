"""Text with half a character in it, which can be neither stored nor sent, wherever it enters."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from asterism import (
    Participant,
    SupervisorView,
    SupervisorWorkflowBuilder,
    pending_requests,
    proceed,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import InvalidThreadError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.plans import drive
from tests.teams import follow

Saver = BaseCheckpointSaver[str]
HALF = "a\ud800b"
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


class Trip(BaseModel):
    """An answer."""

    city: str


def team(member: Any, saver: Saver, decide: Any = None, **options: Any) -> Any:
    spec = member if isinstance(member, Participant) else Participant(runs=member)
    builder = SupervisorWorkflowBuilder("Test", **{"finish": "forward", **options})
    builder.participants(venue=replace(spec, description="Works."))
    return builder.with_manager(decide or follow(["venue", "venue"])).build(checkpointer=saver)


def echo(messages: list[AnyMessage]) -> str:
    assert not any(HALF in str(message.content) for message in messages)
    return messages[-1].text


def say(messages: list[AnyMessage]) -> AIMessage:
    assert not any(HALF in str(message.content) for message in messages)
    return AIMessage([{"type": "text", "text": HALF}], name=HALF, id=f"{HALF}{len(messages)}")


def ask(messages: list[AnyMessage]) -> str:
    return f"{messages[0].text}: {interrupt({'prompt': HALF})}"


def graph_of_the_user() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [("ai", HALF)]})
    graph.add_edge(START, "answer")
    return graph.compile()


def agent() -> Participant:
    """One whose model calls a tool that gives back what it gets, and a file."""

    @tool(response_format="content_and_artifact")
    def save(text: str) -> tuple[str, dict[str, str]]:
        """Save a text."""
        return text + HALF, {"name": HALF, "media_type": "text/plain", "text": HALF}

    call = ScriptedReply(tool_calls=[("save", {"text": HALF})])
    return Participant(model=ScriptedChatModel(script=[call, HALF, call, HALF]), tools=[save])


def asking(view: SupervisorView) -> Any:
    asks = view.iterations == 0
    return {"next_agent": None, "user_input_needed": asks, "user_prompt": HALF}


def instructing(view: SupervisorView) -> Any:
    return {"next_agent": None if view.iterations else "venue", "instruction": HALF}


def planning(view: SupervisorView) -> Any:
    fields = {"agent_id": "venue", "task_description": HALF, "context": {HALF: HALF}}
    tasks = [{"task_id": "t", **fields}]
    return {"next_agent": None, "tasks": None if view.iterations else tasks}


WAYS = pytest.mark.parametrize("way", ["sync", "async"])
MEMBERS: dict[str, Callable[[], Any]] = {
    "a function": lambda: say, "a graph": graph_of_the_user, "an agent": agent,
}  # fmt: skip
DECIDERS: dict[str, Any] = {"an instruction": instructing, "a plan": planning}
REQUESTS: dict[str, Any] = {
    "a text": ("user", HALF),
    "a message": HumanMessage(HALF, id=HALF, name=HALF),
    "blocks": HumanMessage([{"type": "text", "text": HALF, HALF: HALF}]),
}


def check(result: Any, said: str) -> None:
    """Check that a run came to its end, and that what it returned can be written anywhere."""
    assert result["status"] == "completed"
    assert said in result["messages"][-1].text
    for message in result["messages"]:
        message.model_dump_json().encode()
    str(result["reports"]).encode()


async def again(workflow: Any, way: str, thread: RunnableConfig) -> None:
    """Check that the thread can still be used."""
    check(await drive(workflow, way, REQUEST, thread), "")


@WAYS
@pytest.mark.parametrize("message", REQUESTS.values(), ids=REQUESTS)
async def test_in_a_request(message: Any, way: str, saver: Saver, thread: RunnableConfig) -> None:
    workflow = team(echo, saver)
    check(await drive(workflow, way, {"messages": [message]}, thread), "a?b")
    await again(workflow, way, thread)


@WAYS
@pytest.mark.parametrize("make", MEMBERS.values(), ids=MEMBERS)
async def test_in_what_a_participant_says(
    make: Callable[[], Any], way: str, saver: Saver, thread: RunnableConfig
) -> None:
    workflow = team(make(), saver)
    check(await drive(workflow, way, REQUEST, thread), "a?b")
    workflow = team(echo, saver)
    await again(workflow, way, thread)


@WAYS
@pytest.mark.parametrize("decide", DECIDERS.values(), ids=DECIDERS)
async def test_in_a_decision(decide: Any, way: str, saver: Saver, thread: RunnableConfig) -> None:
    workflow = team(echo, saver, decide)
    check(await drive(workflow, way, REQUEST, thread), "a?b")
    await again(workflow, way, thread)


@WAYS
async def test_in_what_models_say(way: str, saver: Saver, thread: RunnableConfig) -> None:
    fields = {"next_agent": "venue", "instruction": HALF}
    model = ScriptedChatModel(script=[fields, {"next_agent": None}, {"city": HALF}])
    builder = SupervisorWorkflowBuilder("Test", model=model, finish=Trip)
    builder.participants(venue=Participant(runs=echo, description="Works."))
    result = await drive(builder.build(checkpointer=saver), way, REQUEST, thread)
    check(result, "a?b")
    assert result["structured_response"] == Trip(city="a?b")
    model.assert_finished()


@WAYS
@pytest.mark.parametrize("command", [False, True], ids=["resume", "Command"])
@pytest.mark.parametrize("decide", [asking, None], ids=["the supervisor", "a participant"])
async def test_in_questions_and_answers(
    decide: Any, command: bool, way: str, saver: Saver, thread: RunnableConfig
) -> None:
    workflow = team(ask, saver, decide or follow(["venue"]))
    assert (await drive(workflow, way, REQUEST, thread))["status"] == "waiting"
    assert pending_requests(workflow, thread)[0].prompt == "a?b"
    if command:
        result = await drive(workflow, way, Command(resume=HALF), thread)
    else:
        result = await asyncio.to_thread(resume, workflow, thread, HALF)
    check(result, "" if decide else "a?b")
    await again(team(echo, saver), way, thread)


def test_in_an_edit(saver: Saver, thread: RunnableConfig) -> None:
    workflow = team(echo, saver)
    workflow.invoke(REQUEST, thread, interrupt_before=["venue"])
    workflow.update_state(thread, {"messages": [("user", HALF)]})
    workflow.update_state(thread, {"decision": {"next_agent": "venue", "instruction": HALF}})
    check(workflow.invoke(None, thread), "")
    inside: Any = {"configurable": {**thread["configurable"], "checkpoint_ns": "venue"}}
    workflow.update_state(inside, {"messages": [("user", HALF)]}, as_node="respond")
    check(workflow.invoke(REQUEST, thread), "")


@pytest.mark.parametrize("name", [HALF, None, "", "x" * 256])
def test_a_thread_is_refused_wherever_it_is_named(name: str | None, saver: Saver) -> None:
    workflow = team(echo, saver)
    thread: Any = {"configurable": {"thread_id": name}}
    calls: list[Callable[[], Any]] = [
        lambda: workflow.invoke(REQUEST, thread),
        lambda: workflow.get_state(thread),
        lambda: asyncio.run(workflow.aget_state(thread)),
        lambda: workflow.update_state(thread, {"decision": None}),
        lambda: pending_requests(workflow, thread),
        lambda: resume(workflow, thread, "yes"),
        lambda: proceed(workflow, thread),
    ]
    for call in calls:
        with pytest.raises(InvalidThreadError, match="The thread id is"):
            call()
