"""A turn asked for is a turn run, whatever stopped and resumed the run.

Each test stops a run after the second turn of a participant was scheduled and before it
began. Left alone, the engine then takes the finished first turn for the one to resume and
delivers its old report (langchain-ai/langgraph#3206).
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphDrained, GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command, interrupt

from asterism import (
    Participant,
    SupervisorDecision,
    SupervisorView,
    SupervisorWorkflowBuilder,
)
from asterism.core.continuation import is_unfinished, proceed
from asterism.core.run_types import WorkflowInput
from asterism.core.sync_async import Steps
from asterism.nodes import participant as visits_module
from asterism.nodes import report as reports
from asterism.nodes.participant import Visit
from asterism.nodes.policies import AttemptContext
from asterism.storage.open import open_checkpointer
from tests.teams import Turns, follow, said, star

STRIDE = 1 if "ASTERISM_KILLS" in os.environ else 5
"""How many writes lie between two kills; `make torture` kills at each of them."""
TWICE = ["venue", "venue"]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
Saver = BaseCheckpointSaver[str]


def test_second_turn_runs_after_interrupt_before(saver: Saver, thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, TWICE).build(checkpointer=saver)
    workflow.invoke(REQUEST, thread, interrupt_before=["venue"])
    workflow.invoke(None, thread, interrupt_before=["venue"])
    result = workflow.invoke(None, thread)
    assert said(result) == ["venue 1", "venue 2"]
    assert turns.taken == {"venue": 2}


async def test_second_turn_runs_after_interrupt_before_async(thread: RunnableConfig) -> None:
    turns = Turns()
    workflow = star(turns, TWICE).build(checkpointer=InMemorySaver())
    await workflow.ainvoke(REQUEST, thread, interrupt_before=["venue"])
    await workflow.ainvoke(None, thread, interrupt_before=["venue"])
    assert said(await workflow.ainvoke(None, thread)) == ["venue 1", "venue 2"]


def test_second_turn_runs_after_a_drain(saver: Saver, thread: RunnableConfig) -> None:
    turns = Turns()
    control = RunControl()

    def drain_at_second(view: SupervisorView) -> SupervisorDecision:
        if view.iterations == 1:
            control.request_drain("test")
        return follow(TWICE)(view)

    workflow = star(turns, TWICE).with_manager(drain_at_second).build(checkpointer=saver)
    with pytest.raises(GraphDrained):
        workflow.invoke(REQUEST, thread, control=control)
    assert workflow.get_state(thread).next == ("venue",)
    assert said(proceed(workflow, thread)) == ["venue 1", "venue 2"]


@pytest.fixture
def before_second_turn(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Runs something in the adapter before a participant's second turn, the first time."""

    def install(happens: Callable[[], None]) -> None:
        real = Visit.run_turn
        visits: list[str] = []

        def run_turn(visit: Visit, context: AttemptContext) -> Steps[Any]:
            visits.append(visit.request["id"])
            if len(set(visits)) == 2:
                happens()
            return (yield from real(visit, context))

        monkeypatch.setattr(Visit, "run_turn", run_turn)

    return install


def test_second_turn_runs_after_an_interrupt_in_the_adapter(
    saver: Saver,
    thread: RunnableConfig,
    before_second_turn: Callable[[Callable[[], None]], None],
) -> None:
    turns = Turns()
    workflow = star(turns, TWICE).build(checkpointer=saver)
    before_second_turn(lambda: interrupt("may it go on?"))
    assert workflow.invoke(REQUEST, thread)["status"] == "waiting"
    result = workflow.invoke(Command(resume="yes"), thread)
    assert said(result) == ["venue 1", "venue 2"]
    assert turns.taken == {"venue": 2}


def test_second_turn_runs_after_the_adapter_failed(
    saver: Saver,
    thread: RunnableConfig,
    before_second_turn: Callable[[Callable[[], None]], None],
) -> None:
    turns = Turns()
    workflow = star(turns, TWICE).build(checkpointer=saver)
    failures = iter([KeyboardInterrupt()])

    def fail_once() -> None:
        for failure in failures:
            raise failure

    before_second_turn(fail_once)
    with pytest.raises(KeyboardInterrupt):
        workflow.invoke(REQUEST, thread)
    assert said(proceed(workflow, thread)) == ["venue 1", "venue 2"]
    assert turns.taken == {"venue": 2}


@pytest.mark.parametrize("limit", range(1, 14))
def test_no_turn_is_skipped_at_the_recursion_limit(
    saver: Saver, thread: RunnableConfig, limit: int
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"] * 4).build(checkpointer=saver)
    try:
        result: Any = workflow.invoke(REQUEST, {**thread, "recursion_limit": limit})
    except GraphRecursionError:  # below four steps not even a first decision fits
        assert limit < 4
        snapshot = workflow.get_state(thread)
        result = proceed(workflow, thread) if is_unfinished(snapshot) else snapshot.values
    taken = turns.taken.get("venue", 0)
    assert said(result) == [f"venue {turn}" for turn in range(1, taken + 1)]
    assert result["status"] == ("completed" if taken == 4 else "limit")


def test_a_finished_turn_is_not_run_again_when_its_report_was_not_stored(
    saver: Saver, thread: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = Turns()
    workflow = star(turns, TWICE).build(checkpointer=saver)
    real = reports.report_from_state
    failures = iter([KeyboardInterrupt()])

    def report(visit: Any, values: Any) -> Any:
        if turns.taken == {"venue": 2}:
            for failure in failures:
                raise failure
        return real(visit, values)

    monkeypatch.setattr(visits_module, "report_from_state", report)
    with pytest.raises(KeyboardInterrupt):
        workflow.invoke(REQUEST, thread)
    assert said(proceed(workflow, thread)) == ["venue 1", "venue 2"]
    assert turns.taken == {"venue": 2}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork and no SIGKILL")
def test_each_turn_runs_once_wherever_the_process_is_killed(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for deadly_write in range(1, 60, STRIDE):
        path = tmp_path / f"{deadly_write}.db"
        log = tmp_path / f"{deadly_write}.log"
        config: RunnableConfig = {"configurable": {"thread_id": "t"}}
        child = fork.Process(target=_killed_star, args=(path, config, log, deadly_write))
        child.start()
        child.join(60)
        if child.exitcode == 0:
            assert deadly_write > 10
            return
        assert child.exitcode == -signal.SIGKILL
        with open_checkpointer(f"sqlite:///{path}") as saver:
            workflow = _visits(log).build(checkpointer=saver)
            if not workflow.get_state(config).values:  # killed before the request was stored
                result: Any = workflow.invoke(REQUEST, config)
            elif workflow.get_state(config).values.get("status") == "completed":
                result = workflow.get_state(config).values
            else:
                result = proceed(workflow, config)
            inside: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": "venue"}}
            memory = workflow.get_state(inside).values["messages"]
        assert said(result) == ["venue 1", "venue 2", "venue 3"], deadly_write
        assert [m.type for m in memory] == ["human", "ai"] * 3, deadly_write
        turns = log.read_text().split()
        assert len(set(turns)) == 3, (deadly_write, turns)
        assert len(turns) <= 4, (deadly_write, turns)  # only the turn in flight may run twice
    raise AssertionError("the run never came to its end")


def _killed_star(path: Path, config: RunnableConfig, log: Path, deadly_write: int) -> None:
    with open_checkpointer(f"sqlite:///{path}") as saver:
        writes = 0

        def deadly(method: Callable[..., Any]) -> Callable[..., Any]:
            def write(*args: Any, **kwargs: Any) -> Any:
                nonlocal writes
                result = method(*args, **kwargs)
                writes += 1
                if writes == deadly_write:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            return write

        saver.put = deadly(saver.put)  # type: ignore[method-assign]  # a fault injected
        saver.put_writes = deadly(saver.put_writes)  # type: ignore[method-assign]  # the same
        _visits(log).build(checkpointer=saver).invoke(REQUEST, config)
    os._exit(0)


def _visits(log: Path) -> SupervisorWorkflowBuilder:
    """A star that visits one participant three times; each turn writes a line to a log."""

    def answer(messages: list[Any]) -> str:
        with log.open("a") as file:
            file.write(f"{messages[-1].id}\n")
        return f"venue {sum(message.type == 'human' for message in messages)}"

    return (
        SupervisorWorkflowBuilder("Killed", finish="forward")
        .participants(venue=Participant(runs=answer, description="Answers."))
        .with_manager(follow(["venue"] * 3))
    )


def test_canary_the_engine_still_delivers_the_old_report(thread: RunnableConfig) -> None:
    """When this fails, LangGraph has mended #3206: look whether nodes/engine_keys.py can go."""

    turns = iter(range(1, 9))
    inner = StateGraph(MessagesState)
    inner.add_node("answer", lambda state: {"messages": [AIMessage(f"answer {next(turns)}")]})
    inner.add_edge(START, "answer")
    inner.add_edge("answer", END)
    venue = inner.compile(checkpointer=True)

    class Outer(MessagesState):
        visits: int

    def supervisor(state: Outer) -> Command[Any]:
        visits = state.get("visits", 0)
        return Command(goto="venue" if visits < 2 else END, update={"visits": visits + 1})

    def visit(state: Outer) -> dict[str, Any]:
        result = venue.invoke({"messages": [HumanMessage("go")]})
        return {"messages": [AIMessage(result["messages"][-1].content)]}

    outer: StateGraph[Outer, None, Any, Any] = StateGraph(Outer)
    outer.add_node("supervisor", supervisor, destinations=("venue", END))
    outer.add_node("venue", visit)
    outer.add_edge(START, "supervisor")
    outer.add_edge("venue", "supervisor")
    graph = outer.compile(checkpointer=InMemorySaver())
    graph.invoke(REQUEST, thread, interrupt_before=["venue"])
    graph.invoke(None, thread, interrupt_before=["venue"])
    result = graph.invoke(None, thread)
    answers = [m.content for m in result["messages"] if m.type == "ai"]
    assert answers == ["answer 1", "answer 1"]
