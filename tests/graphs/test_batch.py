"""Many requests to one graph: a bounded number at once, in order, each with its outcome."""

import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from asterism import Participant, SupervisorDecision, SupervisorView, SupervisorWorkflowBuilder
from asterism.core.interrupts import pending_requests, resume
from asterism.errors import ConfigurationError, ThreadBusyError
from asterism.programs.batch import BatchOutcome, BatchProgress, abatch_process, batch_process
from asterism.programs.batch.item import digest_of
from tests.teams import Turns, follow, said, star

Saver = BaseCheckpointSaver[str]
Process = Callable[..., Awaitable[list[BatchOutcome]]]
MANY = 200 if "ASTERISM_EXAMPLES" in os.environ else 24


@pytest.fixture(params=["sync", "async"])
def process(request: pytest.FixtureRequest) -> Process:
    """Processes a batch in either world."""

    async def call(*args: Any, **kwargs: Any) -> list[BatchOutcome]:
        if request.param == "sync":
            return batch_process(*args, **kwargs)
        return await abatch_process(*args, **kwargs)

    return call


def tasks(count: int) -> list[str]:
    return [f"task {index}" for index in range(count)]


def working(work: Callable[[str], str], saver: Any, route: Any = ("p",), **options: Any) -> Any:
    """A workflow whose participant does `work` with the first line of what it is sent."""

    def answer(messages: list[Any]) -> str:
        return work(messages[-1].text.splitlines()[0])

    builder = SupervisorWorkflowBuilder("Batch", finish="forward", **options)
    builder.participants(p=Participant(runs=answer, description="Works."))
    return builder.with_manager(follow(route)).build(checkpointer=saver)


def told(outcomes: list[BatchOutcome]) -> list[tuple[str, bool]]:
    return [(outcome.status, outcome.reused) for outcome in outcomes]


async def test_many_tasks_run_four_at_a_time_in_order(process: Process, saver: Saver) -> None:
    together = threading.Barrier(4, timeout=60)  # passed only where four are at work at once
    guard, inside, worst = threading.Lock(), [0], [0]

    def work(request: str) -> str:
        with guard:
            inside[0] += 1
            worst[0] = max(worst[0], inside[0])
        together.wait()
        with guard:
            inside[0] -= 1
        return f"did {request}"

    seen: list[BatchProgress] = []
    options = {"batch_id": "b", "max_concurrent": 4, "on_progress": seen.append}
    outcomes = await process(working(work, saver), tasks(MANY), **options)
    assert worst == [4]
    assert [outcome.index for outcome in outcomes] == list(range(MANY))
    assert [outcome.thread_id for outcome in outcomes] == [f"b/{index}" for index in range(MANY)]
    assert [said(o.values) for o in outcomes] == [[f"did {request}"] for request in tasks(MANY)]
    assert told(outcomes) == [("completed", False)] * MANY
    assert [(p.done, p.total) for p in seen] == [(done, MANY) for done in range(1, MANY + 1)]
    assert sorted((p.outcome for p in seen), key=lambda o: o.index) == outcomes


async def test_what_is_finished_is_not_run_again_and_more_may_follow(
    process: Process, saver: Saver
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=saver)
    first = await process(workflow, tasks(3), batch_id="b")
    again = await process(workflow, tasks(5), batch_id="b")
    assert told(again) == [("completed", True)] * 3 + [("completed", False)] * 2
    assert [o.values for o in again[:3]] == [o.values for o in first]
    assert turns.taken == {"venue": 5}
    other = await process(workflow, tasks(2), batch_id="c")
    assert told(other) == [("completed", False)] * 2


async def test_what_a_task_raises_is_its_outcome_and_it_goes_on_when_mended(
    process: Process, saver: Saver
) -> None:
    turns, broken = Turns(), [True]

    def decide(view: SupervisorView) -> SupervisorDecision:
        if broken[0] and view.iterations == 1 and view.messages[0].text == "task 1":
            raise OSError("no line, api_key=sk-verysecret")
        return follow(["venue", "venue"])(view)

    workflow = star(turns, ["venue"]).with_manager(decide).build(checkpointer=saver)
    outcomes = await process(workflow, tasks(3), batch_id="b")
    assert told(outcomes) == [("completed", False), ("failed", False), ("completed", False)]
    assert outcomes[1].error is not None
    assert "OSError: no line" in outcomes[1].error and "secret" not in outcomes[1].error
    assert outcomes[1].values is None
    broken[0] = False
    again = await process(workflow, tasks(3), batch_id="b")
    assert told(again) == [("completed", True), ("completed", False), ("completed", True)]
    assert turns.taken == {"venue": 6}, "the visit before the failure was not made again"


async def test_a_task_that_waits_for_a_person_waits_until_it_is_answered(
    process: Process, saver: Saver
) -> None:
    asked: list[str] = []

    def work(request: str) -> str:
        if request == "task 1":
            asked.append(request)
            return f"said {interrupt({'prompt': 'Which?'})}"
        return "done"

    workflow = working(work, saver)
    expected = [("completed", False), ("waiting", False), ("completed", False)]
    assert told(await process(workflow, tasks(3), batch_id="b")) == expected
    again = await process(workflow, tasks(3), batch_id="b")
    assert told(again) == [("completed", True), ("waiting", True), ("completed", True)]
    assert len(asked) == 1, "nothing ran"
    thread: RunnableConfig = {"configurable": {"thread_id": again[1].thread_id}}
    assert [request.prompt for request in pending_requests(workflow, thread)] == ["Which?"]
    resume(workflow, thread, "this")  # a config that knows nothing of the batch
    last = await process(workflow, tasks(3), batch_id="b")
    assert told(last) == [("completed", True)] * 3
    assert said(last[1].values) == ["said this"]


async def test_a_run_that_was_cut_short_goes_on(process: Process, saver: Saver) -> None:
    turns = Turns()
    short = star(turns, ["venue"] * 3, max_iterations=2).build(checkpointer=saver)
    assert told(await process(short, tasks(2), batch_id="b")) == [("limit", False)] * 2
    longer = star(turns, ["venue"] * 3, max_iterations=9).build(checkpointer=saver)
    again = await process(longer, tasks(2), batch_id="b")
    assert told(again) == [("completed", False)] * 2
    assert [len(said(outcome.values)) for outcome in again] == [3, 3]
    assert turns.taken == {"venue": 6}


async def test_other_tasks_under_the_same_id_fail_and_change_nothing(
    process: Process, saver: Saver
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=saver)
    await process(workflow, tasks(3), batch_id="b")
    before = workflow.get_state({"configurable": {"thread_id": "b/1"}})
    given: list[Any] = ["task 0", "another", {"messages": [HumanMessage("task 2", id="x")]}]
    outcomes = await process(workflow, given, batch_id="b")
    assert told(outcomes) == [("completed", True), ("failed", False), ("completed", True)]
    assert outcomes[1].error == (
        "InvalidRequestError: The thread 'b/1' was not begun with the task 1 that batch 'b' is "
        "given now. Give the tasks that the batch was begun with, in the same order, or choose "
        "another batch_id."
    )
    assert workflow.get_state({"configurable": {"thread_id": "b/1"}}) == before
    assert turns.taken == {"venue": 3}


async def test_a_thread_that_no_batch_began_is_left_alone(process: Process) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=InMemorySaver())
    workflow.invoke({"messages": [("user", "task 0")]}, {"configurable": {"thread_id": "b/0"}})
    (outcome,) = await process(workflow, tasks(1), batch_id="b")
    assert (outcome.status, outcome.reused) == ("failed", False)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        pytest.param("", "The task is ''. Allowed: a text that says something", id="empty"),
        pytest.param(7, "The task is 7.", id="number"),
        pytest.param(None, "The task is None.", id="nothing"),
        pytest.param({}, "has no messages", id="no messages"),
        pytest.param({"messages": [("user", " ")]}, "that says anything", id="blank"),
    ],
)
async def test_a_task_that_is_none_fails_alone(process: Process, task: Any, words: str) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=InMemorySaver())
    outcomes = await process(workflow, ["task 0", task], batch_id="b")
    assert told(outcomes) == [("completed", False), ("failed", False)]
    assert outcomes[1].error is not None and words in outcomes[1].error


async def test_a_group_starts_when_the_one_before_is_over(process: Process, saver: Saver) -> None:
    begun: list[int] = []
    ended: list[int] = []

    def work(request: str) -> str:
        group = int(request.split()[1]) // 3
        assert len(ended) >= 3 * group, f"{request} began when {len(ended)} had ended"
        begun.append(group)
        ended.append(group)
        return "done"

    options = {"batch_id": "b", "batch_size": 3, "max_concurrent": 50}
    outcomes = await process(working(work, saver), tasks(8), **options)
    assert [said(outcome.values) for outcome in outcomes] == [["done"]] * 8
    assert begun == sorted(begun)


async def test_no_tasks_are_no_outcomes(process: Process, saver: Saver) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
    assert await process(workflow, [], batch_id="b") == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"batch_id": ""}, "batch_id is ''. Allowed: 1 to 200 printable characters"),
        ({"batch_id": "x" * 201}, "1 to 200 printable"),
        ({"batch_id": "a\nb"}, r"batch_id is 'a\\nb'"),
        ({"max_concurrent": 0}, "max_concurrent is 0; it must be a whole number of at least 1"),
        ({"max_concurrent": True}, "max_concurrent is True"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"tasks": "one task"}, "tasks is 'one task'. Allowed: a sequence"),
        ({"tasks": 3}, "tasks is 3"),
        ({"config": {"configurable": {"thread_id": "t"}}}, "config holds 'thread_id'"),
        ({"config": {"run_id": "r"}}, "config holds 'run_id'"),
        ({"graph": "event_planning"}, "graph is 'event_planning'. Allowed: a compiled"),
    ],
)
async def test_a_wrong_argument_is_refused_before_anything_runs(
    process: Process, wrong: dict[str, Any], words: str
) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=InMemorySaver())
    given: dict[str, Any] = {"graph": workflow, "tasks": tasks(2), "batch_id": "b", **wrong}
    with pytest.raises(ConfigurationError, match=words):
        await process(given.pop("graph"), given.pop("tasks"), **given)
    assert turns.taken == {}


async def test_a_graph_without_a_checkpointer_is_refused(process: Process) -> None:
    workflow = star(Turns(), ["venue"]).build()
    with pytest.raises(ConfigurationError, match=r"no checkpointer.*open_checkpointer"):
        await process(workflow, tasks(1), batch_id="b")


class Count(TypedDict):
    number: int
    double: int
    trail: str


class Doubled(TypedDict):
    double: int


def doubling(saver: Any, **options: Any) -> Any:
    """A graph that is no workflow: it doubles a number, and asks when it is 13."""

    def double(state: Count) -> dict[str, Any]:
        if state["number"] == 13:
            interrupt("really?")
        return {"double": 2 * state["number"], "trail": "private"}

    graph: StateGraph[Count, None, Any, Any] = StateGraph(Count, output_schema=Doubled)
    graph.add_node("double", double)
    graph.add_edge(START, "double")
    graph.add_edge("double", END)
    return graph.compile(checkpointer=saver, **options)


async def test_any_graph_will_do(process: Process, saver: Saver) -> None:
    given = [{"number": number} for number in (1, 13, 3)]
    outcomes = await process(doubling(saver), given, batch_id="b")
    assert told(outcomes) == [("completed", False), ("waiting", False), ("completed", False)]
    assert [outcome.values for outcome in outcomes] == [{"double": 2}, {}, {"double": 6}]
    again = await process(doubling(saver), given, batch_id="b")
    assert told(again) == [("completed", True), ("waiting", True), ("completed", True)]
    swapped = await process(doubling(saver), [{"number": 3}], batch_id="b")
    assert told(swapped) == [("failed", False)]


async def test_a_run_at_a_breakpoint_is_not_called_complete(process: Process) -> None:
    saver = InMemorySaver()
    stopped = doubling(saver, interrupt_before=["double"])
    assert told(await process(stopped, [{"number": 1}], batch_id="b")) == [("running", False)]
    (outcome,) = await process(doubling(saver), [{"number": 1}], batch_id="b")
    assert (outcome.status, outcome.values) == ("completed", {"double": 2})


async def test_a_status_of_another_graph_is_its_own(process: Process) -> None:
    class Ticket(TypedDict):
        status: str
        iterations: int

    graph: StateGraph[Ticket, None, Any, Any] = StateGraph(Ticket)
    graph.add_node("close", lambda state: {"status": "failed"})
    graph.add_edge(START, "close")
    workflow = graph.compile(checkpointer=InMemorySaver())
    for reused in (False, True):
        outcomes = await process(workflow, [{"status": "open", "iterations": 1}], batch_id="b")
        assert told(outcomes) == [("failed", reused)]
        assert outcomes[0].error is None


def stop_at(count: int, stop: Callable[[], None]) -> Callable[[BatchProgress], None]:
    def look(progress: BatchProgress) -> None:
        if progress.done == count:
            stop()

    return look


async def test_what_on_progress_raises_stops_the_batch(process: Process, saver: Saver) -> None:
    turns = Turns()
    workflow = star(turns, ["venue"]).build(checkpointer=saver)

    def stop() -> None:
        raise ZeroDivisionError("a fault of the caller")

    options = {"batch_id": "b", "max_concurrent": 1}
    with pytest.raises(ZeroDivisionError):
        await process(workflow, tasks(9), on_progress=stop_at(2, stop), **options)
    assert turns.taken == {"venue": 2}
    assert told(await process(workflow, tasks(9), **options))[:3] == [
        *[("completed", True)] * 2,
        ("completed", False),
    ]


async def test_one_caller_processes_a_batch(saver: Saver) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)

    def look(progress: BatchProgress) -> None:
        with pytest.raises(ThreadBusyError, match="The batch 'b' is being processed"):
            batch_process(workflow, tasks(1), batch_id="b")
        assert told(batch_process(workflow, tasks(1), batch_id="c"))[0][0] == "completed"

    outcomes = await abatch_process(workflow, tasks(2), batch_id="b", on_progress=look)
    assert told(outcomes) == [("completed", False)] * 2
    assert told(batch_process(workflow, tasks(2), batch_id="b")) == [("completed", True)] * 2


async def test_a_batch_in_a_node_of_another_graph_has_runs_of_its_own(saver: Saver) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
    results: list[tuple[str, bool]] = []

    class Outer(TypedDict):
        kind: Literal["sync", "async"]

    async def many(state: Outer) -> dict[str, Any]:
        if state["kind"] == "sync":
            results.extend(told(batch_process(workflow, tasks(2), batch_id="b")))
        else:
            results.extend(told(await abatch_process(workflow, tasks(3), batch_id="b")))
        return {}

    outer: StateGraph[Outer, None, Any, Any] = StateGraph(Outer)
    outer.add_node("many", many)
    outer.add_edge(START, "many")
    graph = outer.compile(checkpointer=saver)
    for kind in ("sync", "async"):
        await graph.ainvoke({"kind": kind}, {"configurable": {"thread_id": kind}})
    assert results == [("completed", False)] * 2 + [("completed", True)] * 2 + [
        ("completed", False)
    ]
    assert workflow.get_state({"configurable": {"thread_id": "b/0"}}).values["status"]


async def test_what_the_config_holds_reaches_each_run(process: Process, saver: Saver) -> None:
    workflow = star(Turns(), ["venue"]).build(checkpointer=saver)
    config: RunnableConfig = {"metadata": {"customer": "ada"}, "recursion_limit": 50}
    await process(workflow, tasks(1), batch_id="b", config=config)
    found = workflow.get_state({"configurable": {"thread_id": "b/0"}})
    assert dict(found.metadata or {})["customer"] == "ada"
    assert config == {"metadata": {"customer": "ada"}, "recursion_limit": 50}


def test_what_a_request_is_called_does_not_change() -> None:
    """A batch that an older version began is recognised."""
    assert digest_of({"messages": [("user", "Plan it")]}) == "5a03cd5382e5f7259c7d4d2d0b1bc48a"
    assert digest_of({"number": 1, "when": None}) == digest_of({"when": None, "number": 1})
