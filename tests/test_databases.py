"""The server of the tests: runs of the tests beside each other leave each other's alone."""

import subprocess
import sys
from pathlib import Path

from tests.databases import Server


def test_another_run_of_tests_leaves_the_server_alone(server: Server, tmp_path: Path) -> None:
    """Each run of pytest closes the folders of all runs to other users."""
    test = tmp_path / "test_beside.py"
    test.write_text("def test_beside(tmp_path): pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(test)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    server.restart()
    server.drop(server.create())
