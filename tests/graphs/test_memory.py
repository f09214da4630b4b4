"""Local memory: a participant remembers its own visits, and only its own."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from asterism import Participant, SupervisorWorkflowBuilder
from asterism.core.run_types import WorkflowInput
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.processes import run
from tests.teams import Turns, follow, said, star

EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "10"))
TEAM = ("venue", "food", "music")


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return f"found {what}"


def is_valid(history: Sequence[BaseMessage]) -> bool:
    """Whether each tool call is followed by exactly one result, and no result stands alone."""
    open_calls: list[str] = []
    for message in history:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_calls:
                return False
            open_calls.remove(message.tool_call_id)
        elif open_calls:
            return False
        elif isinstance(message, AIMessage):
            open_calls = [call["id"] or "" for call in message.tool_calls]
    return not open_calls


def speaker(name: str, with_tool: bool) -> list[Any]:
    """What a participant's model says on one visit; every word names the participant."""
    answer = f"<{name}> answers"
    if not with_tool:
        return [answer]
    return [ScriptedReply(tool_calls=[("look_up", {"what": f"<{name}>"})]), answer]


visits = st.lists(st.tuples(st.sampled_from(TEAM), st.booleans()), max_size=8)
requests = st.lists(visits, min_size=1, max_size=3)


@settings(max_examples=EXAMPLES)
@given(requests)
def test_every_prompt_is_valid_and_holds_no_stranger(plan: list[list[tuple[str, bool]]]) -> None:
    models = {
        name: ScriptedChatModel(
            script=[
                reply
                for request in plan
                for who, with_tool in request
                if who == name
                for reply in speaker(name, with_tool)
            ]
        )
        for name in TEAM
    }
    decisions = [
        {"next_agent": who, "instruction": f"Do {who} {place}"} if who else {"next_agent": None}
        for request in plan
        for place, who in enumerate([*(who for who, _ in request), None])
    ]
    supervisor = ScriptedChatModel(script=decisions)
    workflow = (
        SupervisorWorkflowBuilder("Test", model=supervisor, finish="forward")
        .participants(
            **{
                name: Participant(runs=create_agent(model, [look_up]), description=f"Knows {name}.")
                for name, model in models.items()
            }
        )
        .build(checkpointer=InMemorySaver())
    )
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    for number, _ in enumerate(plan):
        result = workflow.invoke({"messages": [("user", f"Request {number}")]}, thread)
        assert result["status"] == "completed"
    for name, model in models.items():
        model.assert_finished()
        for call in model.calls:
            assert is_valid(call.messages)
            strangers = [other for other in TEAM if other != name]
            assert not any(f"<{other}>" in m.text for m in call.messages for other in strangers)
    supervisor.assert_finished()
    assert all(is_valid(call.messages) for call in supervisor.calls)


SCRIPT = """
import sys
from asterism import open_checkpointer
from tests.teams import Turns, star, said
turns = Turns()
with open_checkpointer(sys.argv[1]) as saver:
    workflow = star(turns, ["venue", "food", "venue"]).build(checkpointer=saver)
    thread = {"configurable": {"thread_id": "t"}}
    workflow.invoke({"messages": [("user", sys.argv[2])]}, thread)
print([[m.text.split()[0] for m in prompt] for prompt in turns.prompts["venue"]])
"""


def test_memory_outlives_visits_requests_and_processes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'threads.db'}"

    def in_a_new_process(request: str) -> str:
        return run(SCRIPT, url, request, check=True).stdout.strip()

    assert in_a_new_process("One") == "[['One'], ['One', 'venue', 'One']]"
    assert in_a_new_process("Two") == (
        "[['One', 'venue', 'One', 'venue', 'Two'], "
        "['One', 'venue', 'One', 'venue', 'Two', 'venue', 'Two']]"
    )


def test_another_thread_is_empty(thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=InMemorySaver())
    request: WorkflowInput = {"messages": [("user", "Plan it")]}
    workflow.invoke(request, thread)
    workflow.invoke(request, {"configurable": {"thread_id": "another"}})
    assert [len(prompt) for prompt in turns.prompts["venue"]] == [1, 1]


def test_participants_may_have_the_same_insides(thread: RunnableConfig) -> None:
    agent = create_agent(ScriptedChatModel(script=["a", "b", "c", "d"]))
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(
            one=Participant(runs=agent, description="One."),
            two=Participant(runs=agent, description="Two."),
        )
        .with_manager(follow(["one", "two", "one", "two"]))
        .build(checkpointer=InMemorySaver())
    )
    result = workflow.invoke({"messages": [("user", "Hi")]}, thread)
    assert said(result) == ["a", "b", "c", "d"]
    inside: RunnableConfig = {"configurable": {**thread["configurable"], "checkpoint_ns": "two"}}
    memory = workflow.get_state(inside).values["messages"]
    assert [m.text for m in memory if not isinstance(m, HumanMessage)] == ["b", "d"]
