"""Streams: who speaks, at every level."""

from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.testing import ScriptedChatModel
from tests.teams import Turns, follow, said, star

REQUEST = {"messages": [("user", "Plan it")]}


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
