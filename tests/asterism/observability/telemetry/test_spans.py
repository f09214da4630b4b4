"""Spans: a run is a tree of the workflow, its participants, their models and tools."""

import json
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import interrupt

from asterism import EventBus, Participant, resume
from asterism.observability.telemetry import instrument
from asterism.testing import ScriptedChatModel
from asterism.testing.scripted_model import ScriptedReply
from tests.asterism.observability.telemetry.conftest import Taken
from tests.asterism.observability.telemetry.teams import (
    REQUEST,
    SECRET,
    ask,
    caterer,
    fail,
    flaky,
    team,
)
from tests.plans import drive, plan, task
from tests.teams import follow

WAYS = pytest.mark.parametrize("way", ["sync", "async"])
COOKING: dict[str, Any] = {
    "chat scripted": {},
    "execute_tool price": {},
    "chat scripted #2": {},
}


@WAYS
async def test_a_routed_visit_is_an_agent_with_its_models_and_tools(taken: Taken, way: str) -> None:
    built = team(follow(["cook", "clerk"]), cook=caterer(), clerk=lambda ms: "noted")
    await drive(built, way, REQUEST, None)
    assert taken.tree() == {
        "invoke_workflow Party": {"invoke_agent cook": COOKING, "invoke_agent clerk": {}}
    }


@WAYS
async def test_the_visits_of_a_plan_are_parts_of_the_run(taken: Taken, way: str) -> None:
    inner = team(plan(task("t", "deep"), task("u", "cook")), deep=lambda ms: "x", cook=caterer())
    tasks = plan(task("a", "one"), task("b", "late", "a"), task("c", "crew", "b"))
    built = team(tasks, one=lambda ms: "1", late=flaky(2), crew=inner)
    result = await drive(built, way, REQUEST, None)
    assert [report["status"] for report in result["reports"]] == ["ok", "ok", "ok"]
    tree = taken.tree()
    assert tree["invoke_workflow Party"].pop("invoke_agent crew") == {
        "invoke_agent deep": {},
        "invoke_agent cook": COOKING,
    }
    assert tree == {
        "invoke_workflow Party": {
            "invoke_agent one": {},
            "!invoke_agent late": {},
            "!invoke_agent late #2": {},
            "invoke_agent late": {},
        }
    }
    root = next(span for span in taken.spans if span.parent is None)
    assert all(root.start_time <= span.start_time for span in taken.spans)  # type: ignore[operator]
    assert all(span.end_time <= root.end_time for span in taken.spans)  # type: ignore[operator]


@WAYS
async def test_a_failure_is_an_error_of_its_participant_alone(taken: Taken, way: str) -> None:
    built = team(plan(task("a", "bad"), task("b", "good")), bad=fail, good=lambda ms: "fine")
    await drive(built, way, REQUEST, None)
    tree = taken.tree()
    assert set(tree) == {"invoke_workflow Party"}
    assert set(tree["invoke_workflow Party"]) == {"!invoke_agent bad", "invoke_agent good"}
    bad = next(span for span in taken.spans if span.name == "invoke_agent bad")
    assert (bad.attributes or {})["error.type"] == "ValueError"


@WAYS
@pytest.mark.parametrize("decide", [follow(["p"]), plan(task("t", "p"))], ids=["route", "plan"])
async def test_a_question_is_no_error(
    taken: Taken,
    saver: BaseCheckpointSaver[str],
    thread: RunnableConfig,
    way: str,
    decide: Any,
) -> None:
    built = team(decide, saver=saver, p=ask)
    await drive(built, way, REQUEST, thread)
    assert taken.tree() == {"invoke_workflow Party": {"invoke_agent p": {}}}
    taken.exporter.clear()
    if way == "sync":
        resume(built, thread, "yes")
        assert taken.tree() == {"invoke_workflow Party": {"invoke_agent p": {}}}
    of = {(span.attributes or {})["gen_ai.conversation.id"] for span in taken.spans}
    assert of == {thread["configurable"]["thread_id"]}


@WAYS
async def test_a_question_of_a_tool_is_no_error(
    taken: Taken, saver: BaseCheckpointSaver[str], thread: RunnableConfig, way: str
) -> None:
    def book(city: str) -> str:
        """Book a hall."""
        return f"booked, {interrupt({'prompt': SECRET})}"

    replies = [ScriptedReply(tool_calls=[("book", {"city": "Rome"})])]
    spec = Participant(model=ScriptedChatModel(script=replies), tools=[book], description="Books.")
    await drive(team(follow(["p"]), saver=saver, p=spec), way, REQUEST, thread)
    assert taken.tree() == {
        "invoke_workflow Party": {
            "invoke_agent p": {"chat scripted": {}, "execute_tool book": {}},
        }
    }


def test_a_team_in_a_team_is_named_by_who_takes_part(taken: Taken) -> None:
    inner = team(follow(["crew"]), crew=caterer())
    team(follow(["outer"]), outer=inner).invoke(REQUEST)
    assert taken.tree() == {
        "invoke_workflow Party": {"invoke_agent outer": {"invoke_agent crew": COOKING}}
    }
    said = {s.name: (s.attributes or {}).get("gen_ai.agent.description") for s in taken.spans}
    assert said["invoke_agent crew"] == "Cooks."


def test_no_prompt_and_no_answer_is_in_the_telemetry(
    taken: Taken, saver: BaseCheckpointSaver[str], thread: RunnableConfig
) -> None:
    route = follow(["cook", "bad", "late", "p"])
    team(route, taken.bus, saver, cook=caterer(), bad=fail, late=flaky(1), p=ask).invoke(
        REQUEST, thread
    )
    taken.tree()
    told = [json.loads(span.to_json()) for span in taken.spans]
    assert len(told) == 9
    assert "mulberry" not in json.dumps(told)
    assert "mulberry" not in json.dumps(taken.metrics())


def test_a_user_can_ask_for_prompts_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    with instrument(tracer_provider=tracers):
        team(follow(["cook", "bad"]), cook=caterer(), bad=fail).invoke(REQUEST)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    asked = (spans["chat scripted"].attributes or {})["gen_ai.input.messages"]
    assert SECRET in str(asked)
    assert spans["invoke_agent bad"].status.description == SECRET


def test_what_is_closed_tells_nothing_more(taken: Taken) -> None:
    built = team(follow(["p"]), bus := EventBus(), p=lambda ms: "done")
    telemetry = instrument(bus)  # the spans are on already, and stay with who turned them on
    telemetry.close()
    telemetry.close()
    built.invoke(REQUEST)
    assert set(taken.tree()) == {"invoke_workflow Party"}
