"""Metrics: what OpenTelemetry's instrumentation measures, and what the event bus tells besides."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import RetryPolicy
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from asterism import (
    Budget,
    CircuitBreaker,
    EventBus,
    Participant,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
    instrument,
    resume,
)
from asterism.errors import ConfigurationError
from asterism.events import WorkflowEventType as Told
from asterism.observability.telemetry.metrics import WAITS, Instruments
from tests.asterism.observability.telemetry.conftest import Taken
from tests.asterism.observability.telemetry.teams import REQUEST, ask, caterer, fail, flaky, team
from tests.plans import drive, plan, task
from tests.teams import follow

WAYS = pytest.mark.parametrize("way", ["sync", "async"])


NAME = "asterism.breaker"


@WAYS
async def test_the_five_metrics_of_the_conventions_are_there(taken: Taken, way: str) -> None:
    await drive(team(follow(["cook"]), cook=caterer()), way, REQUEST, None)
    counts = {name: sum(n for _, n in points) for name, points in taken.metrics().items()}
    assert counts == {
        "gen_ai.invoke_workflow.duration": 1,
        "gen_ai.invoke_agent.duration": 1,
        "gen_ai.execute_tool.duration": 1,
        "gen_ai.client.operation.duration": 2,
        "gen_ai.client.token.usage": 4,
    }


@WAYS
async def test_decisions_are_counted_by_who_works_next(taken: Taken, way: str) -> None:
    inner = team(plan(task("t", "deep")), deep=lambda ms: "x")
    built = team(follow(["p", "crew", "p"]), taken.bus, p=lambda ms: "done", crew=inner)
    await drive(built, way, REQUEST, None)
    assert taken.metrics()["asterism.decisions"] == [
        ({"asterism.workflow.path": "/", "asterism.next": "p"}, 2),
        ({"asterism.workflow.path": "/", "asterism.next": "crew"}, 1),
        ({"asterism.workflow.path": "crew", "asterism.next": "plan"}, 1),
    ]


@WAYS
async def test_retries_are_counted_by_kind_of_failure(taken: Taken, way: str) -> None:
    await drive(team(follow(["late"]), taken.bus, late=flaky(2)), way, REQUEST, None)
    facts = {"asterism.participant.path": "late", "error.type": "api_call_failed"}
    assert taken.metrics()["asterism.retries"] == [(facts, 2)]
    again = [event.facts["attempts"] for event in taken.bus.history() if event.type == Told.RETRIED]
    assert again == [1, 2]


def test_retries_of_the_decider_are_counted(taken: Taken) -> None:
    left = [1]

    def decide(view: Any) -> SupervisorDecision:
        left[0] -= 1
        if left[0] == 0:
            raise ConnectionError("away")
        return SupervisorDecision(next_agent=None if view.reports else "p")

    policy = RetryPolicy(initial_interval=0.001, retry_on=ConnectionError)
    built = (
        SupervisorWorkflowBuilder("Party", finish="forward", events=taken.bus, retry=policy)
        .participants(p=Participant(runs=lambda ms: "done", description="p"))
        .with_manager(decide)
        .build()
    )
    assert built.invoke(REQUEST)["status"] == "completed"
    facts = {"asterism.participant.path": "supervisor", "error.type": "api_call_failed"}
    assert taken.metrics()["asterism.retries"] == [(facts, 1)]


def test_a_circuit_is_followed_through_its_states(taken: Taken) -> None:
    now = [0.0]
    breaker = CircuitBreaker(
        "hall", failure_threshold=2, recovery_timeout=5, registry={}, clock=lambda: now[0]
    )
    broken = [True]

    def hall(messages: Any) -> str:
        if broken[0]:
            raise ConnectionError("away")
        return "booked"

    spec = Participant(runs=hall, description="p", policies=[breaker])
    built = team(follow(["p"]), taken.bus, p=spec)

    def states() -> tuple[dict[str, float], float]:
        found = taken.metrics()
        turns = {str(a["asterism.breaker.state"]): n for a, n in found[f"{NAME}.transitions"]}
        return turns, found[f"{NAME}.state"][0][1]

    built.invoke(REQUEST)
    built.invoke(REQUEST)
    assert states() == ({"open": 1}, 2)
    built.invoke(REQUEST)  # refused
    now[0] = 6
    built.invoke(REQUEST)
    assert states() == ({"open": 2, "half_open": 1}, 2)
    now[0], broken[0] = 12, False
    built.invoke(REQUEST)
    assert states() == ({"open": 2, "half_open": 2, "closed": 1}, 0)
    told = [e.type.value for e in taken.bus.history() if e.type.value.startswith("breaker")]
    assert told == [
        "breaker_opened",
        "breaker_half_open",
        "breaker_opened",
        "breaker_half_open",
        "breaker_closed",
    ]


def test_budgets_that_warn_and_that_stop_are_counted(taken: Taken) -> None:
    built = (
        SupervisorWorkflowBuilder(
            "Party", finish="forward", budget=Budget(max_calls=1), events=taken.bus
        )
        .participants(cook=caterer())
        .with_manager(follow(["cook"]))
        .build()
    )
    built.invoke(REQUEST)
    facts = {"asterism.scope": "/", "asterism.measure": "calls"}
    assert taken.metrics()["asterism.budget.warnings"] == [(facts, 1)]
    assert taken.metrics()["asterism.budget.exceeded"] == [(facts, 1)]


def test_the_wait_for_a_person_is_measured(
    taken: Taken, saver: BaseCheckpointSaver[str], thread: RunnableConfig
) -> None:
    built = team(plan(task("a", "p"), task("b", "q")), taken.bus, saver, p=ask, q=ask)
    built.invoke(REQUEST, thread)
    from asterism import pending_requests

    first, second = pending_requests(built, thread)
    resume(built, thread, {first.id: "yes"})
    resume(built, thread, {second.id: "yes"})
    assert taken.metrics()["asterism.human.wait.duration"] == [({}, 2)]


def _minutes() -> Callable[[], datetime]:
    """A clock that goes on by a minute with each look."""
    passed = iter(range(10**6))
    return lambda: datetime(2030, 1, 1, tzinfo=UTC) + timedelta(minutes=next(passed))


def _waits(*events: tuple[Told, dict[str, Any]]) -> tuple[int, float]:
    """How many waits are measured, and their sum in minutes, a minute from event to event."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    bus = EventBus(clock=_minutes())
    bus.on(None, Instruments(meters))
    for what, facts in events:
        bus.emit(what, "thread", facts)
    data: Any = reader.get_metrics_data()
    meters.shutdown()
    assert bus.failures() == []
    points = [
        point
        for metric in (data.resource_metrics[0].scope_metrics[0].metrics if data else ())
        if metric.name == "asterism.human.wait.duration"
        for point in metric.data.data_points
    ]
    return (points[0].count, points[0].sum / 60) if points else (0, 0)


def _asked(path: str, request: str | None = None) -> tuple[Told, dict[str, Any]]:
    return Told.ASKED, {"path": path, **({"request": request} if request else {})}


def _answered(request: str) -> tuple[Told, dict[str, Any]]:
    return Told.ANSWERED, {"request": request}


@pytest.mark.parametrize(
    ("events", "found"),
    [
        pytest.param([_asked("p", "1"), _answered("1")], (1, 1), id="a participant asks"),
        pytest.param([_asked(""), _answered("1")], (1, 1), id="the supervisor asks"),
        pytest.param(
            [_asked("a/b", "1"), _asked("a", "1"), _answered("1")], (1, 2), id="through a team"
        ),
        pytest.param(
            [_asked("a"), _asked("a", "1"), _answered("1")], (1, 2), id="the supervisor of a team"
        ),
        pytest.param(
            [_asked("p", "1"), _asked("q", "2"), _answered("2"), _asked("p", "1"), _answered("1")],
            (2, 5),
            id="two, answered one by one",
        ),
        pytest.param([_answered("1")], (0, 0), id="asked in another process"),
        pytest.param(
            [_asked(""), (Told.ROUTED, {"next_agent": "p"}), _answered("1")],
            (0, 0),
            id="withdrawn by a new request",
        ),
        pytest.param(
            [_asked("p", str(n)) for n in range(WAITS + 1)] + [_answered("0")],
            (0, 0),
            id="forgotten among very many",
        ),
    ],
)
def test_a_wait_lasts_from_the_first_question_to_its_answer(
    events: list[tuple[Told, dict[str, Any]]], found: tuple[int, float]
) -> None:
    assert _waits(*events) == found


def test_prometheus_reads_percentiles_over_http() -> None:
    bus = EventBus()
    with instrument(bus, prometheus_port=0) as telemetry:
        url = telemetry.url or ""
        assert url.startswith("http://127.0.0.1:")
        team(follow(["cook", "bad"]), bus, cook=caterer(), bad=fail).invoke(REQUEST)
        page = httpx.get(url, timeout=30).text
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    agents = [line for line in lines if line.startswith("gen_ai_invoke_agent_duration_seconds_")]
    assert any("_bucket{" in line and 'le="0.1"' in line for line in agents)
    routed = [line for line in lines if line.startswith("asterism_decisions_total")]
    assert sorted(line.split('asterism_next="')[1].split('"')[0] for line in routed) == [
        "bad",
        "cook",
    ]
    assert "mulberry" not in page
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, timeout=30)


def test_a_provider_and_a_port_do_not_go_together() -> None:
    with pytest.raises(ConfigurationError, match="leave one out"):
        instrument(meter_provider=MeterProvider(), prometheus_port=0)


def test_a_missing_package_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith(
            ("asterism.observability.telemetry.spans", "asterism.observability.telemetry.metrics")
        ):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'asterism-agents\[otel\]'"):
        instrument()


def test_telemetry_that_is_off_is_not_even_imported() -> None:
    code = (
        "import sys; from asterism import EventBus, SupervisorWorkflowBuilder\n"
        "b = SupervisorWorkflowBuilder('P', model='offline', events=EventBus())\n"
        "w = b.participants(p=lambda ms: 'done').build()\n"
        "w.invoke({'messages': [('user', 'go')]})\n"
        "off = ('asterism.observability.telemetry', 'opentelemetry.instrumentation', "
        "'prometheus_client')\n"
        "sys.exit(any(module.startswith(off) for module in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=120)
    assert done.returncode == 0
