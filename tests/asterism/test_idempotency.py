"""A key by which an effect is known again when its turn runs twice."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.tools import ToolRuntime
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import interrupt

from asterism import Participant, SupervisorWorkflowBuilder, idempotency_key, resume
from asterism.errors import ConfigurationError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import follow

REQUEST = {"messages": [("user", "Pay the bills")]}
Saver = BaseCheckpointSaver[str]


def run_with(thing: Any, saver: Any, thread: RunnableConfig, visits: int = 1) -> Any:
    builder = SupervisorWorkflowBuilder("Keys", finish="forward")
    builder.participants(p=Participant(runs=thing, description="Pays."))
    workflow = builder.with_manager(follow(["p"] * visits)).build(checkpointer=saver)
    return workflow, workflow.invoke(REQUEST, thread)


def test_each_call_of_each_visit_has_its_key(saver: Saver, thread: RunnableConfig) -> None:
    keys: list[str] = []

    def pay(messages: Any) -> str:
        keys.extend([idempotency_key(), idempotency_key()])
        return "paid"

    _, result = run_with(pay, saver, thread, visits=2)
    visits = [report["id"] for report in result["reports"]]
    name = thread["configurable"]["thread_id"]
    assert keys == [f"{name}/{visit}/{n}" for visit in visits for n in (1, 2)]


def test_the_key_of_a_tool_is_its_place_among_the_calls(
    saver: Saver, thread: RunnableConfig
) -> None:
    keys: dict[str, list[str]] = {}

    @tool
    def pay(amount: int, runtime: ToolRuntime) -> str:
        """Pay."""
        keys.setdefault(f"{amount}", []).append(idempotency_key(runtime))
        if amount == 3:
            interrupt({"prompt": "Sure?"})
        return "paid"

    script = [
        ScriptedReply(tool_calls=[("pay", {"amount": 1}), ("pay", {"amount": 2})]),
        ScriptedReply(tool_calls=[("pay", {"amount": 3})]),
        "done",
    ]
    agent = create_agent(ScriptedChatModel(script=script), [pay])
    workflow, _ = run_with(agent, saver, thread)
    resume(workflow, thread, "yes")
    visit = workflow.get_state(thread).values["reports"][0]["id"]
    prefix = f"{thread['configurable']['thread_id']}/{visit}"
    assert keys == {
        "1": [f"{prefix}/1"],
        "2": [f"{prefix}/2"],
        "3": [f"{prefix}/3", f"{prefix}/3"],  # it ran twice, and says so
    }


async def test_the_key_is_the_same_when_the_turn_runs_again(
    saver: Saver, thread: RunnableConfig
) -> None:
    keys: list[str] = []
    failures = iter([KeyboardInterrupt()])

    async def pay(messages: Any) -> str:
        keys.append(idempotency_key())
        for failure in failures:
            raise failure
        return "paid"

    builder = SupervisorWorkflowBuilder("Keys", finish="forward")
    builder.participants(p=Participant(runs=pay, description="Pays."))
    workflow = builder.with_manager(follow(["p"])).build(checkpointer=saver)
    with pytest.raises(KeyboardInterrupt):
        workflow.invoke(REQUEST, thread)
    workflow.invoke(None, thread)
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_outside_of_a_visit_there_is_no_key() -> None:
    with pytest.raises(ConfigurationError, match="outside of a visit"):
        idempotency_key()
