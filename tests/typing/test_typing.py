"""What type checkers know of a workflow, and that nothing of it exists in a run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from asterism import Participant, SupervisorWorkflowBuilder, Workflow
from asterism.testing import ScriptedChatModel
from tests.teams import follow

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("user_script.txt")
MISTAKES = {
    number
    for number, line in enumerate(SCRIPT.read_text().splitlines(), 1)
    if line.endswith("# mistake")
}


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_mistakes_of_a_users_script_are_found_and_nothing_else(
    checker: str, tmp_path: Path
) -> None:
    """The script is checked by itself, with the strictest settings and none of ours."""
    script = tmp_path / "user_script.py"
    script.write_text(SCRIPT.read_text())
    if checker == "mypy":
        options = ["--strict", "--config-file", "", "--cache-dir", str(ROOT / ".mypy_cache_users")]
        command = ["mypy", *options, str(script)]
    else:
        paths = f'"include": ["{script}"], "extraPaths": ["{ROOT}"]'
        config = tmp_path / "pyrightconfig.json"
        config.write_text(f'{{"typeCheckingMode": "strict", {paths}}}')
        command = ["pyright", "--pythonpath", sys.executable, "-p", str(config)]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    found = re.findall(rf"{script.name}:(\d+)(?::\d+)?(?: -|:) error", done.stdout)
    assert {int(number) for number in found} == MISTAKES, done.stdout + done.stderr


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
