"""Threads as tests: what each step sends to models is compared, and nothing runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from asterism import open_checkpointer
from asterism.apps.cli.app import app
from asterism.errors import ConfigurationError
from asterism.testing import TeamChatModel
from asterism.testing.change_check.recordings import (
    Recording,
    read_recording,
    record_thread,
    replay_thread,
)
from tests.asterism.testing.change_check.teams import LOG, STOPS, create_team

pytest_plugins = ["pytester"]
HERE = __name__
SECRET = "sk-proj-Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8"

as_it_is = create_team(TeamChatModel(scripts={}))
kind = create_team(TeamChatModel(scripts={}), prompt="Be kind.")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a thread that is over, and one that waits."""
    path = tmp_path_factory.mktemp("stored") / "threads.db"
    with open_checkpointer(f"sqlite:///{path}") as saver:
        for name in ("done", "approval"):
            team: Any = create_team(TeamChatModel(scripts=STOPS[name].scripts)).build(saver)
            request: Any = {"messages": [("user", f"A party, with the key {SECRET}")]}
            team.invoke(request, {"configurable": {"thread_id": name}})
    return path


def recorded(path: Path, thread: str = "done") -> Recording:
    LOG.clear()
    with open_checkpointer(f"sqlite:///{path}") as saver:
        found = record_thread(as_it_is.build(), saver, thread, graph=f"{HERE}:as_it_is")
    assert LOG == []
    return Recording.model_validate_json(found.model_dump_json())


@pytest.mark.parametrize("thread", ["done", "approval"])
def test_a_recording_is_replayed_by_the_same_team_without_a_difference(
    stored: Path, thread: str
) -> None:
    recording = recorded(stored, thread)
    assert SECRET not in recording.model_dump_json()
    assert sum(len(steps) for steps in recording.steps.values()) >= 2
    assert replay_thread(as_it_is.build(), recording) == []


def test_the_first_prompt_that_differs_is_shown(stored: Path) -> None:
    (change,) = replay_thread(kind.build(), recorded(stored))
    assert (change.place, change.kind, "+Be kind." in change.diff) == ("supervisor", "prompt", True)


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.thread.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(ConfigurationError, match="Record the thread anew"):
        read_recording(tmp_path / "x.thread.json")


def test_the_command_records_and_pytest_replays(stored: Path, pytester: pytest.Pytester) -> None:
    named = ["--graph", f"{HERE}:as_it_is", "--to", str(pytester.path), "--db", str(stored)]
    result = CliRunner().invoke(app, ["record", "done", "approval", *named])
    assert (result.exit_code, result.output) == (0, result.output), result.output
    quiet = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
    flags = [*quiet, "--asterism-replay", "--asterism-graph", f"{HERE}:as_it_is"]
    assert pytester.runpytest(*quiet).parseoutcomes() == {}
    pytester.runpytest(*flags).assert_outcomes(passed=2)
    refused = pytester.runpytest(*flags[:-2])
    refused.assert_outcomes(failed=2)
    refused.stdout.fnmatch_lines("*is not served here*")
    path = pytester.path / "done.thread.json"
    path.write_text(path.read_text().replace(":as_it_is", ":kind"))
    changed = pytester.runpytest(*flags, "--asterism-graph", f"{HERE}:kind")
    changed.assert_outcomes(passed=1, failed=1)
    changed.stdout.fnmatch_lines(["*supervisor differs:", "*+Be kind."])
