"""What a participant remembers: seen, edited, forgotten, taken to another thread."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

from asterism import (
    Agent,
    AgentOrchestrator,
    ExecutionMode,
    Participant,
    SubAgentTask,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    Workflow,
    memory,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.core.thread_lease import take_lease
from asterism.errors import (
    ConfigurationError,
    InvalidMemoryError,
    InvalidThreadError,
    ThreadBusyError,
    UnknownParticipantError,
)
from asterism.graphs.participant_memory import with_matching_tool_calls
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.processes import run
from tests.teams import Turns, follow, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
Saver = BaseCheckpointSaver[str]


def texts(messages: Sequence[BaseMessage]) -> list[str]:
    return [message.text.split("\n")[0] for message in messages]


def agent(*replies: Any) -> tuple[Any, ScriptedChatModel]:
    def look_up(what: str) -> str:
        """Look something up."""
        return f"<{what}>"

    model = ScriptedChatModel(script=replies)
    return create_agent(model, [look_up]), model


def team(turns: Turns, saver: Saver | None = None) -> Workflow:
    """venue, and a team of food and drinks, each visited once for a request."""
    inner = star(turns, ["food", "drinks"] * 4).build()
    return (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(
            venue=turns.participant("venue"), team=Participant(runs=inner, description="Eats.")
        )
        .with_manager(follow(["venue", "team"]))
        .build(checkpointer=saver)
    )


def test_it_reads_what_a_participant_remembers(saver: Saver, thread: RunnableConfig) -> None:
    workflow = team(Turns(), saver)
    assert memory(workflow, thread, "venue").messages() == []
    workflow.invoke(REQUEST, thread)
    assert texts(memory(workflow, thread, "venue").messages()) == ["Plan it", "venue 1"]
    assert texts(memory(workflow, thread, "team/food").messages())[:2] == ["Plan it", "food 1"]
    assert len(memory(workflow, thread, "team").messages()) > 4


def test_the_next_visit_sees_what_was_edited(saver: Saver, thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = team(turns, saver)
    workflow.invoke(REQUEST, thread)
    venue = memory(workflow, thread, "venue")
    venue.edit(str(venue.messages()[-1].id), "The hall is booked")
    food = memory(workflow, thread, "team/food")
    food.edit(str(food.messages()[1].id), "No nuts")
    drinks = memory(workflow, thread, "team/drinks").messages()
    conversation = workflow.get_state(thread).values["messages"]
    workflow.invoke(REQUEST, thread)
    assert texts(turns.prompts["venue"][-1]) == ["Plan it", "The hall is booked", "Plan it"]
    assert "No nuts" in texts(turns.prompts["food"][-1])
    assert memory(workflow, thread, "team/drinks").messages()[: len(drinks)] == drinks
    assert workflow.get_state(thread).values["messages"][: len(conversation)] == conversation


def test_everything_or_single_messages_are_forgotten(saver: Saver, thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = team(turns, saver)
    workflow.invoke(REQUEST, thread)
    workflow.invoke(REQUEST, thread)
    venue = memory(workflow, thread, "venue")
    first = str(venue.messages()[0].id)
    assert venue.forget(first) == [first]
    assert texts(venue.messages()) == ["venue 1", "Plan it", "venue 2"]
    assert len(venue.forget()) == 3
    assert [venue.messages(), venue.forget()] == [[], []]
    workflow.invoke(REQUEST, thread)
    assert texts(turns.prompts["venue"][-1]) == ["Plan it"]
    assert len(turns.prompts["food"][-1]) > 1


def test_a_call_and_its_results_are_forgotten_together(
    saver: Saver, thread: RunnableConfig
) -> None:
    calls = [("look_up", {"what": "a"}), ("look_up", {"what": "b"})]
    venue, model = agent(ScriptedReply(tool_calls=calls), "one", "two")
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(venue=Participant(runs=venue, description="Venues."))
        .with_manager(follow(["venue"]))
        .build(checkpointer=saver)
    )
    workflow.invoke(REQUEST, thread)
    it = memory(workflow, thread, "venue")
    kinds = [message.type for message in it.messages()]
    assert kinds == ["human", "ai", "tool", "tool", "ai"]
    assert len(it.forget(str(it.messages()[3].id))) == 3
    workflow.invoke(REQUEST, thread)
    assert texts(model.calls[-1].messages) == ["Plan it", "one", "Plan it"]
    model.assert_finished()


def test_pairs_are_found_over_the_whole_history() -> None:
    history: list[AnyMessage] = [
        HumanMessage("a", id="1"),
        AIMessage("", id="2", tool_calls=[{"name": "t", "args": {}, "id": "c"}]),
        AIMessage("b", id="3"),
    ]
    assert with_matching_tool_calls(history, ["1"]) == ["1"]
    assert with_matching_tool_calls(history, ["2", "3"]) == ["2", "3"]


def test_a_fork_takes_the_memory_to_another_thread(saver: Saver, thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = team(turns, saver)
    workflow.invoke(REQUEST, thread)
    workflow.invoke(REQUEST, thread)
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    memory(workflow, thread, "venue").fork("other")
    memory(workflow, thread, "team").fork("other")
    for path in ("venue", "team", "team/food", "team/drinks"):
        here, there = memory(workflow, thread, path), memory(workflow, other, path)
        assert here.messages() == there.messages() != []
    workflow.invoke(REQUEST, other)
    assert texts(turns.prompts["venue"][-1]) == [
        *("Plan it", "venue 1", "Plan it", "venue 2", "Plan it")
    ]
    assert len(memory(workflow, thread, "venue").messages()) == 4
    with pytest.raises(InvalidMemoryError, match="remembers something on the thread 'other'"):
        memory(workflow, thread, "venue").fork("other")
    with pytest.raises(InvalidMemoryError, match="is on the thread"):
        memory(workflow, other, "venue").fork("other")
    with pytest.raises(InvalidThreadError):
        memory(workflow, other, "venue").fork(" ")


async def test_async_methods_do_the_same(saver: Saver, thread: RunnableConfig) -> None:
    workflow = team(Turns(), saver)
    await workflow.ainvoke(REQUEST, thread)
    food = memory(workflow, thread, "team/food")
    await food.aedit(str((await food.amessages())[1].id), "No nuts")
    await food.afork("other")
    assert len(await food.aforget()) > 2
    other = memory(workflow, {"configurable": {"thread_id": "other"}}, "team/food")
    assert texts(await other.amessages())[1] == "No nuts"
    assert await food.amessages() == []


def asks(turns: Turns) -> Participant:
    """A participant that asks a person before it answers."""

    def answer(state: MessagesState) -> dict[str, Any]:
        turns.taken["asks"] = turns.taken.get("asks", 0) + 1
        return {"messages": [AIMessage(f"You said {interrupt('Which day?')}")]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return Participant(runs=graph.compile(), description="Asks.")


def planned(agents: list[str]) -> Callable[[Any], SupervisorDecision]:
    """A decider that gives each agent a task at once, then finishes."""

    def decide(view: Any) -> SupervisorDecision:
        if view.iterations:
            return SupervisorDecision(next_agent=None)
        tasks = [
            SubAgentTask(
                task_id=name,
                agent_id=name,
                task_description="Go",
                execution_mode=ExecutionMode.PARALLEL,
            )
            for name in agents
        ]
        return SupervisorDecision(next_agent=None, tasks=tasks)

    return decide


@pytest.mark.parametrize("way", ["routed", "planned"])
def test_an_open_visit_is_not_changed_and_others_are(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    turns = Turns()
    decider = follow(["venue", "asks"]) if way == "routed" else planned(["venue", "asks"])
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(venue=turns.participant("venue"), asks=asks(turns))
        .with_manager(decider)
        .build(checkpointer=saver)
    )
    assert workflow.invoke(REQUEST, thread)["status"] == "waiting"
    waiting, venue = memory(workflow, thread, "asks"), memory(workflow, thread, "venue")
    assert texts(waiting.messages()) == ["Plan it"]
    request = str(waiting.messages()[0].id)
    for change in (
        lambda: waiting.forget(),
        lambda: waiting.forget(request),
        lambda: waiting.edit(request, "x"),
        lambda: waiting.fork("other"),
    ):
        with pytest.raises(InvalidMemoryError, match="'asks' is in the middle of a visit"):
            change()
    venue.edit(str(venue.messages()[-1].id), "The hall is booked")
    result = resume(workflow, thread, "Monday")
    assert [result["status"], result["reports"][-1]["text"]] == ["completed", "You said Monday"]
    assert texts(venue.messages()) == ["Plan it", "The hall is booked"]
    assert len(waiting.forget()) == 2


def test_a_visit_that_was_decided_and_not_begun_is_under_way(
    saver: Saver, thread: RunnableConfig
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue", "food", "venue"]).build(checkpointer=saver)
    for _ in workflow.stream(REQUEST, thread, interrupt_before=["venue"]):
        pass
    workflow.invoke(None, thread, interrupt_before=["venue"])
    assert workflow.get_state(thread).next == ("venue",)
    with pytest.raises(InvalidMemoryError, match="middle of a visit"):
        memory(workflow, thread, "venue").forget()
    memory(workflow, thread, "food").forget()
    assert workflow.invoke(None, thread)["status"] == "completed"
    assert turns.taken == {"venue": 2, "food": 1}


def test_a_thread_that_somebody_drives_is_left_alone(saver: Saver, thread: RunnableConfig) -> None:
    workflow = team(Turns(), saver)
    workflow.invoke(REQUEST, thread)
    venue = memory(workflow, thread, "venue")
    release = take_lease(saver, str(thread["configurable"]["thread_id"]))
    assert release is not None
    for change in (lambda: venue.forget(), lambda: venue.fork("other")):
        with pytest.raises(ThreadBusyError):
            change()
    assert len(venue.messages()) == 2
    release()
    assert len(venue.forget()) == 2


def test_a_participant_cannot_change_its_own_memory_while_it_works(
    saver: Saver, thread: RunnableConfig
) -> None:
    workflow: Workflow

    def answer(messages: list[AnyMessage]) -> str:
        with pytest.raises(ThreadBusyError):
            memory(workflow, thread, "venue").forget()
        return "done"

    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(venue=Participant(runs=answer, description="Venues."))
        .with_manager(follow(["venue"]))
        .build(checkpointer=saver)
    )
    assert workflow.invoke(REQUEST, thread)["reports"][-1]["text"] == "done"


@pytest.mark.parametrize(
    ("path", "listed"),
    [
        ("nobody", "there is no 'nobody'; there is venue, team"),
        ("team/nobody", "there is no 'nobody'; there is food, drinks|drinks, food"),
        ("venue/x", "there is no 'x'; there is nobody"),
        ("", "there is no ''"),
    ],
    ids=["at the top", "below", "in what is no workflow", "empty"],
)
def test_strangers_are_named(saver: Saver, thread: RunnableConfig, path: str, listed: str) -> None:
    with pytest.raises(UnknownParticipantError, match=listed):
        memory(team(Turns(), saver), thread, path).messages()


def test_what_cannot_be_edited_is_said(saver: Saver, thread: RunnableConfig) -> None:
    workflow = team(Turns(), saver)
    workflow.invoke(REQUEST, thread)
    venue = memory(workflow, thread, "venue")
    with pytest.raises(InvalidMemoryError, match="'venue' remembers no message 'x'; the latest"):
        venue.forget("x")
    with pytest.raises(InvalidMemoryError, match="remembers no message 'x'"):
        venue.edit("x", "y")
    with pytest.raises(InvalidMemoryError, match=r"The new text of .* is empty"):
        venue.edit(str(venue.messages()[0].id), " ")
    with pytest.raises(InvalidThreadError):
        memory(workflow, {}, "venue")
    with pytest.raises(ConfigurationError, match="stores nothing"):
        memory(team(Turns()), thread, "venue").messages()
    with pytest.raises(ConfigurationError, match="is no workflow"):
        memory(agent()[0], thread, "venue")


async def test_an_agent_that_a_model_created_is_reached_too(saver: Saver) -> None:
    new = {"agent_id": "poet", "system_prompt": "You write.", "description": "Writes."}
    task = {"task_id": "a", "agent_id": "poet", "task_description": "Write"}
    main = ScriptedChatModel(
        script=[
            {"next_agent": None, "subagents": [new], "tasks": [task]},
            {"next_agent": None},
            "done",
        ]
    )
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main),
        subagent_model=ScriptedChatModel(script=["a poem"]),
        checkpointer=saver,
    )
    await orchestrator.process("Write a poem")
    place: RunnableConfig = {"configurable": {"thread_id": orchestrator.thread_id}}
    poet = memory(orchestrator.graph, place, "poet")
    assert texts(await poet.amessages())[-1] == "a poem"
    await orchestrator.clear_memory("poet")
    assert await poet.amessages() == []


SCRIPT = """
import sys
from asterism import memory, open_checkpointer
from tests.graphs.test_participant_memory import team
from tests.teams import Turns
with open_checkpointer(sys.argv[1]) as saver:
    venue = memory(team(Turns(), saver), {"configurable": {"thread_id": "1"}}, "venue")
    venue.edit(venue.messages()[-1].id, "Edited elsewhere")
"""


def test_another_process_may_edit(tmp_path: Path) -> None:
    from asterism import open_checkpointer

    url = f"sqlite:///{tmp_path / 'threads.db'}"
    one: RunnableConfig = {"configurable": {"thread_id": "1"}}
    with open_checkpointer(url) as saver:
        turns = Turns()
        workflow = team(turns, saver)
        workflow.invoke(REQUEST, one)
        run(SCRIPT, url, check=True)
        workflow.invoke(REQUEST, one)
        assert texts(turns.prompts["venue"][-1]) == ["Plan it", "Edited elsewhere", "Plan it"]
