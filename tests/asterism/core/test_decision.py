"""The stored decision: what is written is read again, edits hold, older versions load."""

import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asterism import open_checkpointer
from asterism.core.decision import (
    AskUser,
    ContinueStopped,
    Decision,
    FinishRun,
    RaiseLimit,
    RunPlan,
    UndoWork,
    VisitNext,
    apply_edit,
    decision_from_model,
    dump_decision,
    load_decision,
    visit_as_plan,
)
from asterism.core.plan import SubAgentTask
from asterism.core.supervisor_decision import AnswerDecision, PlanDecision, SupervisorDecision
from asterism.errors import BadDecisionError
from tests.decisions import FOLDER, WAITING, on_thread, run_to_the_end, waiting

NAMES = ("venue", "food")
TASK = {"task_id": "t", "agent_id": "venue", "task_description": "Find a hall"}
WRITTEN_TASK = {**TASK, "execution_mode": "parallel"}
BUDGET = {"scope": "", "owner": "", "measure": "calls", "limit": "2", "spent": "2", "asks": True}
VISIT = VisitNext(next_agent="venue", instruction="Find a hall", handoff_id="1")
RAISE = RaiseLimit(user_prompt="More?", budget=BUDGET, then=VISIT, handoff_id="2")

WORDS = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9)
    .map(lambda text: text.strip() or "x")
    .filter(lambda text: text.casefold() not in ("null", "none"))  # no text, as models write it
)
MAYBE = st.none() | WORDS
INPUTS = st.none() | st.dictionaries(WORDS, st.dictionaries(WORDS, WORDS), min_size=1, max_size=2)
WORK: st.SearchStrategy[Decision] = st.builds(
    VisitNext,
    next_agent=st.sampled_from(NAMES),
    instruction=MAYBE,
    resumes=st.booleans(),
    inputs=INPUTS,
    handoff_id=MAYBE,
) | st.builds(
    RunPlan,
    tasks=st.just([WRITTEN_TASK]),
    resumes=st.booleans(),
    inputs=INPUTS,
    handoff_id=MAYBE,
)
ENDS: st.SearchStrategy[Decision] = st.builds(
    FinishRun,
    status=st.sampled_from([None, "limit", "stalled", "failed"]),
    reason=MAYBE,
    answer=MAYBE,
    fields=st.none() | st.dictionaries(WORDS, st.integers()),
    recorded=st.booleans(),
    handoff_id=MAYBE,
)
ASKS: st.SearchStrategy[Decision] = st.builds(AskUser, user_prompt=WORDS, handoff_id=MAYBE)
DECISIONS: st.SearchStrategy[Decision] = st.recursive(
    WORK | ENDS | ASKS,
    lambda then: st.one_of(
        st.builds(
            RaiseLimit,
            user_prompt=WORDS,
            budget=st.just(BUDGET),
            then=st.none() | then,
            handoff_id=MAYBE,
        ),
        st.builds(ContinueStopped, then=st.none() | then, handoff_id=MAYBE),
        st.builds(UndoWork, then=st.none() | then, handoff_id=MAYBE),
    ),
    max_leaves=3,
)


@given(DECISIONS)
def test_what_is_written_is_read_again(decision: Decision) -> None:
    stored = json.loads(json.dumps(dump_decision(decision)))
    assert load_decision(stored) == decision
    assert dump_decision(decision) == stored
    assert stored["kind"] == decision.kind
    assert {"next_agent", "user_input_needed", "user_prompt", "instruction"} <= stored.keys()
    assert stored["user_input_needed"] is (decision.kind in ("ask", "raise_limit"))


@given(DECISIONS)
def test_an_edit_of_nothing_changes_nothing(decision: Decision) -> None:
    stored = dump_decision(decision)
    assert apply_edit(dict(reversed(stored.items())), stored, NAMES) == decision


@given(DECISIONS)
def test_a_new_handoff_is_all_that_a_decision_gets_elsewhere(decision: Decision) -> None:
    """An edit with a kind needs nothing that stands in state."""
    edited = dump_decision(apply_edit(dump_decision(decision), None, NAMES))

    def unnamed(stored: dict[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in stored.items() if k not in ("handoff_id", "then")}
        return {**kept, "then": unnamed(stored["then"])} if "then" in stored else kept

    assert unnamed(edited) == unnamed(dump_decision(decision))
    assert edited["handoff_id"] not in (None, decision.handoff_id)


@pytest.mark.parametrize("nothing", [None, {}], ids=str)
def test_no_decision_is_none(nothing: Any) -> None:
    assert load_decision(nothing) is None


OLD = {"next_agent": None, "user_input_needed": False, "user_prompt": None, "instruction": None}
OLD_VISIT = {**OLD, "next_agent": "venue", "instruction": "Find a hall", "handoff_id": "1"}
OLD_QUESTION = {**OLD, "user_input_needed": True, "user_prompt": "More?", "handoff_id": "2"}


@pytest.mark.parametrize(
    ("stored", "decision"),
    [
        pytest.param(OLD_VISIT, VISIT, id="visit"),
        pytest.param({**OLD, "tasks": [TASK]}, RunPlan(tasks=[TASK]), id="plan"),
        pytest.param(OLD_QUESTION, AskUser(user_prompt="More?", handoff_id="2"), id="question"),
        pytest.param({**OLD_QUESTION, "budget": BUDGET, "then": OLD_VISIT}, RAISE, id="limit"),
        pytest.param({**OLD_VISIT, "follow": "now"}, ContinueStopped(then=VISIT), id="goes on"),
        pytest.param(
            {**OLD_VISIT, "follow": "done"},
            VisitNext(next_agent="venue", instruction="Find a hall", resumes=True, handoff_id="1"),
            id="has gone on",
        ),
        pytest.param(
            {**OLD, "undo": True, "follow": "now"},
            ContinueStopped(then=UndoWork()),
            id="an undo goes on",
        ),
        pytest.param(
            {**OLD, "undo": True, "then": OLD_QUESTION},
            UndoWork(then=AskUser(user_prompt="More?", handoff_id="2")),
            id="undo",
        ),
        pytest.param(OLD, FinishRun(), id="finish"),
        pytest.param(
            {**OLD, "answer": "42", "fields": {"n": 42}, "told": True},
            FinishRun(answer="42", fields={"n": 42}, recorded=True),
            id="answer",
        ),
        pytest.param(
            {**OLD, "end": {"status": "limit", "reason": "no more"}},
            FinishRun(status="limit", reason="no more"),
            id="end",
        ),
    ],
)
def test_a_decision_of_an_older_version_loads(stored: Any, decision: Decision) -> None:
    assert load_decision(stored) == decision
    assert load_decision(dump_decision(decision)) == decision
    assert apply_edit(stored, stored, NAMES) == decision


def test_a_kind_of_a_later_version_is_refused_by_name() -> None:
    with pytest.raises(BadDecisionError, match=r"is 'vote'\. Allowed: visit, plan, ask, raise_l"):
        load_decision({"kind": "vote", "next_agent": None})


STORED = dump_decision(VISIT)
UNDONE = dump_decision(UndoWork(then=AskUser(user_prompt="When?"), handoff_id="3"))
LIMITED = dump_decision(RAISE)


@pytest.mark.parametrize(
    ("stored", "edit", "decision"),
    [
        pytest.param(None, {"next_agent": "VENUE"}, VisitNext(next_agent="venue"), id="a name"),
        pytest.param(STORED, {"next_agent": None}, FinishRun(), id="nobody"),
        pytest.param(STORED, {"next_agent": "none"}, FinishRun(), id="nobody in words"),
        pytest.param(STORED, {}, FinishRun(), id="empty"),
        pytest.param(
            STORED,
            {**STORED, "user_input_needed": True, "user_prompt": "When?"},
            AskUser(user_prompt="When?", handoff_id="1"),
            id="the fields tell another kind than the one left",
        ),
        pytest.param(
            STORED,
            {"kind": "ask", "next_agent": "venue", "user_prompt": "When?"},
            AskUser(user_prompt="When?"),
            id="another kind holds",
        ),
        pytest.param(
            STORED,
            {**STORED, "tasks": [TASK]},
            RunPlan(tasks=[WRITTEN_TASK], handoff_id="1"),
            id="tasks win over a name",
        ),
        pytest.param(STORED, {**STORED, "kind": "finish"}, FinishRun(handoff_id="1"), id="finish"),
        pytest.param(
            STORED,
            {**STORED, "follow": "done"},
            VisitNext(next_agent="venue", instruction="Find a hall", resumes=True, handoff_id="1"),
            id="a field by its older name",
        ),
        pytest.param(
            UNDONE,
            {**UNDONE, "then": {"next_agent": "food"}},
            UndoWork(then=VisitNext(next_agent="food"), handoff_id="3"),
            id="what comes after an undo",
        ),
        pytest.param(
            UNDONE,
            {**UNDONE, "next_agent": "food"},
            VisitNext(next_agent="food", handoff_id="3"),
            id="a visit in place of an undo",
        ),
        pytest.param(UNDONE, {**UNDONE, "undo": False}, FinishRun(handoff_id="3"), id="no undo"),
        pytest.param(
            LIMITED,
            {**LIMITED, "user_prompt": "How many?"},
            RaiseLimit(user_prompt="How many?", budget=BUDGET, then=VISIT, handoff_id="2"),
            id="the words of a question",
        ),
        pytest.param(
            LIMITED,
            {**LIMITED, "budget": None},
            AskUser(user_prompt="More?", handoff_id="2"),
            id="a plain question in place of a limit",
        ),
        pytest.param(
            LIMITED,
            {**LIMITED, "kind": "continue"},
            ContinueStopped(then=VISIT, handoff_id="2"),
            id="go on without a question",
        ),
        pytest.param(
            {**OLD_VISIT, "follow": "now"},
            {**OLD_VISIT, "follow": "now", "instruction": "Else"},
            ContinueStopped(then=VisitNext(next_agent="venue", instruction="Else", handoff_id="1")),
            id="what goes on, as an older version has it",
        ),
        pytest.param(
            {**OLD_QUESTION, "budget": BUDGET, "then": {**OLD_VISIT, "next_agent": "gone"}},
            {
                **OLD_QUESTION,
                "user_prompt": "How many?",
                "budget": BUDGET,
                "then": {**OLD_VISIT, "next_agent": "gone"},
            },
            RaiseLimit(
                user_prompt="How many?",
                budget=BUDGET,
                then=VisitNext(next_agent="gone", instruction="Find a hall", handoff_id="1"),
                handoff_id="2",
            ),
            id="what is left alone is not checked",
        ),
    ],
)
def test_an_edit_is_followed(stored: Any, edit: dict[str, Any], decision: Decision) -> None:
    def known(given: Any) -> Any:
        """Take out the handoffs that were made up just now."""
        if not isinstance(given, dict):
            return given
        kept = {key: known(value) for key, value in given.items()}
        if len(kept.get("handoff_id") or "") == 32:
            del kept["handoff_id"]
        return kept

    assert known(dump_decision(apply_edit(edit, stored, NAMES))) == dump_decision(decision)


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        ({"next_agnet": "food"}, "'next_agnet', which a decision has not. Allowed: answer, budget"),
        ({"next_agent": "cook"}, "'cook', which is not a participant. Allowed: venue, food"),
        ({"kind": "vist", "next_agent": "food"}, "kind of the decision is 'vist'. Allowed: visit"),
        ({"kind": ["visit"]}, r"kind of the decision is \['visit'\]"),
        ({"kind": "plan", "tasks": []}, "tasks: Field required"),
        ({"kind": "visit", "instruction": "x"}, "next_agent: Field required"),
        ({"kind": "ask"}, "user_prompt is required"),
        ({"kind": "raise_limit", "user_prompt": "More?"}, "budget: Field required"),
        ({"kind": "undo", "then": 3}, "is 3. Allowed: an object of fields"),
        ({"kind": "undo", "then": {"next_agent": "cook"}}, "'cook', which is not a participant"),
        ({"kind": "finish", "status": "fine"}, "status: Input should be"),
        ({"end": {"status": "fine"}}, "status: Input should be"),
        ({"end": 3}, "end: "),
        ({"end": {"next_agnet": "food"}}, "'next_agnet', which a decision has not"),
        ({"follow": "soon"}, "follow: Input should be 'now' or 'done'"),
        ({"answer": 3}, "answer: Input should be a valid string"),
        ({"next_agent": "food", "inputs": 3}, "inputs: "),
        ({"tasks": [{**TASK, "agent_id": "cook"}]}, "goes to 'cook'"),
        ("venue", "is 'venue'. Allowed: an object of fields"),
    ],
    ids=str,
)
def test_an_edit_that_cannot_be_followed_is_refused_by_name(edit: Any, fault: str) -> None:
    with pytest.raises(BadDecisionError, match=fault):
        apply_edit(edit, dump_decision(FinishRun()), NAMES)


@pytest.mark.parametrize(
    ("said", "decision"),
    [
        (
            SupervisorDecision(next_agent="venue", instruction="x"),
            VisitNext(next_agent="venue", instruction="x"),
        ),
        (SupervisorDecision(next_agent=None), FinishRun()),
        (
            SupervisorDecision(next_agent="venue", user_input_needed=True, user_prompt="When?"),
            AskUser(user_prompt="When?"),
        ),
        (
            SupervisorDecision(next_agent=None, tasks=[SubAgentTask.model_validate(TASK)]),
            RunPlan(tasks=[WRITTEN_TASK]),
        ),
        (
            AnswerDecision(next_agent=None, answer="42", fields={"n": 42}),
            FinishRun(answer="42", fields={"n": 42}),
        ),
        (AnswerDecision(next_agent=None, fields={"n": 42}), FinishRun()),
        (PlanDecision(next_agent="venue", answer="42"), VisitNext(next_agent="venue")),
        (
            PlanDecision(next_agent=None, failure="agent_failed: key sk-1234567890"),
            FinishRun(status="failed", reason="agent_failed: key [redacted]"),
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_a_decider_said_becomes_a_decision(
    said: SupervisorDecision, decision: Decision
) -> None:
    assert decision_from_model(said) == decision


def test_a_visit_to_one_without_a_node_is_a_plan() -> None:
    visit = VisitNext(next_agent="new", resumes=True, inputs={"new": {"a": 1}}, handoff_id="1")
    task = {"task_id": "new", "agent_id": "new", "task_description": "Do your part."}
    assert visit_as_plan(visit, NAMES) == RunPlan(
        tasks=[task], resumes=True, inputs={"new": {"a": 1}}, handoff_id="1"
    )
    assert visit_as_plan(VISIT, NAMES) is VISIT
    assert visit_as_plan(UndoWork(), NAMES) == UndoWork()


DUMPS = sorted(FOLDER.glob("decisions_v*.sql.gz"))


@pytest.mark.parametrize("kind", WAITING)
@pytest.mark.parametrize("dump", DUMPS, ids=lambda path: path.name.split(".")[0])
def test_runs_that_an_earlier_version_stored_go_on(dump: Path, kind: str, tmp_path: Path) -> None:
    path, thread = tmp_path / "threads.db", on_thread(kind)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(gzip.decompress(dump.read_bytes()).decode())
    with open_checkpointer(f"sqlite:///{path}") as saver:
        workflow = WAITING[kind][0](saver)
        stored = workflow.get_state(thread).values["decision"]
        assert load_decision(stored) is not None
        workflow.update_state(thread, {"decision": stored})
        workflow.update_state(thread, {"messages": [("user", "By the way")]})
        assert json.dumps(workflow.get_state(thread).values["decision"]) == json.dumps(stored)
        assert run_to_the_end(workflow, thread) == run_to_the_end(waiting(kind))
