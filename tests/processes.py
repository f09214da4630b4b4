"""Processes of Python that begin where their imports are done, used like `subprocess.Popen`.

Importing LangGraph takes 2.5 s of CPU. Each process here is forked from one server that has
imported it and done nothing else, so it starts in some milliseconds. It is a process all the
same: it has memory, signals, exit code, standard streams and environment of its own. Where the
start of Python itself is the point (what is imported, what happens at exit), take `subprocess`.
"""

import atexit
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CLI = "from asterism.apps.cli import main; main()"
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(
    [
        "asterism.apps.cli.app",
        "asterism.apps.cli.engine",
        "asterism.graphs.examples.event_planning",
        "asterism.testing",
        "langchain_openai",
        "asterism.apps.ui.app",
        "asterism.apps.workers.worker",
        "tests.asterism.apps.workers.teams",
        "tests.crashing",
        "tests.payments",
        "tests.steered",
        "uvicorn",
    ]
)
_outputs = tempfile.TemporaryDirectory(prefix="asterism-processes-")
_numbers = itertools.count(1)
_owner = os.getpid()


@atexit.register
def _clean() -> None:
    if os.getpid() == _owner:
        _outputs.cleanup()


class Process:
    """Python code that runs in a process of its own.

    Args:
        code: What it does, as for `python -c`.
        arguments: What follows in `sys.argv`.
        environment: Set besides what is set here.
        terminal: The path of one, for stdin and stderr; without it, stdin is empty.
    """

    def __init__(
        self,
        code: str,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        terminal: str | None = None,
    ) -> None:
        place = Path(_outputs.name) / str(next(_numbers))
        self.out, self.err = place.with_suffix(".out"), place.with_suffix(".err")
        self.out.touch()
        self.err.touch()
        environ = {**os.environ, **(environment or {})}
        given = (code, [str(part) for part in arguments], environ, self.out, self.err, terminal)
        self._process = forks.Process(target=_work, args=given)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end and return its exit code; a signal is a negative number."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self._process.exitcode

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """Wait for its end and return what it wrote to stdout and stderr."""
        self.wait(timeout)
        return self.out.read_text(), self.err.read_text()

    def said(self, words: str, timeout: float = 60) -> str:
        """Wait until it has written some words, to stdout or stderr; return what it wrote."""
        deadline = time.monotonic() + timeout
        while words not in (text := self.out.read_text() + self.err.read_text()):
            assert self.poll() is None and time.monotonic() < deadline, text
            time.sleep(0.01)
        return text


def run(
    code: str,
    *arguments: str | Path,
    check: bool = False,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run code to its end, as `subprocess.run` does; with `check`, it has to end well."""
    begun = Process(code, *arguments, environment=environment)
    try:
        stdout, stderr = begun.communicate()
    finally:
        begun.kill()
    done = subprocess.CompletedProcess([code, *arguments], begun.wait(), stdout, stderr)
    assert not check or done.returncode == 0, stderr
    return done


def run_script(
    path: Path, folder: Path, *, error: type[Warning]
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, without a key; a warning of some kind is an error."""
    code = (
        "import os, runpy, sys, warnings\n"
        f"warnings.simplefilter('error', {error.__name__})\n"
        "os.chdir(sys.argv.pop())\n"
        "runpy.run_path(sys.argv.pop(), run_name='__main__')"
    )
    keyless = {name: "" for name in os.environ if name.endswith("_API_KEY")}
    return run(code, path, folder, environment=keyless)


def asterism(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return run(CLI, *arguments, environment=environment)


def _work(
    code: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    out: Path,
    err: Path,
    terminal: str | None,
) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(ROOT)
    for number, path in enumerate((terminal or os.devnull, out, terminal or err)):
        opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOCTTY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = ["asterism", *arguments]
    main: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, "<code>", "exec"), main)  # the code of a test
