"""`asterism supervise FILE`."""

import io
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from asterism.apps.cli import supervise_command as supervise
from asterism.apps.cli.app import app
from asterism.supervision import AgentQuota, AgentSupervisor
from tests.asterism.supervision.helpers import chain, does, until, waits
from tests.processes import CLI, Process, asterism

GRAPHS = "tests.asterism.supervision.graphs"
PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


def written(folder: Path, *children: dict[str, Any], **more: Any) -> str:
    path = folder / "children.yaml"
    path.write_text(json.dumps({"children": children, **more}))  # JSON is YAML
    return str(path)


def child(graph: str, **fields: Any) -> dict[str, Any]:
    return {"name": graph, "graph": f"{GRAPHS}:{graph}", "task": {"done": []}, **fields}


def cli(path: str, *arguments: str, db: str = ":memory:") -> Result:
    return CliRunner().invoke(app, ["supervise", path, "--db", db, *arguments])


def events(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_when_all_children_complete_the_exit_code_is_0(tmp_path: Path) -> None:
    party = {"name": "party", "graph": "event_planning", "task": PARTY}
    result = cli(written(tmp_path, child("quick"), party))
    assert result.exit_code == 0
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert [line.split(": ")[-1] for line in lines if line.startswith("quick")] == [
        "spawned",
        "started",
        "completed",
    ]
    assert lines[-1].startswith("2 completed; ")


def test_events_are_printed_as_json_a_line_each(tmp_path: Path) -> None:
    result = cli(written(tmp_path, child("quick", metadata={"room": 7})), "--json")
    assert result.exit_code == 0
    found = events(result)
    steps = [event for event in found if event["type"] == "progress"]
    others = [event["type"] for event in found if event not in steps]
    assert others == ["spawned", "started", "heartbeat", "completed"]
    assert steps
    assert [event["sequence"] for event in found] == list(range(1, len(found) + 1))
    assert found[0]["facts"]["metadata"] == {"room": 7}


def test_when_a_child_does_not_complete_the_exit_code_is_1_and_it_is_said_why(
    tmp_path: Path,
) -> None:
    quotas = {"max_retries": 0}
    result = cli(written(tmp_path, child("quick"), child("failing", quotas=quotas)))
    assert result.exit_code == 1
    said = "failing: failed: RuntimeError: out of order; it was restarted 0 times, as often as"
    assert said in result.stderr
    assert result.stderr.splitlines()[-1].startswith("1 completed, 1 failed; ")


def test_a_quota_of_the_file_holds(tmp_path: Path) -> None:
    party = {"name": "party", "graph": "event_planning", "task": PARTY}
    result = cli(written(tmp_path, {**party, "quotas": {"max_iterations": 3}}), "--json")
    assert result.exit_code == 1
    signs = ("heartbeat", "progress")
    types = [event["type"] for event in events(result) if event["type"] not in signs]
    assert types == ["spawned", "started", "quota_warning", "quota_exceeded", "killed"]
    assert "GraphDrained" not in result.stderr


def test_a_child_that_asks_is_told_of_and_can_be_resumed(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    path = written(tmp_path, child("asking", thread="t"))
    result = cli(path, db=db)
    assert result.exit_code == 1
    assert "asking: paused: it waits for a person\n  Which one?\n" in result.stderr
    assert "Go on with: asterism resume t 'your answer'" in result.stderr
    again = cli(path, db=db)  # nobody has answered
    assert (again.exit_code, "Which one?" in again.stderr) == (1, True)
    named = ["--graph", child("asking")["graph"]]
    assert " ".join(named) in result.stderr
    answering = ["resume", "t", "the blue one", "--db", db, "--json", *named]
    answered = CliRunner().invoke(app, answering)
    assert answered.exit_code == 0
    assert cli(path, db=db).exit_code == 0  # it was finished before


def test_a_child_that_asks_for_more_goes_on_with_a_file_that_gives_it(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    party = {"name": "party", "graph": "event_planning", "task": PARTY, "thread": "t"}
    asking = {"auto_kill_on_quota": False}
    small = written(tmp_path, {**party, "quotas": {"max_iterations": 3}}, supervisor=asking)
    result = cli(small, db=db)
    assert result.exit_code == 1
    assert "party: paused: max_iterations: 3 of 3\n  Raise its max_iterations, " in result.stderr
    again = cli(
        written(tmp_path, {**party, "quotas": {"max_iterations": 2}}, child("quick")), db=db
    )
    assert again.exit_code == 1
    assert "has used up max_iterations, so it cannot go on" in again.stderr
    assert "1 paused, 1 completed; " in again.stderr  # the other child went on
    assert cli(written(tmp_path, party, supervisor=asking), db=db).exit_code == 0


def test_every_fault_of_a_file_is_told(tmp_path: Path) -> None:
    wrong = [child("nothing"), {"name": "x", "graph": "unknown", "task": "Go"}]
    result = cli(written(tmp_path, *wrong))
    assert result.exit_code == 1
    assert "1. children[0].graph: The graph 'tests.asterism.super" in result.stderr
    assert "2. children[1].graph: There is no graph 'unknown'" in result.stderr
    result = cli(written(tmp_path, child("quick", quotas={"max_tokens": -1}), supervisor=[]))
    assert result.exit_code == 1
    assert "1. supervisor: it is []; it must be a table" in result.stderr
    assert "2. children[0].quotas: max_tokens is -1" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_pauses_the_children_and_the_same_command_goes_on(
    number: signal.Signals, tmp_path: Path
) -> None:
    path = written(tmp_path, child("held", thread="t"))
    command = ["supervise", path, "--db", str(tmp_path / "a.db")]
    environment = {"ASTERISM_TEST_FOLDER": str(tmp_path)}
    process = Process(CLI, *command, environment=environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    time.sleep(0.3)
    (tmp_path / "free").touch()
    _, said = process.communicate()
    assert process.returncode == 1
    assert "Stopping when the steps at work are done" in said
    assert "held: paused: the supervisor is shut down\n  Go on with: asterism resume t" in said
    assert (tmp_path / "log").read_text().split() == ["0", "1"]
    again = asterism(*command, **environment)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3"]


async def test_the_tree_shows_status_progress_money_and_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supervisor = AgentSupervisor()
    quota = AgentQuota(max_iterations=4)
    done = await supervisor.spawn("done", {"done": []}, chain(does("a")), quota)
    await supervisor.await_child(done)
    hung = await supervisor.spawn("hung", {"done": []}, chain(does("a"), waits))
    await until(lambda: supervisor.child(hung).doing == "n1")
    killed = await supervisor.spawn("killed", {"done": []}, chain(waits))
    await supervisor.kill_child(killed, "it was in the way")
    terminal = Console(file=io.StringIO(), force_terminal=True, width=150)
    shown = supervise._Show(supervisor, "children.toml", terminal, as_json=False)
    text = Console(file=io.StringIO(), width=150)
    with shown, text.capture() as captured:
        text.print(shown._tree())
    assert [line.rstrip() for line in captured.get().splitlines()] == [
        "children.toml  1 running, 1 completed, 1 killed; 0 tokens, $0.0000",
        "├── ✓ done  completed  1 rounds, 0 tokens, $0.0000, 25 % of its quota",
        "├── ✗ killed  killed  0 rounds, 0 tokens, $0.0000, 0 % of its quota  it was in the way",
        "└── ● hung  running  1 rounds, 0 tokens, $0.0000, 0 % of its quota, heard of 0 s ago  n1",
    ]
    await supervisor.shutdown(0)
