"""`asterism new`: the project that it makes runs and passes its tests."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asterism.apps.cli.app import app

ASTERISM = Path(sys.executable).with_name("asterism")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "HOME": str(cwd), "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env=environ, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_new_project_runs_and_passes_its_tests(tmp_path: Path) -> None:
    made = run(ASTERISM, "new", "my-team", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    project = tmp_path / "my-team"
    assert json.loads((project / "langgraph.json").read_text())["graphs"] == {
        "my-team": "./team.py:graph"
    }
    tested = run(sys.executable, "-m", "pytest", "-q", cwd=project)
    assert tested.returncode == 0, tested.stdout
    request = "Price tickets to Rome for 2 travellers"
    priced = run(ASTERISM, "run", "team:create_team", request, cwd=project)
    assert priced.returncode == 0 and "$240" in priced.stdout, priced.stderr
    by_path = run(ASTERISM, "run", "my-team/team.py:create_team", request, cwd=tmp_path)
    assert by_path.returncode == 0 and "$240" in by_path.stdout, by_path.stderr
    booked = run(ASTERISM, "run", "team:create_team", request.replace("Price", "Book"), cwd=project)
    assert booked.returncode == 3 and "book_tickets(city='Rome'" in booked.stdout
    assert "? bookings: May these tools be called: book_tickets" in booked.stderr


def test_commands_stand_in_groups_and_say_their_version() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).stdout
    places = [shown.index(f"─ {group} ─") for group in ("Run", "Look", "Databases", "Workers")]
    assert places == sorted(places) and "--install-completion" in shown
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == version("asterism-agents")
    assert (
        "there is no file nosuch.py" in CliRunner().invoke(app, ["run", "nosuch.py:x", "hi"]).stderr
    )


@pytest.mark.parametrize(
    ("name", "words"), [("my team", "letters, digits"), ("taken", "there already")]
)
def test_a_project_that_cannot_be_made_is_refused(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    result = CliRunner().invoke(app, ["new", name])
    assert result.exit_code == 1
    assert words in result.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "notes.txt"]
