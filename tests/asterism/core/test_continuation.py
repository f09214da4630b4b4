"""A key by which an effect is known again when its turn runs twice."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.tools import ToolRuntime
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from asterism import Participant, SupervisorWorkflowBuilder, idempotency_key, resume
from asterism.core.run_types import WorkflowInput
from asterism.errors import ConfigurationError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.teams import follow

REQUEST: WorkflowInput = {"messages": [("user", "Pay the bills")]}
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
    assert [key.rsplit("/", 1)[0] for key in keys] == [
        f"{name}/{visit}" for visit in visits for _ in (1, 2)
    ]
    assert [key.rsplit(".", 1)[1] for key in keys] == ["1", "2", "1", "2"]
    assert len(set(keys)) == 4


def test_each_step_of_a_participants_graph_has_its_own_keys(
    saver: Saver, thread: RunnableConfig
) -> None:
    keys: dict[str, list[str]] = {}

    def step(name: str) -> Any:
        def act(state: Any) -> Any:
            keys.setdefault(name, []).append(idempotency_key())
            return {"messages": [("ai", interrupt("?") if name == "b" else name)]}

        return act

    graph = StateGraph(MessagesState)
    graph.add_sequence([("a", step("a")), ("b", step("b"))])
    graph.add_edge(START, "a")
    workflow, _ = run_with(graph.compile(), saver, thread)
    resume(workflow, thread, "yes")
    assert len(keys["a"]) == 1 and len(keys["b"]) == 2
    assert keys["b"][0] == keys["b"][1] != keys["a"][0]


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
