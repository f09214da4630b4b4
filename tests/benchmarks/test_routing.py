"""The evaluation of routing runs offline and tells true numbers."""

import pytest

from asterism import SupervisorDecision, SupervisorView, SupervisorWorkflowBuilder
from benchmarks.routing import Team, by_keywords, by_model, judge, main

TEAM: Team = {
    "prompt": None,
    "participants": {"cook": "Cooks dinner.", "driver": "Drives people home."},
    "keywords": {"cook": ["dinner"], "driver": ["home", "drive"]},
    "requests": [
        {"asks": "Cook us a dinner", "who": ["cook"]},
        {"asks": "Dinner, then drive us home!", "who": ["driver", "cook"]},
        {"asks": "The dinner was good; now take us away", "who": ["driver"]},
        {"asks": "Well?", "who": ["person"]},
    ],
}


def test_each_request_is_judged_by_who_worked() -> None:
    found = [(case.got, case.right, case.reached) for case in judge(TEAM, by_keywords)]
    assert found == [
        (["cook"], True, True),
        (["cook", "driver"], True, True),
        (["cook"], False, False),
        (["person"], True, True),
    ]


def test_those_who_worked_in_vain_make_a_request_wrong_but_reached() -> None:
    offline = judge(TEAM, by_model("offline"))
    assert [case.got for case in offline][1] == ["cook", "driver"]
    assert [(case.right, case.reached) for case in offline][3] == (False, False)


def test_a_run_that_fails_is_wrong() -> None:
    def broken(team: Team) -> SupervisorWorkflowBuilder:
        def decide(view: SupervisorView) -> SupervisorDecision:
            raise RuntimeError("no")

        return SupervisorWorkflowBuilder("Routing", finish="forward").with_manager(decide)

    assert [
        (c.got, c.right) for c in judge({**TEAM, "requests": TEAM["requests"][:1]}, broken)
    ] == [(None, False)]


def test_the_whole_evaluation_prints_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    found = main([])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(found) == 5
    for line, ((decider, team), judged) in zip(lines[1:], found.items(), strict=True):
        right = sum(case.right for case in judged) / len(judged)
        reached = sum(case.reached for case in judged) / len(judged)
        said = f"{decider} {team} {right:.0%} {reached:.0%} {len(judged)}"
        assert " ".join(line.split()) == said
        assert 0.3 < right <= reached
