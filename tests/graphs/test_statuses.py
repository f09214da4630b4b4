"""Statuses: a run says how it stands, wherever it is read."""

import asyncio
import sys
import uuid
from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from asterism import (
    AskPerson,
    Compensation,
    Delegate,
    Participant,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    abatch_process,
    batch_process,
    pending_requests,
    proceed,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import ChildFailedError, NothingPendingError, UnknownRequestError
from asterism.supervision import AgentSupervisor, ChildStatus, SupervisorConfig
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.plans import drive, task
from tests.teams import Turns, follow, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}


def broken(messages: Any) -> str:
    """Breaks."""
    raise RuntimeError("the price service is down")


def team(strategy: str, saver: Any = None, **members: Any) -> Any:
    builder = SupervisorWorkflowBuilder("Shop", finish="forward", description="A shop.")
    builder.participants(**members)
    if strategy == "manager":
        builder.with_manager(follow(list(members)))
    else:
        builder.with_strategy(strategy)  # type: ignore[arg-type]  # one of the names
    return builder.build(checkpointer=saver)


STRATEGIES = ["sequential", "parallel", "hierarchical", "consensus", "manager"]


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("count", [1, 2])
async def test_a_run_in_which_everybody_failed_has_failed(
    way: str, strategy: str, count: int
) -> None:
    members = {f"p{number}": broken for number in range(count)}
    result = await drive(team(strategy, **members), way, REQUEST, None)
    assert result["status"] == "failed"
    assert "the price service is down" in result["reason"]


@pytest.mark.parametrize("strategy", ["sequential", "parallel", "manager"])
async def test_a_team_that_failed_is_a_participant_that_failed(strategy: str) -> None:
    outer = team("manager", inner=team(strategy, broken=broken))
    result = await outer.ainvoke(REQUEST)
    assert [report["status"] for report in result["reports"]] == ["failed"]
    assert result["status"] == "failed"


@pytest.mark.parametrize("strategy", ["parallel", "manager"])
def test_a_run_in_which_some_failed_says_who(strategy: str) -> None:
    fine = Turns().participant("fine")
    result = team(strategy, fine=fine, broken=broken).invoke(REQUEST)
    assert result["status"] == "completed"
    assert "not all could do their part: broken: RuntimeError" in result["reason"]


@pytest.mark.parametrize("strategy", ["sequential", "parallel", "hierarchical"])
async def test_a_task_of_a_batch_in_which_everybody_failed_is_tried_again(strategy: str) -> None:
    down = [True]

    def flaky(messages: Any) -> str:
        """Breaks, and works again."""
        return broken(messages) if down[0] else "42"

    built = team(strategy, InMemorySaver(), flaky=flaky)
    [outcome] = batch_process(built, ["Plan it"], batch_id="1")
    assert (outcome.status, outcome.reused) == ("failed", False)
    assert "the price service is down" in str(outcome.error)
    down.clear()
    down.append(False)
    [outcome] = await abatch_process(built, ["Plan it"], batch_id="1")
    assert (outcome.status, outcome.error) == ("completed", None)
    assert outcome.values["messages"][-1].text == "42"


async def test_a_child_in_whose_run_everybody_failed_is_tried_again_and_fails() -> None:
    calls: list[Any] = []

    def noted(messages: Any) -> str:
        """Breaks."""
        calls.append(messages)
        return broken(messages)

    config = SupervisorConfig(max_restarts=1, cooldown_period=0)
    supervisor = AgentSupervisor(config)
    built = team("parallel", InMemorySaver(), noted=noted)
    child = await supervisor.spawn("shop", REQUEST, built)
    with pytest.raises(ChildFailedError, match="the price service is down"):
        await supervisor.await_child(child)
    assert supervisor.child(child).status == ChildStatus.FAILED
    await supervisor.shutdown()
    assert len(calls) == 2


def test_words_about_a_failure_make_no_success() -> None:
    model = ScriptedChatModel(script=[{"next_agent": "broken"}, {"next_agent": None}, "Sorry."])
    builder = SupervisorWorkflowBuilder("Shop", model=model)
    builder.participants(broken=Participant(runs=broken, description="Breaks."))
    result = builder.build().invoke(REQUEST)
    assert (result["status"], result["messages"][-1].text) == ("failed", "Sorry.")


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("routed", [True, False], ids=["visit", "plan"])
async def test_a_breakpoint_inside_a_participant_waits(
    way: str, routed: bool, saver: Any, thread: Any
) -> None:
    done: list[str] = []

    def node(name: str) -> Any:
        def work(state: MessagesState) -> Any:
            done.append(name)
            return {"messages": [("ai", name)]}

        return work

    graph = StateGraph(MessagesState)
    graph.add_sequence([("look", node("look")), ("pay", node("pay"))])
    graph.add_edge(START, "look")
    bank = Participant(runs=graph.compile(interrupt_before=["pay"]), description="Pays.")
    workflow = team("manager" if routed else "parallel", saver, bank=bank)
    assert (await drive(workflow, way, REQUEST, thread))["status"] == "waiting"
    assert workflow.get_state(thread).values["status"] == "waiting"
    [request] = pending_requests(workflow, thread)
    assert (request.participant, request.request_type) == ("bank", "breakpoint")
    result = await drive(workflow, way, None, thread)
    assert (result["status"], done) == ("completed", ["look", "pay"])
    await drive(workflow, way, REQUEST, thread)
    assert resume(workflow, thread, "yes")["status"] == "completed"
    assert done == ["look", "pay"] * 2


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]], ids=len)
@pytest.mark.parametrize("planned", [False, True], ids=["visits", "plans"])
async def test_a_round_that_brings_nothing_new_is_a_stall(names: list[str], planned: bool) -> None:
    def decide(view: Any) -> SupervisorDecision:
        name = names[view.iterations % len(names)]
        if planned:
            return SupervisorDecision(next_agent=None, tasks=[task("t", name)])
        return SupervisorDecision(next_agent=name, instruction="Again")

    builder = SupervisorWorkflowBuilder("Test", finish="forward")
    builder.participants(**dict.fromkeys(names, said))
    result = await builder.with_manager(decide).build().ainvoke(REQUEST)
    assert result["status"] == "stalled"
    assert len(result["reports"]) <= 3 * len(names) + 1


def said(messages: Any) -> str:
    """Says the same."""
    return "the same"


def test_a_round_that_brings_something_new_goes_on() -> None:
    turns = Turns()
    builder = star(turns, ["a"] * 12)
    builder.participants(check=said)
    route: list[str | None] = ["a", "check"] * 6
    result = builder.with_manager(
        lambda view: SupervisorDecision(
            next_agent=route[view.iterations] if view.iterations < 12 else None, instruction="Go"
        )
    )
    assert result.build().invoke(REQUEST)["status"] == "completed"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (Command(resume="late"), NothingPendingError),
        (Command(resume={"0" * 32: "late"}), NothingPendingError),
    ],
    ids=["a value", "an id"],
)
@pytest.mark.parametrize("finished", [False, True], ids=["unknown", "finished"])
async def test_an_answer_that_nobody_waits_for_is_refused(
    finished: bool, command: Any, error: type[Exception], saver: Any, thread: Any
) -> None:
    turns = Turns()
    workflow = star(turns, ["a"]).build(checkpointer=saver)
    if finished:
        workflow.invoke(REQUEST, thread)
    before = workflow.get_state(thread)
    with pytest.raises(error):
        workflow.invoke(command, thread)
    with pytest.raises(error):
        await workflow.ainvoke(command, thread)
    with pytest.raises(error):
        list(workflow.stream(command, thread))
    with pytest.raises(error):
        [part async for part in workflow.astream(command, thread)]
    with pytest.raises(error):
        workflow.batch([command], [thread])
    assert workflow.get_state(thread) == before


@pytest.mark.parametrize("raw", [False, True], ids=["resume", "Command"])
def test_a_mapping_by_other_ids_is_an_answer_and_one_by_old_ids_is_not(
    raw: bool, saver: Any, thread: Any
) -> None:
    documents = {uuid.uuid4().hex: True}

    def review(messages: Any) -> str:
        """Reviews."""
        return f"{interrupt({'prompt': 'Which?'})}"

    workflow = star(Turns(), ["review", "review"])
    workflow.participants(check=review)
    built = workflow.with_manager(follow(["check", "check"])).build(checkpointer=saver)

    def give(answer: Any) -> Any:
        if raw:
            return built.invoke(Command(resume=answer), thread)
        return resume(built, thread, answer)

    built.invoke(REQUEST, thread)
    [first] = pending_requests(built, thread)
    assert give({first.id: documents})["reports"][0]["text"] == str(documents)
    with pytest.raises(UnknownRequestError):
        give({first.id: documents})
    assert give(documents)["reports"][1]["text"] == str(documents)


@pytest.mark.parametrize("action", [Delegate, AskPerson])
def test_an_action_that_is_made_of_a_function_is_refused(action: Any) -> None:
    with pytest.raises(ValueError, match="it takes a text"):
        Compensation({"agent_failed": action(lambda: "x")})


@pytest.mark.parametrize("planned", [False, True], ids=["visit", "plan"])
async def test_a_run_that_was_cancelled_reads_cancelled_until_it_goes_on(
    planned: bool, saver: Any, thread: Any
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(messages: Any) -> str:
        """Takes its time."""
        begun.set()
        await go.wait()
        return "done"

    workflow = team("parallel" if planned else "manager", saver, slow=slow)
    running = asyncio.create_task(workflow.ainvoke(REQUEST, thread))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await workflow.aget_state(thread)).values["status"] == "cancelled"
    assert workflow.get_state(thread, subgraphs=True).values["status"] == "cancelled"
    go.set()
    result = await workflow.ainvoke(None, thread)
    assert (result["status"], result["messages"][-1].text) == ("completed", "done")
    assert workflow.get_state(thread).values["status"] == "completed"


def test_a_stream_that_is_left_reads_cancelled(saver: Any, thread: Any) -> None:
    workflow = star(Turns(), ["a", "a"]).build(checkpointer=saver)
    parts: Any = workflow.stream(REQUEST, thread)
    next(parts)
    parts.close()
    assert workflow.get_state(thread).values["status"] == "cancelled"
    assert workflow.invoke(None, thread)["status"] == "completed"


def test_a_key_that_interrupts_a_run_leaves_it_cancelled_and_it_goes_on(
    saver: Any, thread: Any
) -> None:
    pressed = [True]

    def slow(messages: Any) -> str:
        """Is interrupted once."""
        if pressed:
            pressed.clear()
            raise KeyboardInterrupt
        return "done"

    workflow = team("manager", saver, slow=slow)
    with pytest.raises(KeyboardInterrupt):
        workflow.invoke(REQUEST, thread)
    assert workflow.get_state(thread).values["status"] == "cancelled"
    assert proceed(workflow, thread)["status"] == "completed"


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("planned", [False, True], ids=["visit", "plan"])
async def test_a_participant_cannot_end_the_process(way: str, planned: bool) -> None:
    def leaves(messages: Any) -> str:
        """Leaves."""
        sys.exit(3)

    async def leaves_too(messages: Any) -> str:
        """Leaves."""
        sys.exit(4)

    built = team("parallel" if planned else "manager", a=leaves, b=leaves_too)
    result = await drive(built, way, REQUEST, None)
    assert result["status"] == "failed"
    assert sorted(str(report.get("error")) for report in result["reports"]) == [
        "RuntimeError: it wanted to end the process (SystemExit: 3)",
        "RuntimeError: it wanted to end the process (SystemExit: 4)",
    ]


def test_a_tool_cannot_end_the_process(thread: Any) -> None:
    def leave(word: str) -> str:
        """Leave."""
        raise SystemExit(word)

    model = ScriptedChatModel(script=[ScriptedReply(tool_calls=[("leave", {"word": "bye"})])] * 3)
    clerk = Participant(runs=create_agent(model, [leave]), description="Leaves.")
    workflow = team("manager", InMemorySaver(), clerk=clerk)
    [report] = workflow.invoke(REQUEST, thread)["reports"]
    assert "SystemExit: bye" in report["error"]
    assert not workflow.get_state(thread).next


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_an_async_tool_cannot_end_the_process(way: str) -> None:
    async def leave(word: str) -> str:
        """Leave."""
        raise SystemExit(word)

    model = ScriptedChatModel(script=[ScriptedReply(tool_calls=[("leave", {"word": "bye"})])])
    clerk = Participant(model=model, prompt="Work.", tools=[leave], description="Leaves.")
    result = await drive(team("manager", clerk=clerk), way, REQUEST, None)
    assert "SystemExit: bye" in result["reports"][0]["error"]
    assert result["status"] == "failed"
