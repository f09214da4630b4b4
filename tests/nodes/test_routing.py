"""Where a decision leads."""

from typing import Any

import pytest

from asterism.core.decision import (
    AskUser,
    ContinueStopped,
    FinishRun,
    RaiseLimit,
    RunPlan,
    UndoWork,
    VisitNext,
    dump_decision,
    load_decision,
)
from asterism.core.plan import SubAgentTask
from asterism.errors import RoutingError
from asterism.nodes.routing import (
    handoff_id,
    latest_reports,
    route,
    task_handoff,
    visit_in,
    write_request,
)

TEAM = ("venue", "food")
TASK = {"task_id": "t", "agent_id": "venue", "task_description": "Find a hall"}


def decided(**fields: Any) -> dict[str, Any]:
    """A decision as older versions stored it, without a kind."""
    defaults = {"next_agent": None, "user_input_needed": False, "user_prompt": None}
    return {**defaults, "instruction": None, **fields}


def handoff_of(stored: dict[str, Any], reports: Any) -> str:
    decision = load_decision(stored)
    assert isinstance(decision, VisitNext | RunPlan)
    return handoff_id(decision, reports)


DECIDED = {"decision": decided(next_agent="venue")}


@pytest.mark.parametrize(
    ("decision", "target"),
    [
        pytest.param(None, "finish", id="no decision"),
        pytest.param(decided(), "finish", id="complete"),
        pytest.param(decided(user_input_needed=True), "human", id="a question"),
        pytest.param(decided(next_agent="venue"), "venue", id="a participant"),
        pytest.param(decided(next_agent="venue", user_input_needed=True), "human", id="both"),
        pytest.param({}, "finish", id="an empty edit"),
        pytest.param(decided(undo=True), "undo", id="taking back"),
        pytest.param(decided(tasks=[TASK]), "dispatch", id="tasks"),
        pytest.param(decided(undo=True, user_input_needed=True), "human", id="first a question"),
        pytest.param(decided(next_agent="venue", undo=True, tasks=[TASK]), "undo", id="then undo"),
        pytest.param(decided(next_agent="venue", tasks=[TASK]), "dispatch", id="then tasks"),
        pytest.param(decided(undo=False, tasks=[]), "finish", id="nothing of either"),
        *(
            pytest.param(dump_decision(decision), target, id=decision.kind)
            for decision, target in (
                (VisitNext(next_agent="venue"), "venue"),
                (RunPlan(tasks=[TASK]), "dispatch"),
                (AskUser(user_prompt="When?"), "human"),
                (RaiseLimit(user_prompt="More?", budget={}), "human"),
                (ContinueStopped(then=VisitNext(next_agent="venue")), "supervisor"),
                (UndoWork(), "undo"),
                (FinishRun(), "finish"),
            )
        ),
    ],
)
def test_where_a_decision_leads(decision: Any, target: str) -> None:
    assert route({"decision": decision}, TEAM) == target


def test_without_any_state_the_run_is_complete() -> None:
    assert route({}, TEAM) == "finish"


def test_a_visit_of_nothing_but_a_decision_is_the_first_and_asks_for_nothing() -> None:
    visit = visit_in(DECIDED, "venue")
    name = handoff_of(DECIDED["decision"], [])
    assert visit == {"id": name, "participant": "venue", "request": "", "round": 0}


def test_a_visit_has_another_name_than_the_report_on_its_decision() -> None:
    first = visit_in(DECIDED, "venue")["id"]
    state = {**DECIDED, "iterations": 2, "reports": [{"id": first, "round": 2}]}
    assert visit_in(state, "venue")["id"] == handoff_of(DECIDED["decision"], reported(first))
    assert visit_in(state, "venue")["id"] != first


def test_a_decision_that_goes_on_with_what_a_budget_stopped_resumes_the_visit() -> None:
    follows = decided(next_agent="venue", follow="done")
    visit = visit_in(DECIDED, "venue")
    assert visit_in({"decision": follows}, "venue") == {**visit, "resumes": True}


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
    with pytest.raises(RoutingError) as caught:
        route({"decision": decided(next_agent="cook")}, TEAM)
    assert str(caught.value) == (
        "The decision sends 'cook' to work, which is not a participant. "
        "Allowed: venue, food, or None to finish."
    )
    assert caught.value.said == ("cook",)


@pytest.mark.parametrize("name", ["", 0, False, 7], ids=repr)
def test_an_edited_name_that_is_no_name_is_an_error_too(name: Any) -> None:
    with pytest.raises(RoutingError, match=f"sends {name!r} to work") as caught:
        route({"decision": decided(next_agent=name)}, TEAM)
    assert caught.value.said == (str(name),)


def test_without_an_instruction_the_request_stands_alone() -> None:
    assert write_request(["A party"], None) == "A party"
    assert write_request(["It costs $5 and ${x}"], "Pay $5") == (
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
    name = handoff_of(asked, [])
    assert handoff_of(dict(asked), []) == name
    others = [
        handoff_of({**asked, "instruction": "b"}, []),
        handoff_of({**asked, "next_agent": "food"}, []),
        handoff_of({**asked, "handoff_id": "2"}, []),
        handoff_of(asked, reported(name)),
        handoff_of(asked, reported("x", name)),
        handoff_of(asked, reported(name, f"{name}-1", "later")),
    ]
    assert len({name, *others}) == 7


def test_tasks_have_the_same_name_in_whatever_order_their_fields_were_stored() -> None:
    one, other = {**TASK, "agent_id": "food"}, TASK
    turned = dict(reversed(TASK.items()))
    name = handoff_of(decided(tasks=[one, other]), [])
    assert handoff_of(decided(tasks=[one, turned]), []) == name
    others = [
        handoff_of(decided(tasks=[other, one]), []),
        handoff_of(decided(tasks=[one]), []),
        handoff_of(decided(tasks=[one, other], handoff_id="1"), []),
    ]
    assert len({name, *others}) == 4


def test_the_tasks_of_a_plan_have_names_of_their_own() -> None:
    task = SubAgentTask.model_validate(TASK)
    names = [
        task_handoff("1", task, "venue"),
        task_handoff("2", task, "venue"),
        task_handoff("1", task, "food"),
        task_handoff("1", task.model_copy(update={"task_description": "Look"}), "venue"),
        task_handoff("1", task.model_copy(update={"max_retries": 1}), "venue"),
    ]
    assert len(set(names)) == 5


def test_names_stay_what_they_are_for_they_are_stored() -> None:
    """A run that another version began has to find its reports again."""
    task = SubAgentTask.model_validate(TASK)
    assert (
        handoff_of(decided(next_agent="venue", instruction="a", handoff_id="1"), [])
        == "07121437e0b7009a"
    )
    assert handoff_of(decided(next_agent="venue", instruction="a"), []) == "6e1d4d1829a4e2a5"
    assert handoff_of(decided(tasks=[TASK], handoff_id="1"), []) == "9e11d82f82c294d8"
    assert task_handoff("1", task, "venue") == "868e0bd9f94e9ef0"
