"""Crashes at random moments: nothing finished is lost, skipped or repeated.

`make torture` kills 300 times; here, some 30 times. Every step boundary is in
`graphs/test_turns.py`.
"""

import logging
import os
from pathlib import Path

import pytest

from tests.crashing import story

KILLS = int(os.environ.get("ASTERISM_KILLS", "30"))

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


def test_nothing_finished_is_lost_or_repeated(tmp_path: Path) -> None:
    kills, seed, turns = 0, 0, 0
    while kills < KILLS:
        told = story(tmp_path / str(seed), seed)
        assert told.lost == [], f"seed {seed}"
        assert told.repeated == [], f"seed {seed}"
        kills += told.kills
        turns += len(told.finished)
        seed += 1
    said = f"{kills} kills on {seed} threads, {turns} turns: nothing lost, nothing repeated"
    logging.getLogger(__name__).warning(said)
