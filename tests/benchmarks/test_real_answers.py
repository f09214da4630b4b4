"""Answers of a real model, played back: `python -m benchmarks.real --record` records them anew.

SmolLM2 with 135 million parameters wrote them, which is small enough to go wrong in every way.
"""

from collections.abc import Callable
from typing import Any

import pytest

from asterism.testing import Cassette
from benchmarks.real.__main__ import CASSETTES, RECORDED, Served

ENDS = {"server_ignores_tools": "failed", "structured": "limit"}


@pytest.mark.parametrize("scenario", RECORDED, ids=lambda scenario: scenario.__name__)
def test_a_run_on_recorded_answers_ends_as_it_did(scenario: Callable[[Served], Any]) -> None:
    name = scenario.__name__
    with Cassette(CASSETTES / f"{name}.json", mode="replay") as cassette:
        result = scenario(Served("http://127.0.0.1:9", cassette=cassette))
    assert result["status"] == ENDS[name]
    assert result["reason"]
