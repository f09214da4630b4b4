"""Where a decision leads."""

from typing import Any

import pytest

from asterism.errors import RoutingError
from asterism.nodes.routing import focused_request, handoff_id, latest_reports, route, visit_in
from asterism.state import Decision

TEAM = ("venue", "food")


def decided(**fields: Any) -> Decision:
    defaults = {"next_agent": None, "user_input_needed": False, "user_prompt": None}
    return {**defaults, "instruction": None, **fields}  # type: ignore[typeddict-item]  # a table of parts


@pytest.mark.parametrize(
    ("decision", "target"),
    [
        pytest.param(None, "finish", id="no decision"),
        pytest.param(decided(), "finish", id="complete"),
        pytest.param(decided(user_input_needed=True), "human", id="a question"),
        pytest.param(decided(next_agent="venue"), "venue", id="a participant"),
        pytest.param(decided(next_agent="venue", user_input_needed=True), "human", id="both"),
        pytest.param({}, "finish", id="an empty edit"),
    ],
)
def test_where_a_decision_leads(decision: Any, target: str) -> None:
    assert route({"decision": decision}, TEAM) == target


def test_a_participant_is_asked_the_request_and_its_part() -> None:
    state = {
        "decision": decided(next_agent="venue", instruction="Find a hall", handoff_id="1"),
        "brief": ["A party", "Asked: When?\nAnswered: Tomorrow"],
        "iterations": 3,
    }
    visit = visit_in(state, "venue")
    assert visit["request"] == (
        "A party\n\nAsked: When?\nAnswered: Tomorrow\n\nYour part: Find a hall"
    )
    assert (visit["participant"], visit["round"]) == ("venue", 3)


def test_somebody_unknown_is_an_error_that_names_who_is_allowed() -> None:
    with pytest.raises(RoutingError, match=r"'cook'.*Allowed: venue, food, or None"):
        route({"decision": decided(next_agent="cook")}, TEAM)


def test_without_an_instruction_the_request_stands_alone() -> None:
    assert focused_request(["A party"], None) == "A party"
    assert focused_request(["It costs $5 and ${x}"], "Pay $5") == (
        "It costs $5 and ${x}\n\nYour part: Pay $5"
    )


def test_only_reports_on_the_latest_decision_may_answer_it() -> None:
    rounds = [1, 2, 3, 1, 2, 2]
    reports: Any = [{"id": str(place), "round": round} for place, round in enumerate(rounds)]
    assert [report["id"] for report in latest_reports(reports, 2)] == ["4", "5"]
    assert latest_reports(reports, 3) == latest_reports([], 1) == []


def reported(*ids: str) -> Any:
    return [{"id": name} for name in ids]


def test_a_handoff_has_the_same_name_until_it_is_edited_or_answered() -> None:
    asked = decided(next_agent="venue", instruction="a", handoff_id="1")
    name = handoff_id(asked, [])
    assert handoff_id(dict(asked), []) == name  # type: ignore[arg-type]  # plain JSON from a store
    others = [
        handoff_id({**asked, "instruction": "b"}, []),
        handoff_id({**asked, "next_agent": "food"}, []),
        handoff_id({**asked, "handoff_id": "2"}, []),
        handoff_id(asked, reported(name)),
        handoff_id(asked, reported("x", name)),
        handoff_id(asked, reported(name, f"{name}-1", "later")),
    ]
    assert len({name, *others}) == 7
