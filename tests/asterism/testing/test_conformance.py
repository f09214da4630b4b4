"""The conformance kit: the project's own participants pass it, and faults are found."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, AnyMessage, RemoveMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import interrupt
from pydantic import BaseModel

from asterism import Participant
from asterism.graphs.examples.event_planning import ORDER, create_event_planning
from asterism.nodes import participant_runtime as members
from asterism.nodes.examples.event_planning import DESCRIPTIONS, TOOLS
from asterism.testing import ScriptedChatModel, ScriptedReply, acheck_participant, check_participant
from tests.teams import Turns, star

PARTY = (
    "A party for 50 people in Seattle on 2026-12-15.\n"
    "Venue cost: $2,400.00\nCatering cost: $2,400.00"
)
CHECKS = [
    "answers",
    "answers_in_sync",
    "sync_again",
    "memory",
    "isolation",
    "state_keys",
    "resume",
    "failure",
    "answer_forms",
    "empty_answers",
    "pictures",
    "cancellation",
]


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"found {what}"


def works_with_a_tool(messages: list[Any]) -> Any:
    if messages[-1].type == "human":
        return ScriptedReply(tool_calls=[("look_up", {"what": "it"})])
    return "It is found."


def answer(messages: list[AnyMessage]) -> str:
    """Answer."""
    return f"Message {len(messages)}"


async def aanswer(messages: list[AnyMessage]) -> str:
    """Answer."""
    return f"Message {len(messages)}"


def asks(messages: list[AnyMessage]) -> str:
    """Ask before it answers."""
    return f"Told {interrupt({'prompt': 'Sure?'})}"


def a_graph() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("n", lambda state: {"messages": [AIMessage("Done.")]})
    graph.add_edge(START, "n")
    graph.add_edge("n", END)
    return graph.compile()


def an_agent() -> Any:
    return create_agent(ScriptedChatModel(script=[works_with_a_tool] * 99), [look_up])


PARTICIPANTS: dict[str, Callable[[], Any]] = {
    "function": lambda: answer,
    "async function": lambda: aanswer,
    "runnable": lambda: RunnableLambda(answer),
    "graph": a_graph,
    "agent": an_agent,
    "model": lambda: Participant(model="offline", prompt="You help."),
    "workflow": lambda: star(Turns(), ["venue", "food"], description="Plans.").build(),
}


@pytest.mark.parametrize("kind", PARTICIPANTS)
def test_every_kind_conforms(kind: str) -> None:
    report = check_participant(PARTICIPANTS[kind]())
    steps = ["steps"] if kind in ("agent", "workflow") else []
    assert report.passed == [*CHECKS, *steps]
    assert report.not_exercised == [
        *(["steps"] if not steps else []),
        *("interrupts", "structured_answers", "direct_returns"),
    ]


class Quote(BaseModel):
    """A price."""

    euros: int


@tool(return_direct=True)
def opening_hours() -> str:
    """Tell the opening hours."""
    return "9 to 18"


def a_quote(messages: list[Any]) -> ScriptedReply:
    return ScriptedReply(tool_calls=[("Quote", {"euros": 90})])


def asks_for_the_hours(messages: list[Any]) -> ScriptedReply:
    return ScriptedReply(tool_calls=[("opening_hours", {})])


@pytest.mark.parametrize(
    ("replies", "options", "exercised"),
    [
        (a_quote, {"response_format": ToolStrategy(Quote)}, "structured_answers"),
        (asks_for_the_hours, {"tools": [opening_hours]}, "direct_returns"),
    ],
    ids=["structured", "direct"],
)
def test_answers_of_other_forms_conform(
    replies: Any, options: dict[str, Any], exercised: str
) -> None:
    agent: Any = create_agent(ScriptedChatModel(script=[replies] * 99), **options)
    assert set(check_participant(agent).passed) - {"steps"} == {*CHECKS, exercised}


@pytest.mark.parametrize("name", ORDER)
async def test_the_event_planners_conform(name: str) -> None:
    planner = Participant(model="offline", tools=TOOLS[name], description=DESCRIPTIONS[name])
    assert (await acheck_participant(planner, request=PARTY)).passed == [*CHECKS, "steps"]


async def test_the_whole_event_planning_conforms() -> None:
    report = await acheck_participant(create_event_planning().build(), request=PARTY)
    assert report.passed == [*CHECKS, "steps"]


def test_one_with_a_client_that_belongs_to_a_loop_conforms() -> None:
    loops: list[Any] = []

    async def fetch(messages: list[AnyMessage]) -> str:
        loops.append(asyncio.get_running_loop())
        assert loops[-1] is loops[0], "attached to a different loop"
        return f"Message {len(messages)}"

    assert check_participant(fetch).passed == CHECKS


def test_one_that_repeats_its_steps_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_has_steps", lambda graph, runs: False)
    with pytest.raises(AssertionError, match=r"steps: .*'model' was finished, and ran again"):
        check_participant(an_agent())


class Note(BaseModel):
    text: str


def test_one_that_keeps_what_cannot_be_stored_fails() -> None:
    class State(MessagesState):
        note: Any

    graph = StateGraph(State)
    done = [AIMessage("Done.")]
    graph.add_node("n", lambda state: {"note": Note(text="x"), "messages": done})
    graph.add_edge(START, "n")
    with pytest.raises(AssertionError, match="Note is not stored: no state schema"):
        check_participant(graph.compile())


def test_one_who_asks_is_answered() -> None:
    report = check_participant(asks, answers=["yes"])
    assert report.passed == [*CHECKS, "interrupts"]


def test_one_who_asks_and_is_not_answered_fails() -> None:
    with pytest.raises(AssertionError, match="it asks 'Sure\\?'; give answers="):
        check_participant(asks)


def forgets() -> Any:
    graph = StateGraph(MessagesState)

    def forget(state: MessagesState) -> dict[str, Any]:
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), AIMessage("What?")]}

    graph.add_node("n", forget)
    graph.add_edge(START, "n")
    return graph.compile()


def breaks_histories() -> Any:
    graph = StateGraph(MessagesState)
    call = {"name": "x", "args": {}, "id": "1"}
    said = [AIMessage("", tool_calls=[call]), AIMessage("Done.")]
    graph.add_node("n", lambda state: {"messages": [m.model_copy() for m in said]})
    graph.add_edge(START, "n")
    return graph.compile()


calls_so_far: list[int] = []


def fails_twice(messages: list[AnyMessage]) -> str:
    calls_so_far.append(1)
    if len(calls_so_far) % 2 == 0:
        raise ValueError("every second time")
    return "ok"


@pytest.mark.parametrize(
    ("participant", "fault"),
    [
        (forgets, "memory: AssertionError: its history holds 0 requests of 4 visits"),
        (breaks_histories, "a tool call stands without its result"),
        (lambda: fails_twice, "a visit ends as ValueError: every second time"),
        (lambda: lambda messages: "", "a visit ends as empty: it answered without a word"),
        (lambda: 7, "answers: WorkflowBuildError"),
    ],
    ids=["forgets", "breaks histories", "fails", "says nothing", "is none"],
)
def test_a_fault_is_found(participant: Any, fault: str) -> None:
    with pytest.raises(AssertionError, match="The participant fails") as caught:
        check_participant(participant())
    assert fault in str(caught.value)
