"""The commands that keep a database."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from asterism import (
    Contract,
    LongTermMemory,
    Participant,
    SupervisorWorkflowBuilder,
    open_checkpointer,
    open_store,
)
from asterism.apps.cli.app import app
from tests.databases import Server

PARTY = "Plan a corporate holiday party for 50 people in Seattle on December 15th"


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_the_whole_command_line_works_on_postgres(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.create(migrated=False)
    monkeypatch.setenv("ASTERISM_DB", url)
    refused = cli("threads")
    assert refused.exit_code == 1
    assert "asterism migrate" in refused.stderr
    for _ in range(2):
        assert cli("migrate").exit_code == 0
    ran = cli("run", "event_planning", PARTY, "--thread", "a")
    assert ran.exit_code == 0 and ran.stdout.startswith(f"# {PARTY}")
    asked = cli("run", "event_planning", "Plan a party", "--thread", "b")
    assert asked.exit_code == 3
    answered = cli("resume", "b", "On 5 May in Oslo, for 30 people")
    assert answered.exit_code in (0, 3)
    listed = json.loads(cli("threads", "--json").stdout)
    assert {row["thread"]: row["graph"] for row in listed} == dict.fromkeys("ab", "event_planning")
    assert PARTY in cli("show", "a").stdout
    server.drop(url)


def test_a_thread_goes_to_a_file_and_back(tmp_path: Path) -> None:
    db, file = str(tmp_path / "a.db"), tmp_path / "a.json"
    cli("run", "event_planning", PARTY, "--thread", "a", "--db", db)
    assert cli("export", "a", "--db", db, "--out", str(file)).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == json.loads(cli("export", "a", "--db", db).stdout)
    other = str(tmp_path / "b.db")
    assert cli("import", str(file), "--db", other).stdout == "a\n"
    assert cli("show", "a", "--db", other).stdout == cli("show", "a", "--db", db).stdout
    again = cli("import", str(file), "--db", other)
    assert again.exit_code == 1 and "already" in again.stderr
    assert cli("import", str(file), "--db", other, "--thread", "c").stdout == "c\n"
    file.write_text("{")
    assert "cannot be read as JSON" in cli("import", str(file), "--db", other).stderr


def test_prune_says_what_it_did(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    cli("run", "event_planning", PARTY, "--thread", "a", "--db", db)
    said = cli("prune", "--older-than", "30d", "--db", db)
    assert said.stdout.startswith("0 threads and 0 checkpoints of others deleted; ")
    found = json.loads(cli("prune", "--older-than", "0m", "--full", "--db", db, "--json").stdout)
    assert found["threads"] == 1 and found["bytes_after"] < found["bytes_before"]
    assert json.loads(cli("threads", "--db", db, "--json").stdout) == []


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "3y", "1.5d"])
def test_an_age_that_is_none_is_refused(age: str, tmp_path: Path) -> None:
    result = cli("prune", "--older-than", age, "--db", str(tmp_path / "a.db"))
    assert result.exit_code == 1 and "such as 30d" in result.stderr


def test_nothing_to_go_by_is_refused(tmp_path: Path) -> None:
    result = cli("prune", "--db", str(tmp_path / "a.db"))
    assert result.exit_code == 1 and "Say what may go" in result.stderr


def test_forget_deletes_the_threads_of_a_user(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    cli("run", "event_planning", PARTY, "--thread", "a", "--db", db)
    assert cli("forget", "ann", "--db", db).stdout == "0 threads and 0 memories deleted.\n"
    with open_store(f"sqlite:///{db}") as store:
        LongTermMemory(store=store, team="t").remember("tea", user="event_planning")
    # what the command line stores of every thread stands in for a user
    found = cli("forget", "event_planning", "--key", "graph", "--db", db)
    assert found.stdout == "1 threads and 1 memories deleted.\n"


def test_spend_shows_who_used_what(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    empty = cli("spend", "--db", db)
    assert empty.exit_code == 0 and "Nothing is counted yet" in empty.stderr
    with open_checkpointer(db) as saver:
        shop = (
            SupervisorWorkflowBuilder("Shop", model="offline", contracts=[Contract(max_calls=9)])
            .participants(clerk=Participant(runs=lambda _: "3", description="Tells prices."))
            .build(checkpointer=saver)
        )
        shop.invoke({"messages": [("user", "Price?")]}, {"configurable": {"thread_id": "1"}})
    rows = json.loads(cli("spend", "--db", db, "--by", "account", "--since", "7d", "--json").stdout)
    assert rows[0]["account"] == "team=shop" and rows[0]["calls"] >= 2
    shown = cli("spend", "--db", db).stdout
    assert "team=shop" in shown and "supervisor" in shown and "US dollars" in shown
    refused = cli("spend", "--db", db, "--by", "weather")
    assert refused.exit_code == 1 and "allowed: account" in refused.stderr
