"""Failures of participants: retries, time-outs, breakers, compensation, undoing."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import RetryPolicy, interrupt

from asterism import (
    AskPerson,
    CircuitBreaker,
    Compensation,
    Delegate,
    Participant,
    SupervisorWorkflowBuilder,
    Timeout,
    UndoAll,
    UseCached,
    pending_requests,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import WorkflowBuildError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.graphs.test_memory import is_valid
from tests.plans import drive, part, plan, task
from tests.teams import follow

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])
AT_ONCE = RetryPolicy(initial_interval=0, max_attempts=3, retry_on=Exception)


class Flaky:
    """Fails a number of times, then answers with the number of its calls."""

    def __init__(self, failures: int, error: Callable[[], BaseException] = ConnectionError) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self, messages: Any) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error()
        return f"call {self.calls}"


def team(decide: Any, saver: Any = None, policies: Any = (), **members: Any) -> Any:
    specs = {
        name: m if isinstance(m, Participant) else Participant(runs=m, description=name)
        for name, m in members.items()
    }
    return (
        SupervisorWorkflowBuilder("Test", finish="forward", policies=policies)
        .participants(**specs)
        .with_manager(decide)
        .build(checkpointer=saver)
    )


DECIDERS = {"visit": follow(["p"]), "task": plan(task("t", "p"))}
EITHER = pytest.mark.parametrize("decide", DECIDERS.values(), ids=DECIDERS)


@WAYS
@EITHER
async def test_a_passing_failure_is_tried_again(
    saver: Saver, thread: RunnableConfig, way: str, decide: Any
) -> None:
    flaky = Flaky(2)
    built = team(decide, saver, p=Participant(runs=flaky, description="p", policies=[AT_ONCE]))
    result = await drive(built, way, REQUEST, thread)
    [report] = result["reports"]
    assert (report["status"], report["text"], report["attempts"]) == ("ok", "call 3", 3)
    memory = built.get_state({"configurable": {**thread["configurable"], "checkpoint_ns": "p"}})
    assert [m.type for m in memory.values["messages"]] == ["human", "ai"]


@WAYS
@EITHER
async def test_retries_come_to_an_end(thread: RunnableConfig, way: str, decide: Any) -> None:
    flaky = Flaky(99)
    result = await drive(team(decide, policies=[AT_ONCE], p=flaky), way, REQUEST, None)
    [report] = result["reports"]
    assert (report["status"], report["kind"], report["attempts"]) == (
        "failed", "api_call_failed", 3,
    )  # fmt: skip
    assert flaky.calls == 3


def test_a_participants_policy_replaces_the_workflows_of_its_kind() -> None:
    flaky = Flaky(99)
    own = Participant(runs=flaky, description="p", policies=[RetryPolicy(max_attempts=1)])
    team(follow(["p"]), policies=[AT_ONCE], p=own).invoke(REQUEST)
    assert flaky.calls == 1


@WAYS
async def test_a_task_says_itself_how_often_it_is_tried(way: str) -> None:
    flaky = Flaky(99)
    decide = plan(task("t", "p", max_retries=4, retry_delay=0, retry_backoff=1))
    result = await drive(team(decide, p=flaky), way, REQUEST, None)
    assert (flaky.calls, result["reports"][0]["attempts"]) == (5, 5)


@WAYS
@EITHER
async def test_a_retry_goes_on_where_the_turn_failed(
    saver: Saver, thread: RunnableConfig, way: str, decide: Any
) -> None:
    """The first model call and the tool are done; only the call that failed is repeated."""
    acted: list[str] = []

    @tool
    def act() -> str:
        """Act."""
        acted.append("once")
        return "acted"

    model = ScriptedChatModel(
        script=[
            ScriptedReply(tool_calls=[("act", {})]),
            ScriptedReply(error=ConnectionError("away")),
            "done",
        ]
    )
    spec = Participant(model=model, tools=[act], prompt="Act.", policies=[AT_ONCE])
    built = team(decide, saver, p=spec)
    result = await drive(built, way, REQUEST, thread)
    assert result["reports"][0]["text"] == "done"
    assert acted == ["once"]
    model.assert_finished()
    memory = built.get_state({"configurable": {**thread["configurable"], "checkpoint_ns": "p"}})
    assert is_valid(memory.values["messages"])
    assert [m.type for m in memory.values["messages"]] == ["human", "ai", "tool", "ai"]


@WAYS
@EITHER
async def test_what_was_said_before_the_failure_is_kept(
    saver: Saver, thread: RunnableConfig, way: str, decide: Any
) -> None:
    @tool
    def act() -> str:
        """Act."""
        return "acted"

    model = ScriptedChatModel(
        script=[
            ScriptedReply(text="The hall is free.", tool_calls=[("act", {})]),
            ScriptedReply(error=ValueError("broken")),
        ]
    )
    spec = Participant(model=model, tools=[act], prompt="Act.")
    result = await drive(team(decide, saver, p=spec), way, REQUEST, thread)
    [report] = result["reports"]
    assert (report["status"], report["text"]) == ("failed", "The hall is free.")
    assert report["error"] == "ValueError: broken"


@EITHER
async def test_a_hung_async_call_is_cut_off(
    saver: Saver, thread: RunnableConfig, decide: Any
) -> None:
    cut: list[str] = []

    async def hang(messages: Any) -> str:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            cut.append("cut")
            raise
        return "late"

    built = team(decide, saver, policies=[Timeout(0.05)], p=hang)
    [report] = (await built.ainvoke(REQUEST, thread))["reports"]
    assert (report["status"], report["kind"], cut) == ("timeout", "agent_timeout", ["cut"])
    assert "no answer within 0.05 s and was cancelled" in report["error"]


@EITHER
def test_a_hung_sync_call_is_abandoned_and_what_it_stores_late_is_refused(
    saver: Saver, thread: RunnableConfig, decide: Any
) -> None:
    release, ended = threading.Event(), threading.Event()
    calls: list[str] = []

    def hang(messages: Any) -> str:
        calls.append(messages[-1].text)
        if len(calls) > 1:
            return "second answer"
        release.wait(20)
        ended.set()
        return "late answer"

    spec = Participant(runs=hang, description="p", policies=[Timeout(0.05)])
    built = team(decide, saver, p=spec)
    [report] = built.invoke(REQUEST, thread)["reports"]
    assert (report["status"], report["kind"]) == ("timeout", "agent_timeout")
    assert "abandoned" in report["error"]
    release.set()
    assert ended.wait(20)
    [report] = built.invoke(REQUEST, thread)["reports"]
    assert report["text"] == "second answer"
    place: RunnableConfig = {"configurable": {**thread["configurable"], "checkpoint_ns": "p"}}
    said = [m.text for m in built.get_state(place).values["messages"]]
    assert "late answer" not in said and said[-1] == "second answer"


@WAYS
async def test_a_time_out_may_be_retried(way: str, thread: RunnableConfig, saver: Saver) -> None:
    hung = threading.Event()
    calls: list[str] = []

    def once_slow(messages: Any) -> str:
        calls.append("call")
        if len(calls) == 1:
            hung.wait(20)
        return "in time"

    retry = RetryPolicy(initial_interval=0, max_attempts=2)  # time-outs are retried by default
    built = team(follow(["p"]), saver, policies=[retry, Timeout(0.1)], p=once_slow)
    [report] = (await drive(built, way, REQUEST, thread))["reports"]
    hung.set()
    assert (report["text"], report["attempts"]) == ("in time", 2)


@WAYS
@EITHER
async def test_a_fallback_model_serves_the_call_that_failed_and_no_other(
    way: str, decide: Any
) -> None:
    first = ScriptedChatModel(script=[ConnectionError("away"), "from the first"])
    second = ScriptedChatModel(script=["from the second"])
    spec = Participant(model=first, prompt="Answer.", fallback_model=second)
    decide = follow(["p", "p"]) if decide is DECIDERS["visit"] else plan(
        task("t", "p"), task("u", "p")
    )  # fmt: skip
    result = await drive(team(decide, p=spec), way, REQUEST, None)
    assert [r["text"] for r in result["reports"]] == ["from the second", "from the first"]


@EITHER
def test_a_fallback_model_serves_agents_with_tools(decide: Any) -> None:
    @tool
    def act() -> str:
        """Act."""
        return "acted"

    first = ScriptedChatModel(script=[ConnectionError("away"), "done by the first"])
    second = ScriptedChatModel(script=[ScriptedReply(tool_calls=[("act", {})])])
    spec = Participant(model=first, tools=[act], prompt="Act.", fallback_model=second)
    assert team(decide, p=spec).invoke(REQUEST)["reports"][0]["text"] == "done by the first"
    first.assert_finished()
    second.assert_finished()


@WAYS
async def test_an_open_circuit_spares_the_service(way: str) -> None:
    flaky = Flaky(2)
    now = [0.0]
    breaker = CircuitBreaker("hall", failure_threshold=2, registry={}, clock=lambda: now[0])
    spec = Participant(runs=flaky, description="p", policies=[breaker])
    built = team(follow(["p"] * 3), p=spec)
    result = await drive(built, way, REQUEST, None)
    assert [r.get("kind") for r in result["reports"]] == [
        "api_call_failed", "api_call_failed", "circuit_open",
    ]  # fmt: skip
    assert flaky.calls == 2
    now[0] = 31
    result = await drive(team(follow(["p"]), p=spec), way, REQUEST, None)
    assert result["reports"][0]["text"] == "call 3"


def test_participants_of_one_model_share_a_circuit() -> None:
    class Named(ScriptedChatModel):
        model_name: str = "test-model"

    breaker = CircuitBreaker(failure_threshold=1, registry={})
    model = Named(script=[ConnectionError("away")])
    one, two = (Participant(model=model, prompt=name) for name in ("One.", "Two."))
    result = team(follow(["one", "two"]), policies=[breaker], one=one, two=two).invoke(REQUEST)
    assert [r.get("kind") for r in result["reports"]] == ["api_call_failed", "circuit_open"]


@WAYS
async def test_a_question_to_a_person_is_no_failure_of_the_service(
    way: str, saver: Saver, thread: RunnableConfig
) -> None:
    breaker = CircuitBreaker("ask", failure_threshold=1, registry={})
    ask = Participant(
        runs=lambda ms: f"told {interrupt({'prompt': 'which?'})}",
        description="p",
        policies=[AT_ONCE, breaker, Timeout(20)],
    )
    built = team(follow(["p"]), saver, p=ask)
    await drive(built, way, REQUEST, thread)
    assert breaker.state() == "closed"
    result = await asyncio.to_thread(resume, built, thread, "this")
    assert result["reports"][0]["text"] == "told this"


@WAYS
@EITHER
async def test_a_cached_text_makes_up_for_a_failure(way: str, decide: Any) -> None:
    policy = Compensation({"api_call_failed": UseCached("as last year")})
    [report] = (await drive(team(decide, policies=[policy], p=Flaky(9)), way, REQUEST, None))[
        "reports"
    ]
    assert (report["status"], report["text"], report["kind"]) == (
        "ok", "as last year", "api_call_failed",
    )  # fmt: skip


@WAYS
async def test_another_participant_takes_over_a_visit(way: str) -> None:
    policy = Compensation({"agent_failed": Delegate("q")})
    seen: list[str] = []

    def takes_over(messages: Any) -> str:
        seen.append(part(messages))
        return "by q"

    built = team(
        follow(["p"]),
        p=Participant(runs=Flaky(9, RuntimeError), description="p", policies=[policy]),
        q=takes_over,
    )
    result = await drive(built, way, REQUEST, None)
    assert [r["participant"] for r in result["reports"]] == ["p", "q"]
    assert seen == ["step 1"]


@WAYS
async def test_another_participant_takes_over_a_task_before_its_dependents_start(
    way: str, saver: Saver, thread: RunnableConfig
) -> None:
    policy = Compensation({"agent_failed": Delegate("q")})
    built = team(
        plan(task("a", "p"), task("b", "r", "a")),
        saver,
        p=Participant(runs=Flaky(9, RuntimeError), description="p", policies=[policy]),
        q=lambda ms: "by q",
        r=lambda ms: "by r" if "by q" in ms[-1].text else "nothing from q",
    )
    result = await drive(built, way, REQUEST, thread)
    assert [(r["participant"], r["status"]) for r in result["reports"]] == [
        ("p", "failed"), ("q", "ok"), ("r", "ok"),
    ]  # fmt: skip
    assert result["reports"][-1]["text"] == "by r"


def test_two_who_delegate_to_each_other_come_to_an_end() -> None:
    def to(name: str) -> list[Compensation]:
        return [Compensation({"agent_failed": Delegate(name)})]

    bad = {
        "p": Participant(runs=Flaky(9, RuntimeError), description="p", policies=to("q")),
        "q": Participant(runs=Flaky(9, RuntimeError), description="q", policies=to("p")),
    }
    result = team(plan(task("a", "p"), task("b", "q", "a")), **bad).invoke(REQUEST)
    assert [(r["task"], r["participant"], r["status"]) for r in result["reports"]] == [
        ("a", "p", "failed"), ("a", "q", "failed"), ("b", "q", "skipped"),
    ]  # fmt: skip


@EITHER
def test_a_person_is_asked_what_to_do_about_a_failure(
    saver: Saver, thread: RunnableConfig, decide: Any
) -> None:
    policy = Compensation({"agent_failed": AskPerson("The hall cannot be booked. And now?")})
    built = team(decide, saver, policies=[policy], p=Flaky(9, RuntimeError))
    result = built.invoke(REQUEST, thread)
    assert result["status"] == "waiting"
    [request] = pending_requests(built, thread)
    assert request.prompt == "The hall cannot be booked. And now?"
    assert resume(built, thread, "Take the garden.")["status"] == "completed"


@WAYS
async def test_what_was_done_is_undone_in_reverse_order(
    way: str, saver: Saver, thread: RunnableConfig
) -> None:
    undone: list[str] = []

    def booker(name: str) -> Participant:
        def undo(report: Any) -> None:
            if name == "two":
                raise RuntimeError("already paid")
            undone.append(f"{name}: {report['text']}")

        return Participant(runs=lambda ms: f"booked {part(ms)}", description=name, undo=undo)

    policy = Compensation({"agent_failed": UndoAll()})
    built = team(
        plan(task("a", "one"), task("b", "two", "a"), task("c", "three", "b"),
             task("d", "bad", "c"), task("e", "one", "d")),
        saver, one=booker("one"), two=booker("two"), three=booker("three"),
        bad=Participant(runs=Flaky(9, RuntimeError), description="bad", policies=[policy]),
    )  # fmt: skip
    result = await drive(built, way, REQUEST, thread)
    assert undone == ["three: booked do c", "one: booked do a"]
    assert [(r["participant"], r["status"]) for r in result["reports"]][-3:] == [
        ("three", "ok"), ("two", "failed"), ("one", "ok"),
    ]  # fmt: skip
    assert "not undone: RuntimeError: already paid" in str(result["reports"][-2].get("error"))
    assert result["status"] == "completed"


@pytest.mark.parametrize(
    ("policies", "fault"),
    [
        (["nonsense"], "the workflow has the policy 'nonsense'; allowed: RetryPolicy, Timeout"),
        ([Compensation({"agent_failed": Delegate("nobody")})], "delegates to 'nobody'"),
        ([Compensation({"agent_failed": UndoAll()})], "nobody can undo anything"),
        ([RetryPolicy(max_attempts=0)], "retries with max_attempts=0"),
    ],
    ids=["no policy", "unknown heir", "nobody undoes", "no attempts"],
)
def test_bad_policies_are_refused_when_the_workflow_is_built(policies: Any, fault: str) -> None:
    with pytest.raises(WorkflowBuildError, match="cannot be built") as caught:
        team(follow(["p"]), policies=policies, p=lambda ms: "x")
    assert fault in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "1"])
def test_a_timeout_needs_a_time(seconds: Any) -> None:
    with pytest.raises(ValueError, match="it must be a number of seconds, above 0"):
        Timeout(seconds)


def test_a_compensation_needs_kinds_and_actions_that_exist() -> None:
    with pytest.raises(ValueError, match="'nonsense' is no kind of failure; allowed: api_call_f"):
        Compensation({"nonsense": UseCached("x")})  # type: ignore[dict-item]  # what is refused
    with pytest.raises(ValueError, match="the action for agent_failed is 'x'; allowed: UseCached"):
        Compensation({"agent_failed": "x"})  # type: ignore[dict-item]  # what is refused
