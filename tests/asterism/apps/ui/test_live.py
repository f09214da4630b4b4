"""What a run does right now, as it is folded from streams and events."""

from datetime import UTC, datetime
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from asterism.apps.ui.run_manager import TEXT_SHOWN, Live
from asterism.events import WorkflowEvent, WorkflowEventType


def event(kind: str, path: str = "", **facts: Any) -> WorkflowEvent:
    return WorkflowEvent(
        sequence=1,
        type=WorkflowEventType(kind),
        source="t",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        facts={"path": path, **facts},
    )


def working(live: Live) -> dict[str, tuple[str, str]]:
    return {who: (w["doing"], w["text"]) for who, w in live.as_json()["working"].items()}


def test_a_visit_is_told_from_its_beginning_to_its_end() -> None:
    live = Live()
    live.task((), {"name": "supervisor", "input": {}})
    assert working(live) == {"supervisor": ("decides", "")}
    live.task((), {"name": "supervisor", "result": {}})
    live.event(event("task_started", "venue"))
    assert working(live) == {"venue": ("begins", "")}
    live.task(("venue",), {"name": "tools", "input": {"tool_call": {"name": "search"}}})
    assert working(live) == {"venue": ("calls search", "")}
    live.task(("venue",), {"name": "tools", "input": [{"name": "book", "args": {}, "id": "1"}]})
    assert working(live) == {"venue": ("calls book", "")}
    live.task(("venue",), {"name": "tools", "input": [HumanMessage("no call")]})
    assert working(live) == {"venue": ("calls book", "")}
    live.message(("venue",), (AIMessageChunk(content="The ", id="1"), {}))
    live.message(("venue",), (AIMessageChunk(content="hall", id="1"), {}))
    assert working(live) == {"venue": ("writes", "The hall")}
    live.message(("venue",), (AIMessageChunk(content="Anew", id="2"), {}))
    assert working(live) == {"venue": ("writes", "Anew")}
    live.event(event("task_completed", "venue"))
    assert working(live) == {}


@pytest.mark.parametrize("end", ["task_completed", "task_failed", "asked"])
def test_visits_end_in_every_way(end: str) -> None:
    live = Live()
    live.event(event("task_started", "venue"))
    live.event(event("task_started", "food"))
    live.event(event(end, "venue"))
    assert list(working(live)) == ["food"]


def test_what_happens_deeper_down_is_told_of_the_participant_above() -> None:
    live = Live()
    live.event(event("task_started", "team"))
    live.event(event("task_started", "team/venue"))
    assert working(live) == {"team": ("sends venue", "")}
    live.event(event("task_completed", "team/venue"))
    live.message(("team", "venue"), (AIMessageChunk(content="x", id="1"), {}))
    assert working(live) == {"team": ("writes", "x")}


def test_what_nobody_writes_right_now_is_not_shown() -> None:
    live = Live()
    live.message(("venue",), (AIMessageChunk(content="late", id="1"), {}))
    live.message((), (AIMessage("whole"), {"participant": "supervisor"}))
    assert working(live) == {}
    live.task((), {"name": "finish", "input": {}})
    live.message((), (AIMessageChunk(content="The answer", id="2"), {"participant": "supervisor"}))
    assert working(live) == {"supervisor": ("writes", "The answer")}
    live.message((), (AIMessageChunk(content="!" * 9000, id="2"), {"participant": "supervisor"}))
    assert len(working(live)["supervisor"][1]) == TEXT_SHOWN


def test_what_is_to_be_noted_is_said() -> None:
    live = Live()
    live.event(event("budget_warning"))
    assert live.as_json()["note"] == "90 % of a budget is spent"
    live.event(event("routed"))
    assert live.as_json()["note"] == "90 % of a budget is spent"
