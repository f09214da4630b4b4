"""AG-UI by its own client, as it is on npm: `make ui-test`."""

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
SCRIPT = Path(__file__).with_name("agui_client.mjs")


def test_the_unchanged_client_runs_a_team_and_answers_its_question(
    address: str, packages: Path
) -> None:
    client = packages / "@ag-ui" / "client" / "dist" / "index.mjs"
    command = ["node", str(SCRIPT), str(client), address, "event_planning"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (asked,) = found["asked"]["interrupts"]
    assert asked["message"].startswith("To go on I need the city")
    assert found["outcome"] == {"type": "success"}
    assert found["failures"] == []
    assert set(found["subagents"]) == {"venue", "catering", "budget", "logistics"}
    assert "search_venues" in found["calls"] and found["deltas"] > 100
    assert found["answer"].startswith("# Plan a party")
