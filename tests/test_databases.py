"""The server of the tests: runs of the tests beside each other leave each other's alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asterism import open_checkpointer
from tests.crashing import REQUEST, THREAD
from tests.databases import Server, serving
from tests.teams import Turns, star


def test_another_run_of_tests_leaves_the_server_alone(server: Server, tmp_path: Path) -> None:
    """Each run of pytest closes the folders of all runs to other users."""
    test = tmp_path / "test_beside.py"
    test.write_text("def test_beside(tmp_path): pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(test)]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run(command, cwd=tmp_path, env=alone, check=True, capture_output=True)
    server.restart()
    server.drop(server.create())


def test_a_database_that_was_used_comes_back_as_good_as_new() -> None:
    with serving() as own:
        url = own.create()
        with open_checkpointer(url) as saver:
            star(Turns(), ["venue"]).build(checkpointer=saver).invoke(REQUEST, THREAD)
        with own.connect(url) as connection:
            connection.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
        own.drop(url)
        assert own.create() == url
        with own.connect(url) as connection:
            row = connection.execute(
                "INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id"
            )
            assert row.fetchone() == (1,)
            connection.execute("DELETE FROM procrastinate_workers")
        with open_checkpointer(url) as saver:
            assert list(saver.list(None)) == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE store ADD COLUMN more text",
        "DROP TABLE asterism",
        "UPDATE asterism SET value = '99'",
        "CREATE TABLE other (id int)",
        "DROP FUNCTION procrastinate_notify_queue_job_inserted_v1 CASCADE",
        "GRANT SELECT ON store TO public",
    ],
)
def test_a_database_that_was_changed_does_not_come_back(change: str, server: Server) -> None:
    url = server.create()
    with server.connect(url) as connection:
        connection.execute(change)
    server.drop(url)
    assert server.create() != url
