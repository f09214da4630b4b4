"""What an older version of the library would not read of a database."""

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from typer.testing import CliRunner

from asterism import Contract, SupervisorWorkflowBuilder, open_checkpointer, steer
from asterism.apps.cli.app import app
from asterism.errors import ConfigurationError
from asterism.storage.versions import TABLES, find_losses
from tests.stored import FOLDER
from tests.teams import follow


def use(saver: BaseCheckpointSaver[Any]) -> None:
    """Store what this version brought: an account, and a message that nobody has taken in."""

    def clerk(messages: list[Any]) -> str:
        """Works."""
        return "done"

    team = (
        SupervisorWorkflowBuilder("Shop", finish="forward", contracts=[Contract(max_calls=5)])
        .participants(clerk=clerk)
        .with_manager(follow(["clerk"]))
        .build(checkpointer=saver)
    )
    team.invoke({"messages": [("user", "Go")]}, {"configurable": {"thread_id": "t"}})
    steer(team, "t", "Once more", when="idle")


def test_what_an_older_version_does_not_read_is_counted(lasting: str) -> None:
    assert find_losses(lasting, "0.2.0") == []
    with open_checkpointer(lasting) as saver:
        use(saver)
    found = find_losses(lasting, "0.2.0")
    assert found[0] == "1 messages for running teams that were not taken in yet"
    assert find_losses(lasting, "0.1.0") == found
    assert find_losses(lasting, "0.3.0") == []


def test_the_command_says_it_and_changes_nothing(tmp_path: Path) -> None:
    db = str(tmp_path / "a.db")
    kept = CliRunner().invoke(app, ["migrate", "--back-to", "0.2.0", "--db", db])
    assert (kept.exit_code, kept.stdout) == (0, "Version 0.2.0 reads all that is there.\n")
    with open_checkpointer(db) as saver:
        use(saver)
    for _ in range(2):
        lost = CliRunner().invoke(app, ["migrate", "--back-to", "0.2.0", "--db", db])
        assert lost.exit_code == 1 and "not taken in yet" in lost.stdout
    refused = CliRunner().invoke(app, ["migrate", "--back-to", "9.9", "--db", db])
    assert refused.exit_code == 1 and "allowed: 0.1.0, 0.2.0" in refused.stderr


def test_each_version_has_its_database_in_the_tests() -> None:
    kept = {path.stem.partition("_of_")[2] or "0.1.0" for path in FOLDER.glob("threads_v*.sql")}
    assert kept == set(TABLES)
    with pytest.raises(ConfigurationError, match="no version 'old'"):
        find_losses("memory:", "old")
