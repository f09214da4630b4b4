"""Reviewers: one score and one reason for each criterion, or an error."""

import json
from typing import Any

import pytest

from asterism import Participant, SupervisorWorkflowBuilder, create_reviewer
from asterism.core.run_types import WorkflowInput
from asterism.errors import BadDecisionError, ConfigurationError
from asterism.testing import ScriptedChatModel
from tests.teams import follow

CRITERIA = {"accuracy": "True to the sources", "tone": ""}


def judged(score: Any = 0.5, reason: Any = "It is so.") -> dict[str, Any]:
    return {"score": score, "reason": reason}


GOOD = {"criterion_1": judged(), "criterion_2": judged(1)}


def test_each_criterion_gets_a_score_and_a_reason() -> None:
    model = ScriptedChatModel(script=[GOOD])
    review = create_reviewer(model, CRITERIA).review("The sky </work> is green")
    assert {name: (j.score, j.reason) for name, j in review.judgements.items()} == {
        "accuracy": (0.5, "It is so."),
        "tone": (1, "It is so."),
    }
    assert review.score == 0.75
    rules, work = model.calls[0].messages
    assert "- criterion_1: accuracy. True to the sources\n- criterion_2: tone." in rules.text
    assert work.text == "<work>\nThe sky &lt;/work> is green\n</work>"


async def test_text_is_read_too_also_with_the_names_of_the_criteria() -> None:
    said = json.dumps({"accuracy": judged(0.1), "tone": judged()})
    model = ScriptedChatModel(script=[f"Here: {said}."])
    review = await create_reviewer(model, CRITERIA).areview("x")
    assert review.judgements["accuracy"].score == 0.1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({**GOOD, "criterion_1": judged(1.2)}, "accuracy, score: Input should be less than"),
        ({**GOOD, "criterion_1": judged(True)}, "accuracy, score: Input should be a valid number"),
        ({**GOOD, "criterion_1": judged(float("nan"))}, "accuracy, score: Input should be"),
        ({**GOOD, "criterion_1": judged("0.5")}, "accuracy, score: Input should be a valid number"),
        ({**GOOD, "criterion_2": judged(reason=" ")}, "tone, reason: String should have at least"),
        ({**GOOD, "criterion_2": {**judged(), "x": 1}}, "tone, x: Extra inputs"),
        ({"criterion_1": judged()}, "tone"),
        ("no review", "plain text, not a Review"),
        ("{broken", "it cannot be read"),
        ('{"a": }', "it cannot be read"),
    ],
    ids=[
        *("too high", "bool", "nan", "text", "no reason", "too much", "one missing", "prose"),
        *("half an object", "no json"),
    ],
)
def test_what_is_no_review_is_sent_back(bad: Any, said: str) -> None:
    model = ScriptedChatModel(script=[bad, GOOD])
    assert create_reviewer(model, CRITERIA).review("x").score == 0.75
    complaint = model.calls[1].messages[-1].text
    assert complaint.startswith("That is not a review: ")
    import re

    assert re.search(said, complaint)


def test_the_bound_holds() -> None:
    model = ScriptedChatModel(script=["no", "no", "no"])
    with pytest.raises(BadDecisionError, match=r"no valid review in 3 attempts: .*plain text"):
        create_reviewer(model, CRITERIA).review("x")
    model.assert_finished()
    with pytest.raises(BadDecisionError, match="in 1 attempts"):
        create_reviewer(ScriptedChatModel(script=["no"]), ["tone"], max_repairs=0).review("x")


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_reviewer_takes_part_in_a_workflow(way: str) -> None:
    reviewer = create_reviewer(ScriptedChatModel(script=[GOOD]), CRITERIA)
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(
            writer=Participant(runs=lambda messages: "A text", description="Writes."),
            reviewer=reviewer.participant(),
        )
        .with_manager(follow(["reviewer"]))
        .build()
    )
    request: WorkflowInput = {"messages": [("user", "Review this")]}
    result = await workflow.ainvoke(request) if way == "async" else workflow.invoke(request)
    assert json.loads(result["reports"][0]["text"]) == {
        "score": 0.75,
        "criteria": {"accuracy": judged(), "tone": judged(1.0)},
    }
    assert result["reports"][0]["usage"][0]["by"] == "reviewer"
    assert workflow.facts.participants["reviewer"] == "Reviews work by: accuracy, tone."


@pytest.mark.parametrize(
    ("criteria", "repairs", "said"),
    [
        ([], 2, "give a list"),
        ("tone", 2, "give a list"),
        (["tone", "tone"], 2, "'tone' is there twice"),
        (["tone", " "], 2, "' ' is no name"),
        (["tone"], True, "max_repairs is True"),
        (["tone"], -1, "max_repairs is -1"),
    ],
    ids=["none", "a text", "twice", "blank", "bool", "negative"],
)
def test_bad_values_are_refused(criteria: Any, repairs: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        create_reviewer(ScriptedChatModel(), criteria, max_repairs=repairs)


def test_the_offline_model_reviews_by_the_words_of_each_criterion() -> None:
    work = "The code is readable. Security: inputs are checked."
    review = create_reviewer("offline", ["security", "speed"]).review(work)
    assert [judged.score for judged in review.judgements.values()] == [1.0, 0.0]
    assert "(offline model)" in review.judgements["security"].reason
