"""What type checkers know of a workflow, and that nothing of it exists in a run."""

import json
import re
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

from asterism import Participant, SupervisorWorkflowBuilder, Workflow
from asterism.testing import ScriptedChatModel
from tests.teams import follow

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("user_script.py")


def test_mistakes_of_a_users_script_are_found_and_nothing_else(tmp_path: Path) -> None:
    """The strictest settings and none of ours; mypy checks the script where it checks all."""
    script, lines = tmp_path / "user_script.py", SCRIPT.read_text().splitlines()
    script.write_text(SCRIPT.read_text())
    settings = {
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": False,
        "include": [str(script)],
        "extraPaths": [str(ROOT)],
    }
    config = tmp_path / "pyrightconfig.json"
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    found = {int(n) for n in re.findall(rf"{script.name}:(\d+):\d+ - error", done.stdout)}
    marked = {number for number, line in enumerate(lines, 1) if "# type: ignore[" in line}
    assert found == marked, done.stdout + done.stderr


class Trip(BaseModel):
    city: str


def test_types_change_nothing_in_a_run() -> None:
    model = ScriptedChatModel(script=[{"city": "Rome"}])
    builder = SupervisorWorkflowBuilder("Trip", model=model, finish=Trip)
    helper = Participant(runs=lambda messages: "-", description="Helps.")
    workflow = builder.participants(helper=helper).with_manager(follow(["helper"])).build()
    assert type(workflow) is Workflow
    assert isinstance(Workflow[Trip], object)
    result = workflow.invoke({"messages": [("user", "Rome")]})
    assert type(result) is dict
    assert result["structured_response"] == Trip(city="Rome")
    assert type(workflow.copy()) is Workflow
