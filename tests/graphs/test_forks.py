"""Forks: a branch knows nothing of the branches that were left, at any depth."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import interrupt

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    resume,
    what_if,
)
from asterism import memory as memory_of
from asterism.core.agent_spec import Agent
from asterism.core.run_types import WorkflowInput
from asterism.errors import UnknownThreadError
from asterism.testing import ScriptedChatModel
from tests.databases import SAVERS, url_of
from tests.graphs.test_services import Server, quotes, tells

Saver = BaseCheckpointSaver[str]
KINDS = SAVERS if "ASTERISM_EXAMPLES" in os.environ else (None,)
Team = Callable[[Saver, list[list[str]]], Any]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of one kind, of another for the next test; `make torture` takes all of them."""
    kind = request.param or SAVERS[crc32(request.node.name.encode()) % len(SAVERS)]
    return url_of(kind, request, tmp_path)


def asking(words: str) -> WorkflowInput:
    return {"messages": [("user", words)]}


def listener(seen: list[list[str]]) -> Participant:
    """A participant that notes what it is sent."""

    def answer(messages: list[AnyMessage]) -> str:
        seen.append([message.text for message in messages])
        return f"answer to {messages[-1].text}"

    return Participant(runs=answer, description="Answers.")


def once(name: str) -> Callable[[Any], SupervisorDecision]:
    return lambda view: SupervisorDecision(next_agent=None if view.reports else name)


def routed(saver: Saver | None, seen: list[list[str]]) -> Any:
    builder = SupervisorWorkflowBuilder("Shop", finish="forward", description="A shop.")
    builder.participants(clerk=listener(seen)).with_manager(once("clerk"))
    return builder.build(checkpointer=saver)


def planned(saver: Saver, seen: list[list[str]]) -> Any:
    builder = SupervisorWorkflowBuilder("Shop", finish="forward")
    builder.participants(clerk=listener(seen)).with_strategy("parallel")
    return builder.build(checkpointer=saver)


def nested(saver: Saver, seen: list[list[str]]) -> Any:
    """Two workflows deep."""
    middle = SupervisorWorkflowBuilder("Floor", finish="forward", description="A floor.")
    middle.participants(shop=routed(None, seen)).with_manager(once("shop"))
    outer = SupervisorWorkflowBuilder("House", finish="forward")
    outer.participants(floor=middle.build()).with_manager(once("floor"))
    return outer.build(checkpointer=saver)


def nested_plan(saver: Saver, seen: list[list[str]]) -> Any:
    outer = SupervisorWorkflowBuilder("House", finish="forward")
    outer.participants(shop=routed(None, seen)).with_strategy("sequential")
    return outer.build(checkpointer=saver)


def listening(seen: list[list[str]]) -> ScriptedChatModel:
    """A model that notes what it is sent."""

    class Listening(ScriptedChatModel):
        def _next(self, messages: Any, options: Any) -> Any:
            seen.append([message.text for message in messages])
            return super()._next(messages, options)

    return Listening(script=["fine"] * 9)


def agent(saver: Saver, seen: list[list[str]]) -> Any:
    clerk = create_agent(listening(seen), [])
    builder = SupervisorWorkflowBuilder("Shop", finish="forward")
    builder.participants(clerk=Participant(runs=clerk, description="Answers."))
    return builder.with_manager(once("clerk")).build(checkpointer=saver)


def created(saver: Saver, seen: list[list[str]]) -> Any:
    """A team of agents that are created for each request."""

    def choose(request: str) -> list[str | Agent]:
        return [Agent(agent_id="clerk", system_prompt="Answer.")]

    builder = SupervisorWorkflowBuilder("Shop", finish="forward", model=listening(seen))
    builder.participants(other=listener([]))
    builder.with_strategy("parallel", create_agents_for_task=choose)
    return builder.build(checkpointer=saver)


TEAMS = [routed, planned, nested, nested_plan, agent, created]


async def run(team: Any, given: Any, config: RunnableConfig, asynchronous: bool) -> Any:
    return await team.ainvoke(given, config) if asynchronous else team.invoke(given, config)


def request_at(team: Any, past: RunnableConfig, thread: RunnableConfig) -> RunnableConfig:
    return past


def edit_then_thread(team: Any, past: RunnableConfig, thread: RunnableConfig) -> RunnableConfig:
    team.update_state(past, {"messages": [("user", "by the way")]}, as_node="finish")
    return thread


def edit_then_fork(team: Any, past: RunnableConfig, thread: RunnableConfig) -> RunnableConfig:
    config: RunnableConfig = team.update_state(past, {"reason": "edited"}, as_node="finish")
    return config


@pytest.mark.parametrize("way", [request_at, edit_then_thread, edit_then_fork])
@pytest.mark.parametrize("make", TEAMS)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_new_request_at_an_earlier_checkpoint_finds_the_memory_of_then(
    asynchronous: bool, make: Team, way: Any, saver: Saver, thread: RunnableConfig
) -> None:
    seen: list[list[str]] = []
    team = make(saver, seen)
    await run(team, asking("One"), thread, asynchronous)
    past = team.get_state(thread).config
    await run(team, asking("SECRET"), thread, asynchronous)
    assert "SECRET" in str(seen[-1])
    await run(team, asking("Otherwise"), way(team, past, thread), asynchronous)
    await run(team, asking("Further"), thread, asynchronous)
    assert "One" in str(seen[-2]) and "Otherwise" in str(seen[-2])
    assert "Otherwise" in str(seen[-1]) and "Further" in str(seen[-1])
    assert "SECRET" not in str(seen[-2:])


@pytest.mark.parametrize("make", [routed, planned, nested, created])
def test_each_branch_goes_on_with_its_own_memory(
    make: Team, saver: Saver, thread: RunnableConfig
) -> None:
    seen: list[list[str]] = []
    team = make(saver, seen)
    team.invoke(asking("One"), thread)
    root = team.get_state(thread).config
    tips = {}
    for name in ("Left", "Right"):
        team.invoke(asking(name), root)
        tips[name] = team.get_state(thread).config
    for name, other in (("Left", "Right"), ("Right", "Left"), ("Left", "Right")):
        team.invoke(asking("Further"), tips[name])
        assert "One" in str(seen[-1]) and name in str(seen[-1])
        assert other not in str(seen[-1])
        tips[name] = team.get_state(thread).config


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_replay_among_branches_finds_the_memory_of_its_own(
    asynchronous: bool, saver: Saver, thread: RunnableConfig
) -> None:
    seen: list[list[str]] = []
    team = nested(saver, seen)
    await run(team, asking("One"), thread, asynchronous)
    root = team.get_state(thread).config
    await run(team, asking("Left"), thread, asynchronous)
    left = team.get_state(thread).config
    await run(team, asking("Right"), root, asynchronous)
    await run(team, asking("Left again"), left, asynchronous)
    history = team.get_state_history(thread)
    before = next(s.config for s in history if s.next == ("floor",))  # after Right, by the clock
    seen.clear()
    await run(team, None, before, asynchronous)
    assert "Left again" in str(seen) and "'Left'" in str(seen) and "Right" not in str(seen)


def test_who_is_not_visited_in_a_fork_forgets_the_branch_that_was_left_too(
    saver: Saver, thread: RunnableConfig
) -> None:
    heard: dict[str, list[list[str]]] = {"a": [], "b": []}

    def decide(view: Any) -> SupervisorDecision:
        return SupervisorDecision(next_agent=None if view.reports else view.request[0])

    builder = SupervisorWorkflowBuilder("Shop", finish="forward")
    builder.participants(**{name: listener(seen) for name, seen in heard.items()})
    team = builder.with_manager(decide).build(checkpointer=saver)
    team.invoke(asking("a one"), thread)
    past = team.get_state(thread).config
    team.invoke(asking("b SECRET"), thread)
    team.invoke(asking("a otherwise"), past)
    assert memory_of(team, thread, "b").messages() == []
    at_b: RunnableConfig = {"configurable": {**thread["configurable"], "checkpoint_ns": "b"}}
    assert not team.get_state(at_b).values.get("messages")
    team.invoke(asking("b first"), thread)
    assert heard["b"][-1] == ["b first"]


def test_the_memory_of_a_participant_is_that_of_the_fork_at_once(
    saver: Saver, thread: RunnableConfig
) -> None:
    team = nested(saver, [])
    team.invoke(asking("One"), thread)
    past = team.get_state(thread).config
    told = {path: memory_of(team, thread, path).messages() for path in ("floor", "floor/shop")}
    team.invoke(asking("Two"), thread)
    team.update_state(past, {"reason": "edited"}, as_node="finish")
    for path, messages in told.items():
        assert memory_of(team, thread, path).messages() == messages


def test_an_edit_at_an_earlier_checkpoint_of_a_workflow_inside_takes_its_own_back(
    saver: Saver, thread: RunnableConfig
) -> None:
    seen: list[list[str]] = []
    team = nested(saver, seen)
    team.invoke(asking("One"), thread)
    inside: RunnableConfig = {"configurable": {**thread["configurable"], "checkpoint_ns": "floor"}}
    past = team.get_state(inside).config
    team.invoke(asking("SECRET"), thread)
    team.update_state(past, {"reason": "edited"}, as_node="finish")
    team.invoke(asking("Further"), thread)
    assert "One" in str(seen[-1]) and "SECRET" not in str(seen[-1])


def test_a_fork_in_the_middle_of_a_plan_finds_the_memory_of_then(
    saver: Saver, thread: RunnableConfig
) -> None:
    heard: dict[str, list[list[str]]] = {"a": [], "b": []}
    builder = SupervisorWorkflowBuilder("Shop", finish="forward")
    builder.participants(**{name: listener(seen) for name, seen in heard.items()})
    team = builder.with_strategy("sequential").build(checkpointer=saver)
    team.invoke(asking("One"), thread)
    states = list(team.get_state_history(thread))
    middle = next(s for s in states if s.next == ("dispatch",) and len(s.values["reports"]) == 1)
    team.invoke(asking("Instead"), middle.config)
    assert len(heard["a"][-1]) == 3 and "One" in heard["a"][-1][0]
    assert len(heard["b"][-1]) == 1 and "answer to One" not in heard["b"][-1][0].split("\n")[0]
    team.invoke(None, middle.config)  # what was done stays done
    assert [len(heard[name]) for name in heard] == [2, 3]
    assert len(heard["b"][-1]) == 1


def test_what_if_finds_the_memory_of_its_branch(saver: Saver, thread: RunnableConfig) -> None:
    seen: list[list[str]] = []
    team = routed(saver, seen)
    team.invoke(asking("One"), thread)
    past = team.get_state(thread).config
    team.invoke(asking("SECRET"), thread)
    team.invoke(asking("Otherwise"), past)
    other = {"next_agent": "clerk", "instruction": "Be brief"}
    found = what_if(team, thread, decision=other, round=1)
    assert "One" in str(seen[-1]) and "brief" in str(seen[-1]) and "SECRET" not in str(seen[-1])
    assert [len(request.rounds) for request in found.before.requests] == [2, 2]
    assert found.result["status"] == "completed"


def test_another_conversation_begins_elsewhere(saver: Saver, thread: RunnableConfig) -> None:
    with Server(tells("fine")) as server:
        builder = SupervisorWorkflowBuilder("Shop", finish="forward")
        builder.participants(clerk=quotes(server.url)).with_manager(once("clerk"))
        team = builder.build(checkpointer=saver)
        team.invoke(asking("One"), thread)
        past = team.get_state(thread).config
        team.invoke(asking("SECRET"), thread)
        team.invoke(asking("Otherwise"), past)
        team.invoke(asking("Further"), thread)
        first, second, third, fourth = (call["conversation_id"] for call in server.calls)
    assert first == second != third == fourth


def test_a_checkpoint_that_is_not_there_is_refused(saver: Saver, thread: RunnableConfig) -> None:
    team = routed(saver, [])
    team.invoke(asking("One"), thread)
    name = "1ef00000-0000-6000-8000-000000000000"
    nowhere: RunnableConfig = {"configurable": {**thread["configurable"], "checkpoint_id": name}}
    with pytest.raises(UnknownThreadError, match=f"no checkpoint '{name}'"):
        team.invoke(asking("Two"), nowhere)
    assert team.invoke(asking("Two"), thread)["status"] == "completed"


def test_the_latest_checkpoint_is_no_fork(saver: Saver, thread: RunnableConfig) -> None:
    seen: list[list[str]] = []
    team = routed(saver, seen)
    team.invoke(asking("One"), thread)
    stored = len([*saver.list(thread)])
    team.invoke(asking("Two"), team.get_state(thread).config)
    named = len([*saver.list(thread)]) - stored
    stored += named
    team.invoke(asking("Three"), thread)
    assert len([*saver.list(thread)]) - stored == named
    assert "One" in str(seen[-1]) and "Two" in str(seen[-1])


def test_a_question_of_a_branch_that_was_left_is_asked_again_from_the_memory_of_then(
    saver: Saver, thread: RunnableConfig
) -> None:
    seen: list[list[str]] = []

    def clerk(messages: list[AnyMessage]) -> str:
        """Asks."""
        seen.append([message.text for message in messages])
        return f"was told {interrupt({'prompt': 'Sure?'})}"

    builder = SupervisorWorkflowBuilder("Shop", finish="forward").participants(clerk=clerk)
    team = builder.with_manager(once("clerk")).build(checkpointer=saver)
    team.invoke(asking("One"), thread)
    past = team.get_state(thread).config
    resume(team, thread, "SECRET")
    assert team.invoke(None, past)["status"] == "waiting"
    assert "SECRET" not in str(seen[-1])
    assert resume(team, thread, "no")["messages"][-1].text == "was told no"


def test_a_fork_goes_on_from_before_the_first_decision(
    saver: Saver, thread: RunnableConfig
) -> None:
    seen: list[list[str]] = []
    team = routed(saver, seen)
    team.invoke(asking("One"), thread)
    first = [item.config for item in saver.list(thread) if item.metadata["step"] == 1]
    begun = next(place for place in first if not place["configurable"]["checkpoint_ns"])
    assert team.invoke(None, begun)["status"] == "completed"
    assert len(seen) == 2
