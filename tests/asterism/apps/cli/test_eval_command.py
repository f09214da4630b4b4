"""`asterism eval`: tables and JSON, thresholds and exit codes, data sets, one-sentence failures."""

import json
from pathlib import Path
from typing import Any

import pytest
from langsmith import Client
from typer.testing import CliRunner, Result

from asterism.apps.cli.app import app
from tests.langsmith_server import langsmith

PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"
ROUTE = ["venue", "catering", "budget", "logistics"]


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows: list[dict[str, Any]] = [
        {"request": PARTY, "route": ROUTE, "answer": "Copper Loft"},
        {"request": PARTY, "route": ["venue"]},
    ]
    Path("party.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_eval_prints_a_table_to_stdout_alone() -> None:
    result = cli("eval", "event_planning", "party.jsonl")
    assert result.exit_code == 0
    head, *_, mean = result.stdout.strip().splitlines()
    assert head.split() == ["request", "status", "route", "turns", "USD", "route", "contains"]
    assert mean.split() == ["mean", "0.50", "1.00"]
    assert "Offline model" in result.stderr


@pytest.mark.parametrize(
    ("threshold", "code", "said"),
    [
        ("route=0.5", 0, ""),
        ("route=0.9", 1, "route is 0.500; at least 0.9 is asked for"),
        ("cost=0", 1, "no evaluator gave a score 'cost'"),
        ("route=2", 1, "a number from 0 to 1"),
        ("route", 1, "a number from 0 to 1"),
        ("route=nan", 1, "a number from 0 to 1"),
    ],
)
def test_a_threshold_sets_the_exit_code(threshold: str, code: int, said: str) -> None:
    result = cli("eval", "event_planning", "party.jsonl", "--fail-under", threshold)
    assert result.exit_code == code
    assert said in result.stderr


def test_eval_as_json_with_a_function_of_the_folder() -> None:
    Path("own_evaluators.py").write_text(
        "def short(outputs):\n    return len(outputs['answer']) < 9"
    )
    names = ["--evaluator", "own_evaluators:short", "--evaluator", "route"]
    result = cli("eval", "event_planning", "party.jsonl", "--json", *names)
    found = json.loads(result.stdout)
    assert found["means"] == {"short": 0, "route": 0.5}
    assert [row["outputs"]["route"] for row in found["rows"]] == [ROUTE, ROUTE]


def test_kept_threads_are_a_data_set_and_runs_can_be_kept() -> None:
    assert cli("run", "event_planning", PARTY, "--db", "kept.db", "--thread", "t").exit_code == 0
    for more in ((), ("--thread", "t")):
        options = ("--fail-under", "route=1", "--fail-under", "contains=1")
        result = cli("eval", "event_planning", "kept.db", *more, *options, "--db", "evals.db")
        assert result.exit_code == 0, result.stderr
    listed = json.loads(cli("threads", "--db", "evals.db", "--json").stdout)
    assert [row["graph"] for row in listed] == ["event_planning"] * 2
    assert cli("trace", listed[0]["thread"], "--db", "evals.db").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.db"], "There is no data set 'nothing.db'"),
        (["nothing.jsonl"], "cannot be read"),
        (["party.jsonl", "--thread", "t"], "--thread goes with a database"),
        (["party.jsonl", "--evaluator", "rout"], "There is no evaluator 'rout'"),
        (["party.jsonl", "--evaluator", "judge"], "needs a model"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(arguments: list[str], said: str) -> None:
    result = cli("eval", "event_planning", *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("nothing.db").exists()


def test_a_run_that_raises_is_named_and_fails() -> None:
    Path("broken_team.py").write_text(
        "from asterism import Participant, SupervisorWorkflowBuilder\n"
        "def decide(view): raise RuntimeError('no decision')\n"
        "team = SupervisorWorkflowBuilder('T').with_manager(decide).participants(\n"
        "    a=Participant(runs=lambda ms: 'A', description='A.'))\n"
    )
    result = cli("eval", "broken_team:team", "party.jsonl")
    assert result.exit_code == 1
    assert "no decision" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_upload_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with langsmith() as (url, stored):

        def client(*given: Any) -> Client:
            return Client(url, api_key="none", web_url=url)

        monkeypatch.setattr("asterism.apps.evaluation.Client", client)
        result = cli("eval", "event_planning", "party.jsonl", "--upload")
    assert result.exit_code == 0, result.stderr
    assert list(stored.datasets) == ["party"]
    assert f"The experiment: {url}" in result.stderr
