"""What an attack on delegation has found, each as the test that would have caught it."""

import asyncio
import time
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import Command, RetryPolicy, interrupt

from asterism import (
    Agent,
    AgentOrchestrator,
    AskPerson,
    CircuitBreaker,
    Compensation,
    Delegate,
    Participant,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    Timeout,
    UndoAll,
    UseCached,
    pending_requests,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import InvalidMemoryError, UnknownParticipantError, WorkflowBuildError
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.plans import drive, part, plan, task
from tests.teams import follow

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])
AT_ONCE = RetryPolicy(initial_interval=0, max_attempts=3, retry_on=Exception)


def team(decide: Any, saver: Any = None, *, options: Any = None, **members: Any) -> Any:
    specs = {
        name: m if isinstance(m, Participant) else Participant(runs=m, description=name)
        for name, m in members.items()
    }
    return (
        SupervisorWorkflowBuilder("Test", finish="forward", **(options or {}))
        .participants(**specs)
        .with_manager(decide)
        .build(checkpointer=saver)
    )


def ask(messages: Any) -> str:
    return f"{part(messages)}: {interrupt({'prompt': part(messages)})}"


def fail(messages: Any) -> str:
    raise RuntimeError("out of order")


@WAYS
@pytest.mark.parametrize("decide", [follow(["p"]), plan(task("t", "p"))], ids=["visit", "task"])
async def test_an_answer_is_used_for_one_question(
    saver: Saver, thread: RunnableConfig, way: str, decide: Any
) -> None:
    failures = iter([ConnectionError("away")])

    def first(state: Any) -> Any:
        said = interrupt({"prompt": "one?"})
        for error in failures:
            raise error
        return {"messages": [("ai", f"one: {said}")]}

    def second(state: Any) -> Any:
        return {"messages": [("ai", f"two: {interrupt({'prompt': 'two?'})}")]}

    graph = StateGraph(MessagesState)
    graph.add_sequence([("first", first), ("second", second)])
    graph.add_edge(START, "first")
    spec = Participant(runs=graph.compile(), description="p", policies=[AT_ONCE])
    built = team(decide, saver, p=spec)
    await drive(built, way, REQUEST, thread)
    for _ in range(3):
        pending = pending_requests(built, thread)
        if not pending:
            break
        answer = {"one?": "yes", "two?": "no"}[pending[0].prompt]
        await asyncio.to_thread(resume, built, thread, answer)
    [report] = built.get_state(thread).values["reports"]
    assert report["text"] == "two: no"


@WAYS
async def test_a_task_that_is_passed_on_waits_for_its_heirs_open_question(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    to_q = [Compensation({"agent_failed": Delegate("q")})]

    def slow_fail(messages: Any) -> str:
        time.sleep(0.05)
        raise RuntimeError("out of order")

    def asks_or_works(messages: Any) -> str:
        return ask(messages) if part(messages) == "do b" else f"{part(messages)} by q"

    built = team(
        plan(task("a", "p"), task("b", "q")), saver,
        p=Participant(runs=slow_fail, description="p", policies=to_q), q=asks_or_works,
    )  # fmt: skip
    await drive(built, way, REQUEST, thread)
    result = await asyncio.to_thread(resume, built, thread, "yes")
    told = {(r["task"], r["participant"]): r["text"] for r in result["reports"]}
    assert told == {("a", "p"): "", ("b", "q"): "do b: yes", ("a", "q"): "do a by q"}


@WAYS
async def test_a_drain_at_any_moment_leaves_the_plan_to_go_on(
    saver: Saver, thread: RunnableConfig, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asterism.nodes import plan_runner as dispatch

    control = RunControl()
    real = dispatch.is_draining

    def draining() -> bool:
        control.request_drain("now")  # after the engine looked, before dispatch does
        return real()

    built = team(plan(task("a", "p"), task("b", "p")), saver, p=lambda ms: "done")
    monkeypatch.setattr(dispatch, "is_draining", draining)
    with pytest.raises(GraphDrained):
        await drive(built, way, REQUEST, thread, control=control)
    monkeypatch.undo()
    assert built.get_state(thread).values["status"] != "completed"
    result = await drive(built, way, None, thread)
    assert [r["task"] for r in result["reports"]] == ["a", "b"]


@WAYS
async def test_many_parked_tasks_go_on_one_by_one_under_a_lower_limit(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    def build(limit: int) -> Any:
        tasks = [task(name, name) for name in "abc"]
        options = {"max_parallel_tasks": limit}
        return team(plan(*tasks), saver, options=options, a=ask, b=ask, c=ask)

    await drive(build(3), way, REQUEST, thread)
    lower = build(1)
    pending = pending_requests(lower, thread)
    answers = {request.id: f"to {request.participant}" for request in pending}
    result = await drive(lower, way, Command(resume=answers), thread)
    assert {r["task"]: r["text"] for r in result["reports"]} == {
        name: f"do {name}: to {name}" for name in "abc"
    }


def test_a_replay_of_a_plan_asks_again(saver: Saver, thread: RunnableConfig) -> None:
    built = team(plan(task("q", "p")), saver, p=ask)
    built.invoke(REQUEST, thread)
    waiting = built.get_state(thread).config
    resume(built, thread, "first")
    replayed = built.invoke(None, waiting)
    assert replayed["status"] == "waiting"


async def test_an_agent_that_was_created_may_be_sent_for_alone() -> None:
    spec = {"agent_id": "helper", "system_prompt": "Help.", "description": "Helps."}
    one = {"task_id": "a", "agent_id": "helper", "task_description": "help"}
    main = ScriptedChatModel(script=[
        {"subagents": [spec], "tasks": [one]},
        {"next_agent": "helper", "user_input_needed": False, "instruction": "once more"},
        {"next_agent": None, "answer": "done"},
    ])  # fmt: skip
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=main), subagent_model=ScriptedChatModel(script=["1", "2"])
    )
    response = await orchestrator.process("Go")
    assert (response.status, [r["text"] for r in response.reports]) == ("completed", ["1", "2"])


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        ("nonsense", "has the policy 'nonsense'"),
        (Compensation({"agent_failed": Delegate("nobody")}), "delegates to 'nobody'"),
        (Compensation({"agent_failed": UndoAll()}), "no agent can undo anything"),
    ],
)
def test_an_orchestrators_policies_are_checked(policy: Any, fault: str) -> None:
    with pytest.raises(WorkflowBuildError, match="cannot be built") as caught:
        AgentOrchestrator(Agent(agent_id="main", model="offline"), policies=[policy])
    assert fault in str(caught.value)


async def test_a_created_agent_that_cannot_be_made_is_a_failed_report(saver: Saver) -> None:
    spec = {"agent_id": "x", "system_prompt": "X.", "description": "X.", "tools": ["add"]}
    one = {"task_id": "a", "agent_id": "x", "task_description": "x"}

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    def build(tools: list[Any], *script: Any) -> AgentOrchestrator:
        main = ScriptedChatModel(script=list(script))
        return AgentOrchestrator(
            Agent(agent_id="main", model=main), tools, checkpointer=saver,
            subagent_model=ScriptedChatModel(script=["fine"]), max_retries=0,
        )  # fmt: skip

    done = {"next_agent": None, "answer": "done"}
    first = build([add], {"subagents": [{**spec, "model": "no:such"}], "tasks": [one]}, done)
    response = await first.process("Go", thread_id="t")
    assert response.reports[0]["text"] == "fine"  # a model does not choose models
    without = build([], {"tasks": [one]}, done)
    response = await without.process("Go", thread_id="t")
    assert (response.status, response.reports[0]["status"]) == ("failed", "failed")
    assert "wants the tool 'add', which is not available" in str(response.reports[0].get("error"))


@WAYS
async def test_a_plain_answer_finds_its_way_into_a_plan_of_an_inner_team(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    inner = (
        SupervisorWorkflowBuilder("Inner", finish="forward", description="Asks.")
        .participants(p=Participant(runs=ask, description="p"))
        .with_manager(plan(task("t", "p")))
        .build()
    )
    built = team(follow(["team"]), saver, team=inner)
    await drive(built, way, REQUEST, thread)
    result = await drive(built, way, Command(resume="yes"), thread)
    assert (result["status"], result["reports"][0]["text"]) == ("completed", "do t: yes")


@pytest.mark.parametrize("on_stall", ["finish", "ask_user", "replan"])
def test_a_plan_with_like_tasks_does_not_stand_still(on_stall: str) -> None:
    same = [task(n, "p").model_copy(update={"task_description": "same"}) for n in "abcd"]
    built = team(plan(*same), options={"on_stall": on_stall}, p=lambda ms: "the same")
    result = built.invoke(REQUEST)
    assert (result["status"], len(result["reports"])) == ("completed", 4)


async def test_a_main_agent_by_tools_is_repaired_like_any_other() -> None:
    one = {"task_id": "a", "agent_id": "x", "task_description": "x"}
    from langchain_core.messages import AIMessage

    cut = AIMessage("The answ", response_metadata={"finish_reason": "length"})
    no_designer = ScriptedReply(
        tool_calls=[("plan_and_create_subagents", {"objective": "all of it"})]
    )
    works = ScriptedReply(tool_calls=[("delegate_to_subagents", {"tasks": [one]})])
    main = ScriptedChatModel(script=[no_designer, works, cut, "The answer."])
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model=main), planning="tools")
    orchestrator.register_subagent(
        Agent(agent_id="x", model=ScriptedChatModel(script=["fine"]), system_prompt="X.")
    )
    response = await orchestrator.process("Go")
    assert (response.status, response.content) == ("completed", "The answer.")
    main.assert_finished()


async def test_both_planning_tools_at_once_make_one_plan() -> None:
    new = {"agent_id": "new", "system_prompt": "N.", "description": "N."}
    both = ScriptedReply(tool_calls=[
        ("delegate_to_subagents",
         {"tasks": [{"task_id": "a", "agent_id": "x", "task_description": "x"}]}),
        ("plan_and_create_subagents", {"objective": "the rest"}),
    ])  # fmt: skip
    designed = {
        "subagents": [new],
        "tasks": [{"task_id": "b", "agent_id": "new", "task_description": "y"}],
    }
    orchestrator = AgentOrchestrator(
        Agent(agent_id="main", model=ScriptedChatModel(script=[both, "done"])),
        planning="tools",
        subagent_model=ScriptedChatModel(script=["by new"]),
        subagent_designer_model=ScriptedChatModel(script=[designed]),
    )
    orchestrator.register_subagent(
        Agent(agent_id="x", model=ScriptedChatModel(script=["by x"]), system_prompt="X.")
    )
    response = await orchestrator.process("Go")
    assert {r["task"]: r["text"] for r in response.reports} == {"a": "by x", "b": "by new"}


def test_who_failed_at_what_was_delegated_is_not_asked_again() -> None:
    to_q = [Compensation({"agent_failed": Delegate("q")})]
    result = team(follow(["p"]), options={"policies": to_q}, p=fail, q=fail).invoke(REQUEST)
    assert [r["participant"] for r in result["reports"]] == ["p", "q"]
    assert result["status"] == "completed"


def test_what_was_abandoned_does_not_go_on_by_itself() -> None:
    import threading

    release, calls = threading.Event(), []

    def hang(messages: Any) -> str:
        calls.append("call")
        release.wait(20)
        raise ConnectionError("late")

    inner = team(follow(["p"]), options={"policies": [AT_ONCE]}, p=hang)
    outer = team(
        follow(["team"]), team=Participant(runs=inner, description="t", policies=[Timeout(0.05)])
    )
    assert outer.invoke(REQUEST)["reports"][0]["kind"] == "agent_timeout"
    release.set()
    time.sleep(0.1)
    assert len(calls) <= 3  # nothing is stored here, so nothing could refuse it


def test_what_was_never_done_is_not_undone() -> None:
    undone: list[str] = []
    booker = Participant(
        runs=fail, description="b", undo=lambda report: undone.append(report["participant"]),
        policies=[Compensation({"agent_failed": UseCached("as always")})],
    )  # fmt: skip
    bad = Participant(
        runs=fail, description="bad", policies=[Compensation({"agent_failed": UndoAll()})]
    )
    team(plan(task("a", "b"), task("c", "bad", "a")), b=booker, bad=bad).invoke(REQUEST)
    assert undone == []


def test_two_questions_about_failures_are_asked_together(
    saver: Saver, thread: RunnableConfig
) -> None:
    def asks_about(name: str) -> Participant:
        policy = Compensation({"agent_failed": AskPerson(f"What about {name}?")})
        return Participant(runs=fail, description=name, policies=[policy])

    built = team(plan(task("a", "p"), task("b", "q")), saver, p=asks_about("p"), q=asks_about("q"))
    built.invoke(REQUEST, thread)
    [request] = pending_requests(built, thread)
    assert "What about p?" in request.prompt and "What about q?" in request.prompt


def test_an_open_circuit_leaves_a_question_open(saver: Saver, thread: RunnableConfig) -> None:
    now = [0.0]
    breaker = CircuitBreaker("s", failure_threshold=1, registry={}, clock=lambda: now[0])

    def slow_fail(messages: Any) -> str:
        time.sleep(0.05)
        raise RuntimeError("out of order")

    spec: dict[str, Any] = {"policies": [breaker], "description": "p"}
    built = team(
        plan(task("a", "p"), task("b", "q")), saver,
        p=Participant(runs=ask, **spec), q=Participant(runs=slow_fail, **spec),
    )  # fmt: skip
    built.invoke(REQUEST, thread)
    result = resume(built, thread, "yes")
    assert result["status"] == "waiting"
    now[0] = 31.0
    result = resume(built, thread, "yes")
    assert {r["task"]: r["text"] for r in result["reports"]}["a"] == "do a: yes"


def test_an_edit_of_one_task_does_not_repeat_the_others(
    saver: Saver, thread: RunnableConfig
) -> None:
    done: list[str] = []

    def work(messages: Any) -> str:
        done.append(part(messages))
        return "done"

    built = team(plan(task("a", "p"), task("q", "asker")), saver, p=work, asker=ask)
    built.invoke(REQUEST, thread)
    decision = built.get_state(thread).values["decision"]
    tasks = [decision["tasks"][0], {**decision["tasks"][1], "agent_id": "p"}]
    built.update_state(thread, {"decision": {**decision, "tasks": tasks}})
    result = built.invoke(None, thread)
    assert done == ["do a", "do q"]
    assert result["status"] == "completed"


async def test_memory_is_not_cleared_in_the_middle_of_a_question() -> None:
    def which() -> str:
        """Ask."""
        return str(interrupt({"prompt": "which?"}))

    one = {"task_id": "a", "agent_id": "x", "task_description": "x"}
    main = ScriptedChatModel(script=[{"tasks": [one]}])
    worker = ScriptedChatModel(script=[ScriptedReply(tool_calls=[("which", {})])])
    orchestrator = AgentOrchestrator(Agent(agent_id="main", model=main), [which])
    orchestrator.register_subagent(
        Agent(agent_id="x", model=worker, system_prompt="X.", tools=["which"])
    )
    await orchestrator.process("Go")
    with pytest.raises(InvalidMemoryError, match="'x' is in the middle of a visit"):
        await orchestrator.clear_memory("x")


def test_who_was_skipped_has_not_been_asked() -> None:
    def decide(view: Any) -> SupervisorDecision:
        tasks = [task("a", "bad"), task("b", "must", "a")]
        return SupervisorDecision(next_agent=None, tasks=None if view.iterations else tasks)

    built = team(decide, options={"require": ["must"]}, bad=fail, must=lambda ms: "here")
    result = built.invoke(REQUEST)
    assert (result["status"], result["messages"][-1].text) == ("completed", "here")


def test_a_huge_number_in_a_task_is_refused_before_it_is_stored(
    saver: Saver, thread: RunnableConfig
) -> None:
    from asterism.errors import RoutingError

    built = team(plan(task("a", "p", context={"n": 2**80})), saver, p=lambda ms: "x")
    with pytest.raises(RoutingError, match="a number of more than 64 bits"):
        built.invoke(REQUEST, thread)


def test_a_lease_is_given_back_however_a_run_ends(saver: Saver, thread: RunnableConfig) -> None:
    from asterism.nodes.run_context import RunContext

    built = team(follow(["p"]), saver, p=lambda ms: "x")
    with pytest.MonkeyPatch.context() as patch:

        def close(self: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(RunContext, "close", close)
        with pytest.raises(KeyboardInterrupt):
            built.invoke(REQUEST, thread)
    assert built.invoke(REQUEST, thread)["status"] == "completed"


@pytest.mark.parametrize("heir", ["new", None])
def test_a_waiting_task_of_a_renamed_participant_goes_to_its_heir(
    saver: Saver, thread: RunnableConfig, heir: str | None
) -> None:
    done: list[str] = []

    def work(messages: Any) -> str:
        done.append(part(messages))
        return "done"

    tasks = plan(task("a", "p"), task("q", "old"))
    team(tasks, saver, p=work, old=ask).invoke(REQUEST, thread)
    renamed = team(tasks, saver, p=work, new=ask)
    with pytest.raises(UnknownParticipantError, match="who takes over from 'old'"):
        renamed.rename(thread, {})
    renamed.rename(thread, {"old": heir})
    result = renamed.invoke(None, thread)
    if heir is None:
        assert result["status"] == "completed"
        return
    assert result["status"] == "waiting"
    assert pending_requests(renamed, thread)[0].path == "new"
    result = resume(renamed, thread, "yes")
    assert {r["task"]: r["participant"] for r in result["reports"]} == {"a": "p", "q": "new"}
    assert done == ["do a"]
