"""The plugin: its fixtures work in a project that only installed the library, and cost nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
from asterism import Participant, SupervisorWorkflowBuilder
from asterism.testing import ScriptedChatModel

def build(model):
    star = SupervisorWorkflowBuilder("Trip", model=model)
    return star.participants(trains=Participant(description="Prices tickets."))

def test_team(asterism_team):
    tester = asterism_team(build, {"supervisor": ["trains", None, "$120"], "trains": ["$120"]})
    tester.run("To Rome")
    tester.assert_route("trains")

def test_left_over(asterism_team):
    asterism_team(build, {"supervisor": [None, "Hello", "never said"]}).run("Hi")

def test_agent(asterism_agent):
    asterism_agent(Participant(description="A"), ["Hello"]).ask("Hi")

def test_failing_says_only_why(asterism_agent):
    asterism_agent(Participant(description="A"), ["Hello"])
    assert 1 == 2, "this is why"

def test_cassette(asterism_cassette):
    replies = [] if asterism_cassette.replays else ["Hello"]
    model = asterism_cassette.wrap(ScriptedChatModel(script=replies))
    assert model.invoke("Hi").text == "Hello"
"""


def run(folder: Path, *options: str, **env: str) -> str:
    """Run pytest in a folder as another project would, and return what it says."""
    here = {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_ADDOPTS")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        command, cwd=folder, env={**here, **env}, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope=function\n")
    (tmp_path / "test_trip.py").write_text(TESTS)
    return tmp_path


def test_the_fixtures_are_there_wherever_the_library_is_installed(project: Path) -> None:
    said = run(project)
    assert "1 failed, 4 passed, 1 error" in said
    assert "supervisor has made 2 calls, its script has 3 replies" in said
    assert "this is why" in said
    cassette = project / "cassettes" / "test_trip" / "test_cassette.json"
    written = cassette.read_text()

    assert "1 passed" in run(project, "-k", "test_cassette", CI="true")
    cassette.unlink()
    assert "nothing is recorded in CI" in run(project, "-k", "test_cassette", CI="true")
    said = run(project, "-k", "test_cassette", "--asterism-record", CI="true")
    assert "1 passed" in said
    assert cassette.read_text() == written


def test_a_project_that_does_not_use_it_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n"
        "def test_nothing_was_imported():\n"
        "    heavy = {'langchain_core', 'langgraph', 'pydantic', 'asterism.testing'}\n"
        "    assert 'asterism.pytest_plugin' in sys.modules\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    plain = [
        option
        for name in ("langsmith_plugin", "llmock", "asyncio", "anyio", "hypothesispytest")
        for option in ("-p", f"no:{name}")
    ]
    assert "1 passed" in run(tmp_path, *plain)
