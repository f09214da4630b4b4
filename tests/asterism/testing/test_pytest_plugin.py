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

RUNS = """
import os, pathlib, pytest
cassette = pathlib.Path("cassettes", "test_trip", "test_cassette.json")

def run(*options):
    others = ["langsmith_plugin", "llmock", "asyncio", "anyio", "hypothesispytest", "xdist"]
    pytest.main([*(f"-pno:{name}" for name in [*others, "cacheprovider"]), *options])

run()
cassette.replace("first.json")
cassette.write_text(pathlib.Path("first.json").read_text())
os.environ["CI"] = "true"
print("----")
run("-k", "test_cassette")
cassette.unlink()
print("----")
run("-k", "test_cassette")
print("----")
run("-k", "test_cassette", "--asterism-record")
"""


def run(folder: Path, *arguments: str) -> str:
    """Run Python in a folder as another project would, and return what it says."""
    here = {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_ADDOPTS")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=here, capture_output=True, text=True
    )
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "test_trip.py").write_text(TESTS)
    return tmp_path


def test_the_fixtures_are_there_wherever_the_library_is_installed(project: Path) -> None:
    (project / "runs.py").write_text(RUNS)
    said, again, refused, anew = run(project, "runs.py").split("----")
    assert "1 failed, 4 passed, 1 error" in said
    assert "supervisor has made 2 calls, its script has 3 replies" in said
    assert "this is why" in said
    assert "1 passed" in again
    assert "nothing is recorded in CI" in refused
    assert "1 passed" in anew
    cassette = project / "cassettes" / "test_trip" / "test_cassette.json"
    assert cassette.read_text() == (project / "first.json").read_text()


def test_a_project_that_does_not_use_it_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\n"
        "def test_nothing_was_imported():\n"
        "    heavy = {'langchain_core', 'langgraph', 'pydantic', 'asterism.testing.cassette'}\n"
        "    assert 'asterism.testing.pytest_plugin' in sys.modules\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    plain = [
        option
        for name in ("langsmith_plugin", "llmock", "asyncio", "anyio", "hypothesispytest")
        for option in ("-p", f"no:{name}")
    ]
    assert "1 passed" in run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", *plain)
