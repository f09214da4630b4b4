"""Streams: who speaks, at every level."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import Turns, follow, said, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


def nested() -> Any:
    """A workflow in a workflow; each model says who it is."""
    venue = Participant(model=ScriptedChatModel(script=["I am venue"]), prompt="You are venue.")
    inner = (
        SupervisorWorkflowBuilder(
            "Inner", model=ScriptedChatModel(script=["I am the writer"]), description="Plans."
        )
        .participants(venue=venue)
        .with_manager(follow(["venue"]))
        .build()
    )
    cook = Participant(model=ScriptedChatModel(script=["I am cook"]), prompt="You are cook.")
    return (
        SupervisorWorkflowBuilder("Outer", model=ScriptedChatModel(script=["The end"]))
        .participants(team=inner, cook=cook)
        .with_manager(follow(["team", "cook"]))
        .build(checkpointer=InMemorySaver())
    )


async def test_tokens_say_who_speaks_at_every_level(thread: RunnableConfig) -> None:
    heard: dict[tuple[str, str], str] = {}
    visits: dict[str, set[str]] = {}
    events = nested().astream(REQUEST, thread, stream_mode="messages", subgraphs=True)
    async for _, (message, facts) in events:
        if isinstance(message, AIMessageChunk):
            who = (facts["participant"], facts.get("participant_path", ""))
            heard[who] = heard.get(who, "") + message.text
            visits.setdefault(facts.get("participant_path", ""), set()).add(
                facts.get("handoff_id", "")
            )
    assert heard == {
        ("venue", "team/venue"): "I am venue",
        ("supervisor", "team"): "I am the writer",
        ("cook", "cook"): "I am cook",
        ("supervisor", ""): "The end",
    }
    assert all(len(ids) == 1 for ids in visits.values())
    assert len(set().union(*visits.values())) == 4


def test_updates_show_decisions_and_reports(thread: RunnableConfig) -> None:
    steps = list(nested().stream(REQUEST, thread, stream_mode="updates"))
    assert [next(iter(step)) for step in steps] == [
        "begin",
        "supervisor",
        "team",
        "supervisor",
        "cook",
        "supervisor",
        "finish",
    ]
    assert steps[1]["supervisor"]["decision"]["next_agent"] == "team"
    assert steps[4]["cook"]["reports"][0]["text"] == "I am cook"


async def test_the_order_of_each_participant_is_kept(thread: RunnableConfig) -> None:
    paths = [
        path
        async for path, _ in nested().astream(REQUEST, thread, stream_mode="tasks", subgraphs=True)
    ]
    levels = [tuple(part.split(":")[0] for part in path) for path in paths]
    assert levels.index(("team",)) < levels.index(("team", "venue")) < levels.index(("cook",))
    assert len({path for path in paths if len(path) == 2}) == 1


async def test_a_stream_that_is_left_in_its_middle_gives_its_thread_back(
    saver: BaseCheckpointSaver[str], thread: RunnableConfig
) -> None:
    workflow = star(Turns(), ["venue", "venue"]).build(checkpointer=saver)
    async for _ in workflow.astream(REQUEST, thread):
        break
    assert said(await workflow.ainvoke(REQUEST, thread))[-1:] == ["venue 2"]


def price(item: str) -> str:
    """Tell a price."""
    return "3 dollars"


def speaking(kind: str, routed: bool) -> Any:
    """A team whose clerk says REPORT once, and whose supervisor says ANSWER, where it does."""
    script: list[Any] = [ScriptedReply(tool_calls=[("price", {"item": "pen"})]), "REPORT"]
    kinds: dict[str, Any] = {
        "agent": lambda: create_agent(ScriptedChatModel(script=script), [price]),
        "model": lambda: ScriptedChatModel(script=["REPORT"]),
        "function": lambda: lambda messages: "REPORT",
        "workflow": lambda: speaking("function", routed=False),
    }
    clerk = kinds[kind]()
    model = ScriptedChatModel(script=["ANSWER"])
    builder = SupervisorWorkflowBuilder("Shop", model=model, description="Sells.")
    builder.participants(clerk=Participant(runs=clerk, description="Prices."))
    if routed:
        return builder.with_manager(follow(["clerk"])).build()
    builder = SupervisorWorkflowBuilder("Shop", finish="forward", description="Sells.")
    builder.participants(clerk=Participant(runs=clerk, description="Prices."))
    return builder.with_strategy("parallel").build()


def texts(parts: list[Any], several: bool, subgraphs: bool, version: str) -> list[tuple[str, str]]:
    """Who says what, of streams in all of their forms."""
    told: dict[str, list[Any]] = {}
    for part in parts:
        if version == "v2":
            found = part["data"] if part["type"] == "messages" else None
        elif several:
            found = part[-1] if part[-2] == "messages" else None
        else:
            found = part[-1] if subgraphs else part
        if found is not None and found[0].text and found[0].type != "tool":
            who = found[1].get("participant") or found[0].name
            said = told.setdefault(f"{who}|{found[0].id}", [str(who), ""])
            said[1] += found[0].text
    return [(who, words) for who, words in told.values()]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("subgraphs", [False, True], ids=["flat", "subgraphs"])
@pytest.mark.parametrize("several", [False, True], ids=["one mode", "modes"])
@pytest.mark.parametrize("routed", [True, False], ids=["routed", "plan"])
@pytest.mark.parametrize("kind", ["agent", "model", "function", "workflow"])
async def test_a_stream_of_messages_says_each_thing_once(
    kind: str, routed: bool, several: bool, subgraphs: bool, version: Any
) -> None:
    mode: Any = ["messages", "updates"] if several else "messages"
    options = {"stream_mode": mode, "subgraphs": subgraphs, "version": version}
    here = [*speaking(kind, routed).stream(REQUEST, **options)]
    there = [part async for part in speaking(kind, routed).astream(REQUEST, **options)]
    for parts in (here, there):
        heard = texts(parts, several, subgraphs, version)
        assert [words for _, words in heard] == ["REPORT", *(["ANSWER"] if routed else [])]
        assert heard[0][0] == "clerk"


def test_a_report_that_nobody_has_streamed_is_shown() -> None:
    def broken(messages: Any) -> str:
        """Breaks."""
        raise RuntimeError("down")

    builder = SupervisorWorkflowBuilder("Shop", finish="forward").participants(clerk=broken)
    parts: Any = builder.with_strategy("parallel").build().stream(REQUEST, stream_mode="messages")
    message, facts = next(iter(parts))
    assert (message.text, facts["participant"]) == ("(RuntimeError: down)", "clerk")
