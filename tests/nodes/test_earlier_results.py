"""Results of tools in later visits: shortened in prompts, whole in the history, read again."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from asterism import MemoryConfig, Participant, SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel
from tests.teams import follow, said

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
LONG = " ".join(f"fact{number}" for number in range(1_000))
WAYS = pytest.mark.parametrize("way", ["invoke", "ainvoke"])


def look_up(what: str) -> str:
    """Look something up."""
    return LONG if what == "all" else "short"


def call(name: str, own_id: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": own_id}])


def team(script: Sequence[Any], **options: Any) -> tuple[Any, ScriptedChatModel]:
    model = ScriptedChatModel(script=script)
    finder = Participant(model=model, tools=[look_up], prompt="You find.", **options)
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(finder=finder)
        .with_manager(follow(["finder"]))
        .build(checkpointer=InMemorySaver())
    )
    return workflow, model


def run(workflow: Any, way: str, times: int = 2) -> Any:
    config = {"configurable": {"thread_id": "1"}}
    for _ in range(times):
        result = getattr(workflow, way)(REQUEST, config)
        result = asyncio.run(result) if way == "ainvoke" else result
    return result


def results(prompt: Sequence[BaseMessage]) -> list[str]:
    return [message.text for message in prompt if isinstance(message, ToolMessage)]


@WAYS
def test_a_result_is_whole_in_its_visit_and_short_in_the_next(way: str) -> None:
    script = [call("look_up", "a", what="all"), "First.", "Second."]
    workflow, model = team(script)
    run(workflow, way)
    assert results(model.calls[1].messages) == [LONG]
    (short,) = results(model.calls[2].messages)
    assert len(short) < 500 and short.startswith("fact0 ") and "fact999" in short
    assert 'read_result("a")' in short
    offered = [sent.tools for sent in model.calls]
    assert offered == [["look_up"], ["look_up"], ["read_result", "look_up"]]


@WAYS
def test_a_shortened_result_is_read_again_whole(way: str) -> None:
    script = [
        call("look_up", "a", what="all"),
        "First.",
        call("read_result", "b", call_id="a"),
        call("read_result", "c", call_id="z"),
        "Second.",
    ]
    workflow, model = team(script)
    result = run(workflow, way)
    assert said(result) == ["Second."]
    _, again, unknown = results(model.calls[4].messages)
    assert again == LONG
    assert unknown.startswith("There is no result 'z'")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        pytest.param({}, "little", id="a short result"),
        pytest.param({"memory": MemoryConfig(result_tokens=None)}, "all", id="turned off"),
        pytest.param({"memory": MemoryConfig(result_tokens=9_999)}, "all", id="a higher limit"),
    ],
)
def test_what_need_not_be_shortened_is_sent_as_it_was(options: Any, what: str) -> None:
    script = [call("look_up", "a", what=what), "First.", "Second."]
    workflow, model = team(script, **options)
    run(workflow, "invoke")
    assert results(model.calls[2].messages) == [look_up(what)]
    assert all(len(sent.tools) == 1 for sent in model.calls)


def test_a_tool_of_the_same_name_is_the_users_own() -> None:
    def read_result(what: str) -> str:
        """Read a result of the team's own."""
        return LONG

    model = ScriptedChatModel(script=[call("read_result", "a", what="it"), "First.", "Second."])
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(finder=Participant(model=model, tools=[read_result], prompt="You find."))
        .with_manager(follow(["finder"]))
        .build(checkpointer=InMemorySaver())
    )
    run(workflow, "invoke")
    assert results(model.calls[2].messages) == [LONG]


def test_facts_of_reports_are_all_there_when_the_answer_is_written() -> None:
    """Fifty facts, one in each report of a long conversation, asked for at the end."""
    facts = [f"The number of item {number} is {number * 7919 % 1000}." for number in range(50)]
    script: list[AIMessage | str] = []
    for number, fact in enumerate(facts):
        script += [call("look_up", f"c{number}", what="all"), f"{fact} {'Text. ' * 50}"]
    finder = ScriptedChatModel(script=script)
    decisions: list[Any] = []
    for _ in facts:
        decisions += [{"next_agent": "finder", "instruction": "Next."}, {"next_agent": None}, "OK"]
    supervisor = ScriptedChatModel(script=decisions)
    workflow = (
        SupervisorWorkflowBuilder("Test", model=supervisor)
        .participants(finder=Participant(model=finder, tools=[look_up], prompt="You find."))
        .build(checkpointer=InMemorySaver())
    )
    run(workflow, "invoke", times=len(facts))
    for sent, wanted in ((supervisor.calls[-1], facts), (finder.calls[-1], facts[:-1])):
        text = "\n".join(message.text for message in sent.messages)
        assert [fact for fact in wanted if fact not in text] == []
    length = sum(len(message.text) for message in finder.calls[-1].messages)
    assert length < 50 * len(LONG) / 5, "and yet most of the results is left out"
