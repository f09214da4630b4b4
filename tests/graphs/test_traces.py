"""Traces of real runs: one for each request, true for every end, whoever runs beside it."""

import asyncio
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphDrained
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import RunControl
from langgraph.types import interrupt

from asterism import (
    AgentOrchestrator,
    AgentSupervisor,
    Participant,
    SupervisorDecision,
    SupervisorTrace,
    SupervisorWorkflowBuilder,
    Trace,
    aresume,
    open_checkpointer,
    proceed,
    resume,
)
from asterism.core.run_types import WorkflowInput
from asterism.errors import InvalidRequestError, RoutingError
from asterism.events import BUS, EventBus, WorkflowEventType, emit_from_context
from asterism.nodes.run_context import WAITING_REASON, run_end_event
from asterism.observability import trace_store as files
from asterism.testing import ScriptedChatModel, ScriptedReply
from tests.graphs.test_orchestrator import agent, given
from tests.graphs.test_usage import Priced, prices
from tests.plans import drive, plan, task
from tests.teams import follow

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


def team(
    trace: SupervisorTrace | None,
    decide: Any,
    saver: Any = None,
    *,
    options: Any = None,
    **members: Any,
) -> Any:
    specs = {
        name: m if isinstance(m, Participant) else Participant(runs=m, description=name)
        for name, m in members.items()
    }
    bus = trace.bus if trace else None
    return (
        SupervisorWorkflowBuilder("Test", finish="forward", events=bus, **(options or {}))
        .participants(**specs)
        .with_manager(decide)
        .build(checkpointer=saver)
    )


def fail(messages: Any) -> str:
    raise RuntimeError("out of order")


def ask(messages: Any) -> str:
    return f"told {interrupt({'prompt': 'which?'})}"


def done(messages: Any) -> str:
    return "done"


def only(trace: SupervisorTrace) -> Trace:
    (found,) = trace.get_all_traces()
    return found


def sent(trace: Trace) -> list[str]:
    return [f"{i.sender} -> {i.recipient}: {i.content}" for i in trace.interactions]


@WAYS
async def test_a_run_is_one_trace(saver: Saver, thread: RunnableConfig, way: str) -> None:
    trace = SupervisorTrace()
    built = team(trace, follow(["p", "q"]), saver, p=done, q=fail)
    await drive(built, way, REQUEST, thread)
    found = only(trace)
    assert (found.name, found.status, found.reason) == (
        "Test", "completed", "the supervisor found the request complete; "
        "not all could do their part: q: RuntimeError: out of order",
    )  # fmt: skip
    assert found.thread_id == thread["configurable"]["thread_id"]
    assert trace.get_trace(found.id) == trace.get_trace(found.thread_id) == found
    assert [(d.by, d.decision, d.instruction) for d in found.decisions] == [
        ("supervisor", "p", "step 1"), ("supervisor", "q", "step 2"),
    ]  # fmt: skip
    assert sent(found) == [
        "user -> supervisor: Plan it",
        "supervisor -> p: Plan it\n\nYour part: step 1",
        "p -> supervisor: done",
        "supervisor -> q: Plan it\n\nYour part: step 2",
        "q -> supervisor: RuntimeError: out of order",
        "supervisor -> user: done",
    ]
    assert [(e.type, e.message, e.source) for e in found.errors] == [
        ("agent_failed", "RuntimeError: out of order", "q")
    ]
    assert found.duration is not None and found.duration >= 0
    assert (trace.get_trace_metrics().success_rate, trace.bus.failures()) == (1.0, [])


@WAYS
async def test_a_question_rests_and_the_answer_goes_on(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    trace = SupervisorTrace()

    def decide(view: Any) -> SupervisorDecision:
        if not view.reports:
            return SupervisorDecision(next_agent="p")
        asked = any(m.text == "because" for m in view.messages)
        return SupervisorDecision(
            next_agent=None, user_input_needed=not asked, user_prompt=None if asked else "why?"
        )

    built = team(trace, decide, saver, p=ask)
    await drive(built, way, REQUEST, thread)
    assert (only(trace).status, only(trace).reason, only(trace).errors) == (
        "waiting",
        WAITING_REASON,
        (),
    )
    for answer in ("this", "because"):
        assert only(trace).status == "waiting"
        if way == "sync":
            resume(built, thread, answer)
        else:
            await aresume(built, thread, answer)
    found = only(trace)
    assert (found.status, found.errors) == ("completed", ())
    assert [line for line in sent(found) if "user" in line] == [
        "user -> supervisor: Plan it",
        "p -> user: which?",
        "user -> p: this",
        "supervisor -> user: why?",
        "user -> supervisor: because",
        "supervisor -> user: told this",
    ]


def test_an_answer_in_another_process_goes_on_with_the_trace(
    tmp_path: Path, thread: RunnableConfig
) -> None:
    for step in range(2):
        with (
            open_checkpointer(f"sqlite:///{tmp_path / 'threads.db'}") as saver,
            SupervisorTrace(f"sqlite:///{tmp_path / 'traces.db'}") as trace,
        ):
            built = team(trace, follow(["p"]), saver, p=ask)
            built.invoke(REQUEST, thread) if step == 0 else resume(built, thread, "this")
            found = only(trace)
    assert (found.status, sent(found)[-2]) == ("completed", "p -> supervisor: told this")


def test_a_plain_message_in_answer_to_a_question_goes_on_too(
    saver: Saver, thread: RunnableConfig
) -> None:
    trace = SupervisorTrace()
    built = team(trace, follow(["p", None]), saver, p=ask)
    built.invoke(REQUEST, thread)
    built.invoke({"messages": [("user", "The blue one")]}, thread)
    assert len(trace.get_all_traces()) == 1


def test_the_next_request_is_the_next_trace(saver: Saver, thread: RunnableConfig) -> None:
    trace = SupervisorTrace()
    built = team(trace, follow(["p"]), saver, p=done)
    built.invoke(REQUEST, thread)
    built.invoke({"messages": [("user", "And more")]}, thread)
    found = trace.get_all_traces()
    assert [one.interactions[0].content for one in found] == ["Plan it", "And more"]
    assert trace.get_trace(found[0].thread_id) == found[1]


@WAYS
@pytest.mark.parametrize(
    ("decide", "options", "status", "said"),
    [
        pytest.param(follow(["p"] * 5), {"max_iterations": 1}, "limit", "=1 decisions", id="limit"),
        pytest.param(
            lambda view: SupervisorDecision(next_agent="p"), {}, "stalled", "", id="stalled"
        ),
    ],
)  # fmt: skip
async def test_other_ends_are_told_as_they_are(
    way: str, decide: Any, options: Any, status: str, said: str
) -> None:
    trace = SupervisorTrace()
    result = await drive(team(trace, decide, options=options, p=done), way, REQUEST, None)
    assert (only(trace).status, only(trace).reason) == (result["status"], result["reason"])
    assert (only(trace).status, said in only(trace).reason) == (status, True)
    assert trace.get_trace_metrics().success_rate == 0.0


@WAYS
async def test_a_run_that_raises_has_failed_and_can_go_on(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    trace = SupervisorTrace()
    broken = [True]

    def decide(view: Any) -> Any:
        return "nonsense" if broken[0] else SupervisorDecision(next_agent=None)

    built = team(trace, decide, saver, p=done)
    with pytest.raises(RoutingError):
        await drive(built, way, REQUEST, thread)
    assert only(trace).status == "failed"
    assert [error.type for error in only(trace).errors] == ["RoutingError"]
    broken[0] = False
    proceed(built, thread)
    assert (only(trace).status, len(only(trace).errors)) == ("completed", 1)


async def test_a_cancelled_run_is_told_as_cancelled() -> None:
    trace = SupervisorTrace()
    begun = asyncio.Event()

    async def hang(messages: Any) -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    running = asyncio.create_task(team(trace, follow(["p"]), p=hang).ainvoke(REQUEST))
    await asyncio.wait_for(begun.wait(), 30)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (only(trace).status, only(trace).finished) == ("cancelled", True)


def test_a_stream_that_nobody_follows_is_cancelled() -> None:
    trace = SupervisorTrace()
    stream = team(trace, follow(["p"]), p=done).stream(REQUEST)
    next(stream)
    stream.close()
    assert (only(trace).status, only(trace).reason) == (
        "cancelled",
        "it was stopped: GeneratorExit",
    )


@WAYS
async def test_a_drained_run_rests(saver: Saver, thread: RunnableConfig, way: str) -> None:
    trace, control = SupervisorTrace(), RunControl()

    def stop(messages: Any) -> str:
        control.request_drain("the machine is needed")
        return "done"

    built = team(trace, follow(["p"]), saver, p=stop)
    with pytest.raises(GraphDrained):
        await drive(built, way, REQUEST, thread, control=control)
    assert (only(trace).status, only(trace).errors) == ("waiting", ())
    assert "the machine is needed" in only(trace).reason
    proceed(built, thread)
    assert only(trace).status == "completed"


def test_what_is_refused_before_it_runs_has_no_trace() -> None:
    trace = SupervisorTrace()
    with pytest.raises(InvalidRequestError):
        team(trace, follow([]), p=done).invoke({"messages": []})
    assert trace.get_all_traces() == []


@pytest.mark.parametrize(
    ("error", "end", "status"),
    [
        (None, {"status": "limit", "reason": "r"}, "limit"),
        (None, None, "waiting"),
        (GeneratorExit(), None, "cancelled"),
        (KeyboardInterrupt(), None, "cancelled"),
        (GeneratorExit(), {"status": "completed", "reason": "r"}, "completed"),
        (OSError("disk"), {"status": "completed", "reason": "r"}, "failed"),
        (GraphDrained("r"), None, "waiting"),
    ],
)
def test_how_a_run_ended(error: BaseException | None, end: Any, status: str) -> None:
    assert run_end_event(error, end)["status"] == status
    assert run_end_event(error, end)["reason"]


@WAYS
async def test_a_team_in_a_team_is_in_the_same_trace(way: str) -> None:
    trace = SupervisorTrace()
    inner = team(None, plan(task("t", "deep")), deep=done)
    built = team(trace, follow(["team"]), team=Participant(runs=inner, description="t"))
    await drive(built, way, REQUEST, None)
    found = only(trace)
    assert [(d.by, d.decision) for d in found.decisions] == [
        ("supervisor", "team"), ("team/supervisor", "t"),
    ]  # fmt: skip
    assert [f"{i.sender} -> {i.recipient}" for i in found.interactions] == [
        "user -> supervisor", "supervisor -> team", "team/supervisor -> team/deep",
        "team/deep -> team/supervisor", "team -> supervisor", "supervisor -> user",
    ]  # fmt: skip


def test_a_team_with_a_bus_of_its_own_has_a_trace_there() -> None:
    outside, within = SupervisorTrace(), SupervisorTrace()
    inner = team(within, follow(["deep"]), deep=done)
    built = team(outside, follow(["team"]), team=Participant(runs=inner, description="t"))
    built.invoke(REQUEST)
    assert [d.decision for d in only(outside).decisions] == ["team"]
    assert [d.decision for d in only(within).decisions] == ["deep"]
    assert (only(outside).status, only(within).status) == ("completed", "completed")


@WAYS
async def test_tasks_at_once_are_all_there(way: str) -> None:
    trace = SupervisorTrace()
    tasks = [task(f"t{n}", f"p{n}") for n in range(6)]
    members = {f"p{n}": fail if n == 3 else done for n in range(6)}
    await drive(team(trace, plan(*tasks), **members), way, REQUEST, None)
    found = only(trace)
    assert found.decisions[0].decision == "t0, t1, t2, t3, t4, t5"
    assert sorted(i.recipient for i in found.interactions if i.sender == "supervisor") == [
        "p0", "p1", "p2", "p3", "p4", "p5", "user",
    ]  # fmt: skip
    assert [error.source for error in found.errors] == ["p3"]


def answered(messages: Any) -> str:
    """Say what was asked: the request names its run."""
    return str(messages[-1].text.split()[0])


def check_apart(trace: SupervisorTrace, count: int) -> None:
    found = trace.get_all_traces()
    assert len(found) == count
    for one in found:
        own = one.interactions[0].content
        reports = [i.content for i in one.interactions if i.sender == "p"]
        assert (one.status, reports) == ("completed", [own] * 3)


async def test_many_runs_at_once_are_kept_apart() -> None:
    trace = SupervisorTrace()
    built = team(trace, follow(["p"] * 3), p=answered)
    await asyncio.gather(*(built.ainvoke({"messages": [("user", f"r{n}")]}) for n in range(20)))
    check_apart(trace, 20)


def test_many_threads_at_once_are_kept_apart(tmp_path: Path) -> None:
    with SupervisorTrace(f"sqlite:///{tmp_path / 'traces.db'}") as trace:
        built = team(trace, follow(["p"] * 3), p=answered)
        threads = [
            threading.Thread(target=built.invoke, args=({"messages": [("user", f"r{n}")]},))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        check_apart(trace, 8)


async def test_an_orchestrator_is_traced_too() -> None:
    trace = SupervisorTrace()
    main = ScriptedChatModel(
        script=[
            {"tasks": given(("a", "reader", []), ("b", "writer", ["a"]))},
            {"next_agent": None, "user_input_needed": False, "answer": "All done."},
        ]
    )
    boss = agent("main").model_copy(update={"model": main})
    orchestrator = AgentOrchestrator(boss, events=trace.bus)
    orchestrator.register_subagent(agent("reader", "read it"))
    orchestrator.register_subagent(agent("writer", "wrote it"))
    await orchestrator.process("Read and write")
    found = only(trace)
    assert (found.name, found.status) == ("main", "completed")
    assert [i.content for i in found.interactions if i.recipient == "supervisor"] == [
        "Read and write", "read it", "wrote it",
    ]  # fmt: skip


async def test_supervised_children_are_traced_with_what_they_run(saver: Saver) -> None:
    trace = SupervisorTrace()
    built = team(trace, follow(["p"]), saver, p=done)
    async with AgentSupervisor(bus=trace.bus) as supervisor:
        child = await supervisor.spawn("kid", REQUEST, built)
        await supervisor.await_child(child)
    kid, run = trace.get_trace(child), next(t for t in trace.get_all_traces() if t.name == "Test")
    assert kid is not None
    assert (kid.name, kid.status, run.status) == ("kid", "completed", "completed")
    assert kid.thread_id == run.thread_id


@WAYS
async def test_calls_are_recorded_in_detail_and_only_there(way: str) -> None:
    @tool
    def look(place: str) -> str:
        """Look somewhere."""
        if place == "nowhere":
            raise ValueError("password=hunter2")
        return "a hall"

    def build(trace: SupervisorTrace) -> Any:
        script = [
            ScriptedReply(tool_calls=[("look", {"place": "town"})], usage=(10, 5)),
            ScriptedReply(tool_calls=[("look", {"place": "nowhere"})]),
        ]
        worker = create_agent(Priced(script=script), [look], name="p")
        options = {"prices": prices()}
        spec = Participant(runs=worker, description="Looks.")
        return team(trace, follow(["p"]), options=options, p=spec)

    detailed, basic = SupervisorTrace(level="detailed"), SupervisorTrace()
    for trace in (detailed, basic):
        await drive(build(trace), way, REQUEST, None)
    found = only(detailed)
    assert [(c.by, c.name, c.tool, c.error) for c in found.calls] == [
        ("p", "priced", False, None),
        ("p", "look", True, None),
        ("p", "priced", False, None),
        ("p", "look", True, "ValueError"),
    ]
    assert (found.calls[0].input_tokens, found.calls[0].output_tokens) == (10, 5)
    assert found.calls[0].cost_usd == "0.0000600"
    assert only(basic).calls == ()
    assert "hunter2" not in str(found.as_json())


def test_a_trace_tells_one_version_of_the_prompts_from_another() -> None:
    trace = SupervisorTrace()
    for prompt, name in (("Kind.", "p"), ("Kind.", "p"), ("Brief.", "p"), ("Kind.", "q")):
        team(trace, follow([]), options={"prompt": prompt}, **{name: done}).invoke(REQUEST)
    first, same, other, others = [found.versions for found in trace.get_all_traces()]
    assert first == same
    assert first.keys() == {"prompts", "instructions", "team"}
    assert [key for key in first if first[key] != other[key]] == ["instructions"]
    assert [key for key in first if first[key] != others[key]] == ["team"]


def test_a_run_that_has_a_name_gives_it_to_its_trace() -> None:
    trace = SupervisorTrace()
    name = uuid.uuid4()
    team(trace, follow(["p"]), p=done).invoke(REQUEST, {"run_id": name})
    assert only(trace).id == str(name)


def test_a_bus_of_ones_own_is_listened_to() -> None:
    bus = EventBus()
    trace = SupervisorTrace(bus=bus)
    team(trace, follow(["p"]), p=done).invoke(REQUEST)
    assert [e.type for e in only(trace).events] == [e.type.value for e in bus.history()]
    assert not bus.has_handler(WorkflowEventType.MODEL_CALLED)


@pytest.mark.parametrize(
    ("pragma", "why"),
    [("max_page_count=9", "full"), ("query_only=ON", "readonly")],
    ids=["full", "read-only"],
)
def test_a_file_that_cannot_be_written_harms_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any, pragma: str, why: str
) -> None:
    connect = files._connect  # pyright: ignore[reportPrivateUsage] - the one door to the file

    def broken(path: Path) -> Any:
        found = connect(path)
        found.execute(f"PRAGMA {pragma}")
        return found

    monkeypatch.setattr(files, "_connect", broken)
    with SupervisorTrace(f"sqlite:///{tmp_path / 'traces.db'}") as trace:
        built = team(trace, follow(["p"] * 20), p=answered)
        result = built.invoke({"messages": [("user", "x" * 300)]})
        assert result["status"] == "completed"
        trace.get_all_traces()
        assert why in (trace.fault() or "")
    assert sum("Traces cannot be written" in r.message for r in caplog.records) == 1


@WAYS
@pytest.mark.parametrize("text", ["\ud800 alone", "a\x00b", "'); DROP TABLE x; --", "🙂" * 9_000])
async def test_hostile_text_is_traced_like_any_other(way: str, text: str) -> None:
    trace = SupervisorTrace(level="detailed")

    def broken(messages: Any) -> str:
        raise RuntimeError(text)

    built = team(trace, follow(["p", "q"]), p=lambda ms: text, q=broken)
    await drive(built, way, {"messages": [("user", f"Say {text[1:]}")]}, None)
    found = only(trace)
    assert (found.status, len(found.decisions), len(found.errors)) == ("completed", 2, 1)
    assert len(found.interactions) == 6


def test_what_is_told_to_the_bus_by_name_belongs_to_the_run() -> None:
    """A `ResourceManager` is given the bus itself."""
    trace, other = SupervisorTrace(), SupervisorTrace()

    def wait(messages: Any) -> str:
        for bus in (trace.bus, other.bus, None):
            emit_from_context(WorkflowEventType.WAITING_FOR_CAPACITY, bus, state="waiting")
        return "done"

    team(trace, follow(["p"]), p=wait).invoke(REQUEST)
    assert [e.type for e in only(trace).events].count("waiting_for_capacity") == 2
    assert other.get_all_traces() == []


def test_a_graph_that_is_no_workflow_can_be_given_a_bus() -> None:
    """The command line gives any graph its bus in the config."""
    bus = EventBus()

    def node(state: Any) -> dict[str, Any]:
        emit_from_context(WorkflowEventType.WAITING_FOR_CAPACITY, state="waiting")
        return {}

    graph: Any = StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").compile()
    graph.invoke(REQUEST, {"configurable": {BUS: bus}})
    assert [event.type.value for event in bus.history()] == ["waiting_for_capacity"]
