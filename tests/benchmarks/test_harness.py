"""The harness checks what it measures, and compares within rounds."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cases import HAND, all_cases
from benchmarks.instructions import CONTENDERS
from benchmarks.one import measure
from benchmarks.rounds import middle, ratio

SIZES: dict[str, dict[str, Any]] = {
    "turns": {"turns": 3, "participants": 2},
    "many": {"conversations": 3, "turns": 2},
    "fan": {"participants": 3},
    "build": {"participants": 2},
}


@pytest.mark.parametrize("contender", HAND)
@pytest.mark.parametrize("workload", SIZES)
def test_the_work_is_done(contender: str, workload: str) -> None:
    for stored in (False, True):
        found = measure(contender, workload, stored=stored, **SIZES[workload])
        assert found["cpu"] > 0
        assert bool(found["bytes"]) == (stored and workload != "build")


@pytest.mark.parametrize("contender", CONTENDERS)
def test_models_are_called(contender: str) -> None:
    shapes: dict[str, Any] = {"turns": {"turns": 3}, "chat": {"messages": 3}}
    for stored in (False, True):
        for workload, sizes in shapes.items():
            found = measure(contender, workload, stored=stored, participants=2, **sizes)
            assert bool(found["bytes"]) == stored


@pytest.mark.parametrize("contender", HAND)
def test_a_conversation_goes_on_where_it_stopped(contender: str, tmp_path: Path) -> None:
    for workload in ("pause", "resume"):
        assert measure(contender, workload, stored=True, folder=str(tmp_path), turns=3)["bytes"]


def test_missing_answers_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(team: object, thread: str) -> int:
        return 2

    monkeypatch.setattr("benchmarks.contenders.loop.talk", talk)
    with pytest.raises(AssertionError, match="2 answers, not 3"):
        measure("loop", "turns", turns=3, participants=2)


def test_ratios_are_taken_within_rounds() -> None:
    ours = [{"cpu": 1.0}, {"cpu": 10.0}, None]
    base = [{"cpu": 2.0}, {"cpu": 20.0}, {"cpu": 1.0}]
    assert ratio(ours, base, "cpu") == 0.5
    assert middle(ours, "cpu") == 5.5


def test_titles_tell_cases_apart() -> None:
    titles = [case.title for case in all_cases(HAND)]
    assert len(titles) == len(set(titles))
