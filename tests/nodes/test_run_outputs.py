"""What runs return, collected with less work: the same as LangGraph's own `invoke` returns."""

from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph, add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import GraphOutput, Interrupt, interrupt
from pydantic import BaseModel

from asterism import (
    Participant,
    SubAgentTask,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
)
from asterism.core.run_types import WorkflowInput
from asterism.nodes.participant_runtime import collect_output, invoke_options
from tests.teams import Turns, follow, said, star

CONFIG: Any = {"configurable": {"thread_id": "t"}}
ASKED: Any = {"messages": [("user", "Go.")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


async def called(graph: Any, way: str, **kwargs: Any) -> Any:
    if way == "sync":
        return graph.invoke(ASKED, CONFIG, **kwargs)
    return await graph.ainvoke(ASKED, CONFIG, **kwargs)


def answering(schema: Any, node: Any) -> Any:
    graph: Any = StateGraph(schema)
    graph.add_node("respond", node)
    graph.add_edge(START, "respond")
    graph.add_edge("respond", END)
    return graph.compile(checkpointer=True)


def of(participant: Any) -> Any:
    team = Participant(runs=participant, description="Answers.")
    builder = SupervisorWorkflowBuilder("Test", finish="forward").participants(ann=team)
    return builder.with_manager(follow(["ann"])).build(checkpointer=InMemorySaver())


def asks(state: MessagesState) -> WorkflowInput:
    return {"messages": [AIMessage(interrupt({"prompt": "Where?"}))]}


class Talk(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages]


@WAYS
async def test_the_state_of_a_participant_may_be_a_model(way: str) -> None:
    def respond(state: Talk) -> dict[str, Any]:
        return {"messages": [AIMessage("Done.")]}

    assert said(await called(of(answering(Talk, respond)), way)) == ["Done."]


@WAYS
async def test_a_graph_with_an_invoke_of_its_own_is_called_by_it(way: str) -> None:
    class Louder(CompiledStateGraph[Any, Any, Any, Any]):
        def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            return self._louder(super().invoke(input, config, **kwargs))

        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:
            return self._louder(await super().ainvoke(input, config, **kwargs))

        def _louder(self, values: Any) -> Any:
            assert isinstance(values, dict)
            return {**values, "messages": [*values["messages"][:-1], AIMessage("DONE.")]}

    plain = answering(MessagesState, lambda state: {"messages": [AIMessage("Done.")]})
    own = {key: value for key, value in vars(plain).items() if key != "__orig_class__"}
    assert said(await called(of(Louder(**own)), way)) == ["DONE."]


@WAYS
async def test_questions_come_as_langgraph_returns_them(way: str) -> None:
    result = await called(of(answering(MessagesState, asks)), way)
    (question,) = result["__interrupt__"]
    assert isinstance(question, Interrupt)
    assert isinstance(result["__interrupt__"], list)
    assert question.value == {"prompt": "Where?"}
    assert result["status"] == "waiting"
    assert result["messages"][0].text == "Go."


@WAYS
async def test_all_questions_of_a_plan_come_at_once(way: str) -> None:
    plan = [
        SubAgentTask(task_id=name, agent_id=name, task_description="Ask.") for name in ("a", "b")
    ]
    team = {
        name: Participant(runs=answering(MessagesState, asks), description="Asks.")
        for name in ("a", "b")
    }
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(**team)
        .with_manager(lambda view: SupervisorDecision(next_agent=None, tasks=plan))
        .build(checkpointer=InMemorySaver())
    )
    assert len((await called(workflow, way))["__interrupt__"]) == 2


@WAYS
async def test_other_ways_to_collect_are_left_to_langgraph(way: str) -> None:
    def fresh() -> Any:
        return star(Turns(), ["ann"]).build(checkpointer=InMemorySaver())

    updates = await called(fresh(), way, stream_mode="updates")
    assert [*updates[0]] == ["begin"]
    assert isinstance(await called(fresh(), way, version="v2"), GraphOutput)
    assert [*await called(fresh(), way, output_keys=["status"])] == ["status"]


def test_a_question_comes_also_where_there_is_no_state_yet() -> None:
    question = Interrupt("Where?")
    found: Any = GraphOutput(value=None, interrupts=(question,))
    assert collect_output(found, {}) == {"__interrupt__": [question]}
    assert collect_output(found, {"version": "v2"}) is found
    assert invoke_options({"durability": "exit"}) == {"durability": "exit", "version": "v2"}
