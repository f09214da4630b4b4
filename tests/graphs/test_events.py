"""Events of workflows: each thing that happens is told once, in order."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import interrupt

from asterism import (
    CircuitBreaker,
    Participant,
    ResourceManager,
    SupervisorDecision,
    SupervisorWorkflowBuilder,
)
from asterism.core.interrupts import resume
from asterism.core.run_types import WorkflowInput
from asterism.events import Event, EventBus
from asterism.limits.budgets import Budget
from asterism.testing import ScriptedChatModel
from tests.graphs.test_budgets import worker
from tests.graphs.test_usage import prices
from tests.plans import drive, plan, task
from tests.teams import follow

Saver = BaseCheckpointSaver[str]
REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
WAYS = pytest.mark.parametrize("way", ["sync", "async"])


def team(bus: EventBus | None, decide: Any, saver: Any = None, **members: Any) -> Any:
    specs = {
        name: m if isinstance(m, Participant) else Participant(runs=m, description=name)
        for name, m in members.items()
    }
    return (
        SupervisorWorkflowBuilder("Test", finish="forward", events=bus, prices=prices())
        .participants(**specs)
        .with_manager(decide)
        .build(checkpointer=saver)
    )


def fail(messages: Any) -> str:
    raise RuntimeError("out of order")


def told(bus: EventBus) -> list[tuple[str, str]]:
    """The events by type and by whom they are about."""
    return [
        (event.type.value, str(event.facts.get("path") or event.facts.get("next_agent") or ""))
        for event in bus.history()
    ]


@WAYS
async def test_visits_are_told_from_the_decision_to_the_report(
    saver: Saver, thread: RunnableConfig, way: str
) -> None:
    bus = EventBus()
    built = team(bus, follow(["p", "q"]), saver, p=lambda ms: "done", q=fail)
    await drive(built, way, REQUEST, thread)
    assert told(bus) == [
        ("run_started", ""),
        ("routed", "p"), ("task_started", "p"), ("task_completed", "p"),
        ("routed", "q"), ("task_started", "q"), ("task_failed", "q"),
        ("run_ended", ""),
    ]  # fmt: skip
    assert {event.source for event in bus.history()} == {thread["configurable"]["thread_id"]}
    assert bus.history()[-2].facts["kind"] == "agent_failed"
    assert [event.sequence for event in bus.history()] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len({event.run for event in bus.history()}) == 1


@WAYS
async def test_a_workflow_in_a_workflow_tells_the_same_bus(way: str) -> None:
    bus = EventBus()
    inner = team(None, plan(task("t", "deep")), deep=lambda ms: "done")
    built = team(bus, follow(["team"]), team=Participant(runs=inner, description="t"))
    await drive(built, way, REQUEST, None)
    assert told(bus) == [
        ("run_started", ""),
        ("routed", "team"), ("task_started", "team"), ("routed", "team"),
        ("task_started", "team/deep"), ("task_completed", "team/deep"), ("task_completed", "team"),
        ("run_ended", ""),
    ]  # fmt: skip


def test_questions_and_answers_are_told(saver: Saver, thread: RunnableConfig) -> None:
    bus = EventBus()

    def ask(messages: Any) -> str:
        return f"told {interrupt({'prompt': 'which?'})}"

    def decide(view: Any) -> SupervisorDecision:
        if not view.reports:
            return SupervisorDecision(next_agent="p")
        asked = any(m.type == "human" and m.text == "because" for m in view.messages)
        return SupervisorDecision(
            next_agent=None, user_input_needed=not asked, user_prompt=None if asked else "why?"
        )

    built = team(bus, decide, saver, p=ask)
    built.invoke(REQUEST, thread)
    resume(built, thread, "this")
    resume(built, thread, "because")
    asked = [(e.type.value, e.facts.get("prompt")) for e in bus.history() if e.type.value in (
        "asked", "answered",
    )]  # fmt: skip
    assert asked == [
        ("asked", "which?"), ("answered", None), ("asked", "why?"), ("answered", None),
    ]  # fmt: skip


@WAYS
async def test_budgets_warn_once_and_then_are_exceeded(way: str) -> None:
    bus = EventBus()
    _, spec = worker(20)
    built = (
        SupervisorWorkflowBuilder(
            "Test", finish="forward", prices=prices(), budget=Budget(max_calls=10), events=bus
        )
        .participants(p=spec)
        .with_manager(follow(["p"]))
        .build()
    )
    await drive(built, way, REQUEST, None)
    kinds = [event.type.value for event in bus.history()]
    assert kinds == [
        "run_started", "routed", "task_started", "budget_warning", "task_failed",
        "budget_exceeded", "run_ended",
    ]  # fmt: skip
    assert bus.history()[3].facts == {"scope": "/", "measure": "calls", "percent": "90"}


def test_an_open_circuit_is_told_once() -> None:
    bus = EventBus()
    breaker = CircuitBreaker("hall", failure_threshold=2, registry={})
    spec = Participant(runs=fail, description="p", policies=[breaker])
    team(bus, follow(["p"] * 4), p=spec).invoke(REQUEST)
    opened = [event for event in bus.history() if event.type.value == "breaker_opened"]
    assert [event.facts for event in opened] == [{"service": "hall"}]


@WAYS
async def test_a_wait_for_capacity_is_told_to_the_bus_of_the_run(way: str) -> None:
    bus, manager = EventBus(), ResourceManager("hall", requests_at_once=1, registry={})
    held = manager.reserve(1)

    @bus.on("waiting_for_capacity")
    def admit(event: Event) -> None:
        if event.facts["state"] == "waiting":
            held.release()

    model = manager.wrap(ScriptedChatModel(script=["done"]))
    spec = Participant(model=model, prompt="p", description="p")
    await drive(team(bus, follow(["p"]), p=spec), way, REQUEST, None)
    waits = [event.facts for event in bus.history() if event.type.value == "waiting_for_capacity"]
    assert [(facts["service"], facts["state"]) for facts in waits] == [
        ("hall", "waiting"), ("hall", "admitted"),
    ]  # fmt: skip


def test_a_handler_that_fails_harms_nobody() -> None:
    bus = EventBus()

    @bus.on("task_completed")
    def broken(event: Event) -> None:
        raise ValueError("no")

    result = team(bus, follow(["p"]), p=lambda ms: "done").invoke(REQUEST)
    assert result["status"] == "completed"
    assert [failure.error for failure in bus.failures()] == ["ValueError: no"]
