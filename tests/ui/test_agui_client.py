"""AG-UI by its own client, as it is on npm: `make ui-test`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.asterism.apps.ui.teams import HERE

pytestmark = pytest.mark.browser
SCRIPT = Path(__file__).with_name("agui_client.mjs")


def call(packages: Path, address: str, team: str, answer: Any) -> Any:
    client = packages / "@ag-ui" / "client" / "dist" / "index.mjs"
    command = ["node", str(SCRIPT), str(client), address, team, json.dumps(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["outcome"] == {"type": "success"}
    assert found["failures"] == []
    return found


def test_the_unchanged_client_runs_a_team_and_answers_its_question(
    address: str, packages: Path
) -> None:
    found = call(packages, address, "event_planning", "Denver, 40 people, May 5th")
    (asked,) = found["asked"]["interrupts"]
    assert asked["message"].startswith("To go on I need the city")
    assert set(found["subagents"]) == {"venue", "catering", "budget", "logistics"}
    assert "search_venues" in found["calls"] and found["deltas"] > 100
    assert found["answer"].startswith("# Plan a party")


def test_the_unchanged_client_approves_a_call(address: str, packages: Path) -> None:
    found = call(packages, address, f"{HERE}:teller", {"type": "approve"})
    (asked,) = found["asked"]["interrupts"]
    assert asked["reason"] == "tool_approval"
    assert found["answer"].startswith("paid 5 to Ann")


def test_the_unchanged_client_follows_teams_within_teams(address: str, packages: Path) -> None:
    found = call(packages, address, f"{HERE}:nested", {"city": "Rome", "nights": 2})
    assert found["subagents"][:3] == ["team", "inner", "travel"]
    assert found["answer"].startswith("booked city='Rome'")
