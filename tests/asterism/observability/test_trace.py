"""Traces: what is kept at which level, for how long, without secrets, and how it adds up."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.errors import GraphInterrupt

from asterism import SupervisorTrace, Trace, analyze_traces
from asterism.core.values import MASK
from asterism.errors import ConfigurationError, StorageError
from asterism.events import (
    EventBus,
    EventType,
    SupervisionEventType,
    WorkflowEventType,
)
from asterism.observability import TraceMetrics
from asterism.observability.from_events import RecordedEvent, Stored, active_seconds, read_trace

START = datetime(2026, 1, 1, tzinfo=UTC)
RUN = WorkflowEventType


class Clock:
    """A time that goes on by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def note(second: float, type: str, **facts: Any) -> RecordedEvent:
    return RecordedEvent(START + timedelta(seconds=second), type, facts)


def read(*notes: RecordedEvent) -> Trace:
    return read_trace(Stored(id="t", thread="", notes=notes))


# ---- levels

TOLD: list[tuple[EventType, dict[str, Any]]] = [
    (RUN.RUN_STARTED, {"workflow": "Shop", "resumed": False}),
    (RUN.ROUTED, {"next_agent": "clerk", "path": ""}),
    (RUN.TASK_STARTED, {"path": "clerk", "handoff": "1", "request": "r" * 5_000}),
    (RUN.MODEL_CALLED, {"path": "clerk", "model": "m", "seconds": 1.5, "input_tokens": 7}),
    (RUN.TOOL_CALLED, {"path": "clerk", "tool": "look", "error": "ValueError"}),
    (SupervisionEventType.HEARTBEAT, {"doing": "work"}),
    (RUN.TASK_FAILED, {"path": "clerk", "kind": "agent_failed", "error": "no", "handoff": "1"}),
    (RUN.RUN_ENDED, {"status": "completed", "reason": "done"}),
]


@pytest.mark.parametrize(
    ("level", "left_out", "calls"),
    [
        pytest.param("off", {kind.value for kind, _ in TOLD}, 0, id="off keeps nothing"),
        pytest.param(
            "errors",
            {"routed", "task_started", "model_called", "tool_called", "heartbeat"},
            0,
            id="errors keeps beginnings, ends and errors",
        ),
        pytest.param(
            "basic", {"model_called", "tool_called", "heartbeat"}, 0, id="basic keeps no calls"
        ),
        pytest.param("detailed", set[str](), 2, id="detailed keeps everything"),
    ],
)
def test_levels(level: Any, left_out: set[str], calls: int) -> None:
    trace = SupervisorTrace(level=level)
    for kind, facts in TOLD:
        trace.bus.emit(kind, "run", facts, run="run")
    kept = [kind.value for kind, _ in TOLD if kind.value not in left_out]
    found = trace.get_all_traces()
    assert [event.type for one in found for event in one.events] == kept
    assert sum(len(one.calls) for one in found) == calls
    assert [len(one.errors) for one in found] == ([] if level == "off" else [1])
    assert [one.status for one in found] == ([] if level == "off" else ["completed"])


def test_a_level_says_how_long_texts_are() -> None:
    def length(level: Any) -> int:
        trace = SupervisorTrace(level=level)
        trace.trace_agent_interaction("t", "a", "b", "x" * 10_000)
        (found,) = trace.get_all_traces()
        return len(found.interactions[0].content)

    assert (length("basic"), length("detailed")) == (200, 4_000)


def test_nothing_is_told_to_a_trace_that_is_off() -> None:
    trace = SupervisorTrace(level="off")
    assert not any(trace.bus.has_handler(kind) for kind in RUN)
    trace.start_trace("t")
    trace.trace_error("t", "no")
    trace.end_trace("t")
    assert trace.get_all_traces() == []


def test_errors_of_programs_are_kept_without_their_decisions() -> None:
    trace = SupervisorTrace(level="errors")
    trace.trace_decision("t", "go")
    trace.trace_agent_interaction("t", "a", "b", "c")
    assert trace.get_trace("t") is None
    trace.trace_error("t", ValueError("no"))
    found = trace.get_trace("t")
    assert found and [(e.type, e.message) for e in found.errors] == [("ValueError", "no")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": "loud"}, "the trace level is 'loud'; allowed: off, errors, basic, detailed"),
        ({"max_traces": 0}, "max_traces is 0; it must be a whole number of at least 1"),
        ({"max_traces": 1.5}, "max_traces is 1.5"),
        ({"max_bytes": True}, "max_bytes is True"),
        ({"max_age": float("nan")}, "max_age is nan; it must be a number of seconds"),
        ({"max_age": -1}, "max_age is -1"),
    ],
)
def test_a_setting_that_is_none_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        SupervisorTrace(**options)


def test_a_url_that_is_none_is_refused() -> None:
    with pytest.raises(StorageError, match="allowed: sqlite:///"):
        SupervisorTrace("mysql://x/y")


# ---- programs


def test_a_program_records_its_own() -> None:
    clock = Clock()
    trace = SupervisorTrace(clock=clock)
    trace.start_trace("t", name="Orders", customer="Ann", parts=["a", "b"])
    clock.later(1)
    trace.trace_decision("t", "ship", reason="paid")
    trace.trace_agent_interaction("t", "clerk", "driver", "Take it")
    trace.trace_error("t", TimeoutError("no driver"))
    trace.trace_error("t", "plain words")
    clock.later(2)
    trace.end_trace("t", status="failed", reason="nobody drives")
    found = trace.get_trace("t")
    assert found is not None
    assert (found.id, found.name, found.status, found.reason) == (
        "t", "Orders", "failed", "nobody drives",
    )  # fmt: skip
    assert (found.started_at, found.ended_at) == (START, START + timedelta(seconds=3))
    assert found.duration == 3.0
    assert found.facts == {"customer": "Ann", "parts": ["a", "b"]}
    assert [(d.decision, d.reason) for d in found.decisions] == [("ship", "paid")]
    assert [(i.sender, i.recipient, i.content) for i in found.interactions] == [
        ("clerk", "driver", "Take it")
    ]
    assert [(e.type, e.message) for e in found.errors] == [
        ("TimeoutError", "no driver"),
        ("error", "plain words"),
    ]
    assert [event.type for event in found.events] == [
        "run_started", "decision", "interaction", "error", "error", "run_ended",
    ]  # fmt: skip


def test_an_interrupt_is_no_error() -> None:
    trace = SupervisorTrace()
    trace.start_trace("t")
    trace.trace_error("t", GraphInterrupt([]))
    found = trace.get_trace("t")
    assert found and (found.errors, found.status) == ((), "running")


def test_a_trace_that_is_started_again_goes_on() -> None:
    clock = Clock()
    trace = SupervisorTrace(clock=clock)
    trace.start_trace("t", name="Orders")
    clock.later(1)
    trace.end_trace("t", status="waiting")
    waiting = trace.get_trace("t")
    assert waiting and (waiting.status, waiting.ended_at, waiting.duration) == (
        "waiting", None, None,
    )  # fmt: skip
    clock.later(100)
    trace.start_trace("t")
    clock.later(2)
    trace.end_trace("t")
    found = trace.get_trace("t")
    assert found and (found.status, found.name, found.duration) == ("completed", "Orders", 3.0)
    assert len(trace.get_all_traces()) == 1


def test_a_status_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="the status is 'ok'; allowed: completed, limit"):
        SupervisorTrace().end_trace("t", status="ok")


def test_what_is_told_before_the_start_is_kept() -> None:
    trace = SupervisorTrace()
    trace.trace_error("t", "early")
    found = trace.get_trace("t")
    assert found and (found.status, len(found.errors)) == ("running", 1)


def test_cleared_traces_are_gone() -> None:
    trace = SupervisorTrace()
    trace.start_trace("t")
    trace.clear_traces()
    assert (trace.get_all_traces(), trace.get_trace("t")) == ([], None)
    assert trace.get_trace_metrics().total == 0


def test_a_closed_trace_hears_no_more() -> None:
    bus = EventBus()
    with SupervisorTrace(bus=bus) as trace:
        bus.emit(RUN.RUN_STARTED, "thread", {}, run="a")
    bus.emit(RUN.RUN_STARTED, "thread", {}, run="b")
    assert [found.id for found in trace.get_all_traces()] == ["a"]


def test_what_belongs_to_no_run_of_this_bus_is_no_trace() -> None:
    trace = SupervisorTrace()
    trace.bus.emit(RUN.WAITING_FOR_CAPACITY, "thread", {})
    assert (trace.get_all_traces(), trace.bus.failures()) == ([], [])


# ---- retention


def ids(trace: SupervisorTrace) -> list[str]:
    return [found.id for found in trace.get_all_traces()]


def recorder(tmp_path: Any, kind: str, clock: Clock, **limits: Any) -> SupervisorTrace:
    url = "memory:" if kind == "memory" else f"sqlite:///{tmp_path / 'traces.db'}"
    return SupervisorTrace(url, clock=clock, **limits)


def one(
    trace: SupervisorTrace, clock: Clock, name: str, *, text: str = "", end: bool = True
) -> None:
    clock.later(1)
    trace.start_trace(name)
    trace.trace_decision(name, text)
    if end:
        trace.end_trace(name)


BOTH = pytest.mark.parametrize("kind", ["memory", "sqlite"])


@BOTH
@pytest.mark.parametrize(
    ("limits", "open_ones", "kept"),
    [
        pytest.param({"max_traces": 2}, "", "de", id="the oldest go"),
        pytest.param({"max_traces": 2}, "ab", "be", id="those that have ended go first"),
        pytest.param({"max_traces": 3}, "abcde", "cde", id="of the others the most silent go"),
        pytest.param({"max_age": 2.5}, "", "cde", id="the old go"),
        pytest.param({"max_age": 2.5}, "a", "cde", id="the old go although they have not ended"),
        pytest.param({"max_bytes": 3_000}, "", "de", id="the big go"),
        pytest.param(
            {"max_traces": None, "max_bytes": None}, "", "abcde", id="without limits all stay"
        ),
    ],
)
def test_retention(
    tmp_path: Any, kind: str, limits: dict[str, Any], open_ones: str, kept: str
) -> None:
    clock = Clock()
    if "max_bytes" in limits and limits["max_bytes"] and kind == "sqlite":
        limits = {"max_bytes": 1_200}  # notes take less room in a file
    with recorder(tmp_path, kind, clock, **limits) as trace:
        for name in "abcde":
            one(trace, clock, name, text="x" * 150, end=name not in open_ones)
            trace.get_trace(name)  # whatever waits is written
        assert ids(trace) == list(kept)


@BOTH
def test_a_trace_that_is_too_long_alone_loses_its_older_half(tmp_path: Any, kind: str) -> None:
    clock = Clock()
    with recorder(tmp_path, kind, clock, max_bytes=20_000) as trace:
        trace.start_trace("t", name="Long")
        for number in range(500):
            trace.trace_decision("t", f"step {number}")
        (found,) = trace.get_all_traces()
    assert found.name == "Long"
    assert found.decisions[-1].decision == "step 499"
    assert found.dropped > 0
    assert found.dropped + len(found.events) == 501


@BOTH
def test_traces_of_many_threads_add_up(tmp_path: Any, kind: str) -> None:
    with recorder(tmp_path, kind, Clock(), max_traces=None) as trace:

        def work(number: int) -> None:
            for place in range(20):
                name = f"{number}-{place}"
                trace.start_trace(name)
                trace.trace_decision(name, "go")
                trace.end_trace(name)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        found = trace.get_all_traces()
    assert len(found) == 160
    assert {(len(one.events), one.status) for one in found} == {(3, "completed")}


# ---- secrets and hostile text


@BOTH
def test_secrets_are_taken_out(tmp_path: Any, kind: str) -> None:
    with recorder(tmp_path, kind, Clock()) as trace:
        trace.start_trace(
            "t", name="sk-abcdefghijklmnop", api_key="hunter2", deep=[{"token": "abc"}]
        )
        trace.trace_agent_interaction("t", "a", "b", "x" * 180 + " ghp_abcdefghijklmnop1234567890")
        trace.trace_error("t", ValueError("password=hunter2"))
        trace.trace_decision("t", "go", reason="Bearer abcdef123")
        (found,) = trace.get_all_traces()
    assert "hunter2" not in str(found.as_json())
    assert "ghp_" not in str(found.as_json())
    assert (found.name, found.facts) == (MASK, {"api_key": MASK, "deep": [{"token": MASK}]})
    assert found.decisions[0].reason == f"Bearer {MASK}"
    if kind == "sqlite":
        assert all(b"hunter2" not in path.read_bytes() for path in tmp_path.iterdir())


HOSTILE = [
    pytest.param("\ud800 alone", id="lone surrogate"),
    pytest.param("a\x00b", id="null"),
    pytest.param("'); DROP TABLE asterism_traces; --", id="sql"),
    pytest.param("\u202egnol" + "🙂" * 5_000, id="long and strange"),
    pytest.param('{"status": "completed"}', id="json"),
    pytest.param("", id="empty"),
]


@BOTH
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_harms_nothing(tmp_path: Any, kind: str, text: str) -> None:
    with recorder(tmp_path, kind, Clock()) as trace:
        trace.start_trace("t", name=text, **{"x": text})
        trace.trace_decision("t", text, reason=text)
        trace.trace_agent_interaction("t", text, text, text)
        trace.trace_error("t", text)
        trace.end_trace("t", status="failed", reason=text)
        found = trace.get_trace("t")
        assert trace.fault() is None
    assert found is not None
    assert (found.status, len(found.events), len(found.errors)) == ("failed", 5, 1)
    assert (len(found.decisions), len(found.interactions)) == (1, 1)


def test_facts_that_are_no_json_become_it() -> None:
    trace = SupervisorTrace()
    trace.start_trace("t", thing=object(), when=START, odd=float("nan"))
    found = trace.get_trace("t")
    assert found and found.facts["when"].startswith("2026-01-01")


# ---- reading


@pytest.mark.parametrize(
    ("notes", "seconds"),
    [
        pytest.param([note(0, "run_started"), note(5, "run_ended")], 5, id="once"),
        pytest.param(
            [
                note(0, "run_started"), note(2, "run_ended", status="waiting"),
                note(100, "run_started"), note(103, "run_ended"),
            ],
            5,
            id="a person's time does not count",
        ),
        pytest.param(
            [note(0, "run_started"), note(2, "routed"), note(99, "run_started"),
             note(100, "run_ended")],
            3,
            id="what died worked to its last note",
        ),
        pytest.param(
            [note(0, "spawned"), note(1, "started"), note(3, "paused"), note(50, "resumed"),
             note(51, "started"), note(53, "killed")],
            6,
            id="a child that rests",
        ),
        pytest.param([note(0, "run_started"), note(-5, "run_ended")], 0, id="a clock set back"),
        pytest.param([note(0, "run_ended")], 0, id="the end alone"),
        pytest.param(
            [note(0, "run_started"), note(2, "run_ended"), note(9, "task_completed")], 2,
            id="what comes late",
        ),
    ],
)  # fmt: skip
def test_the_time_at_work(notes: list[RecordedEvent], seconds: float) -> None:
    assert active_seconds(notes) == seconds


def test_a_visit_that_goes_on_after_a_question_is_sent_once() -> None:
    found = read(
        note(0, "run_started", request="Plan it"),
        note(1, "task_started", path="team/venue", handoff="h", request="Find a hall"),
        note(2, "asked", path="team/venue", handoff="h", request="q", prompt="Where?"),
        note(3, "run_ended", status="waiting"),
        note(4, "run_started", resumed=True),
        note(4, "answered", request="q", answer="In town"),
        note(5, "task_started", path="team/venue", handoff="h", request="Find a hall"),
        note(6, "task_completed", path="team/venue", handoff="h", text="The Grand"),
        note(7, "asked", path="team", prompt="When?"),
        note(8, "answered", request="other"),
        note(9, "run_ended", status="completed", answer="All is planned"),
    )
    assert [(i.sender, i.recipient, i.content) for i in found.interactions] == [
        ("user", "supervisor", "Plan it"),
        ("team/supervisor", "team/venue", "Find a hall"),
        ("team/venue", "user", "Where?"),
        ("user", "team/venue", "In town"),
        ("team/venue", "team/supervisor", "The Grand"),
        ("team/supervisor", "user", "When?"),
        ("user", "team/supervisor", ""),
        ("supervisor", "user", "All is planned"),
    ]


@pytest.mark.parametrize(
    ("events", "status", "errors"),
    [
        ([], "running", 0),
        ([SupervisionEventType.PAUSED], "waiting", 0),
        ([SupervisionEventType.COMPLETED], "completed", 0),
        ([SupervisionEventType.FAILED], "failed", 1),
        ([SupervisionEventType.KILLED], "cancelled", 0),
    ],
)
def test_children_have_traces_of_their_own(
    events: list[SupervisionEventType], status: str, errors: int
) -> None:
    trace = SupervisorTrace()
    trace.bus.emit(SupervisionEventType.SPAWNED, "c1", {"name": "Kid", "thread_id": "th"})
    for event in events:
        trace.bus.emit(event, "c1", {"name": "Kid", "reason": "so it is"})
    found = trace.get_trace("c1")
    assert found is not None
    assert (found.name, found.thread_id, found.status) == ("Kid", "th", status)
    assert len(found.errors) == errors
    assert found.reason == ("so it is" if events else "")


# ---- analysis

FINISHED = read(note(0, "run_started", workflow="W"), note(4, "run_ended", status="completed"))
FAILED = read(note(0, "run_started"), note(1, "error", kind="ValueError"),
              note(2, "run_ended", status="failed"))  # fmt: skip
OPEN = read(note(0, "run_started"), note(1, "interaction", sender="a", recipient="b"))


def test_nothing_is_analyzed_without_a_division_by_zero() -> None:
    assert analyze_traces([]) == TraceMetrics(
        total=0, finished=0, unfinished=0, success_rate=None, average_duration=None,
        statuses={}, error_types={}, interactions={},
    )  # fmt: skip


def test_unfinished_traces_are_in_no_average() -> None:
    assert analyze_traces([OPEN]).success_rate is None
    assert analyze_traces(trace for trace in [FINISHED, FAILED, OPEN]) == TraceMetrics(
        total=3, finished=2, unfinished=1, success_rate=0.5, average_duration=3.0,
        statuses={"completed": 1, "failed": 1, "running": 1}, error_types={"ValueError": 1},
        interactions={"a -> b": 1}, durations=(2.0, 4.0),
    )  # fmt: skip


STATUSES = ["running", "waiting", "completed", "limit", "stalled", "failed", "cancelled"]


@given(st.lists(st.tuples(st.sampled_from(STATUSES), st.floats(0, 1e9), st.integers(0, 3))))
def test_an_analysis_adds_up(given_traces: list[tuple[str, float, int]]) -> None:
    traces = [
        replace(
            OPEN,
            status=status,
            ended_at=None if status in STATUSES[:2] else START,
            duration=None if status in STATUSES[:2] else seconds,
            errors=FAILED.errors * errors,
        )
        for status, seconds, errors in given_traces
    ]
    found = analyze_traces(traces)
    assert found.total == found.finished + found.unfinished == sum(found.statuses.values())
    assert sum(found.error_types.values()) == sum(errors for *_, errors in given_traces)
    assert (found.success_rate is None) == (found.average_duration is None) == (not found.finished)
    if found.finished:
        assert 0 <= (found.success_rate or 0) <= 1
        durations = [trace.duration for trace in traces if trace.duration is not None]
        assert min(durations) <= (found.average_duration or 0) * (1 + 1e-9)
        assert (found.average_duration or 0) <= max(durations) * (1 + 1e-9)
    assert analyze_traces(reversed(traces)).statuses == found.statuses


def test_a_trace_is_plain_json() -> None:
    import json

    plain: Callable[[Trace], Any] = lambda trace: json.loads(json.dumps(trace.as_json()))  # noqa: E731
    assert plain(FINISHED)["status"] == "completed"
    assert plain(FINISHED)["ended_at"] == "2026-01-01T00:00:04Z"
