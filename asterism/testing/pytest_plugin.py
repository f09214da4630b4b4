"""Fixtures for pytest, there wherever Asterism is installed; what they need is imported by use.

`asterism_cassette` is a cassette named after the test, beside its file; `asterism_team` and
`asterism_agent` make testers, and check at the end that their scripts are finished. With
`--asterism-replay`, recordings that `asterism record` wrote are tests as well.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from asterism.testing import AgentTester, Cassette, OrchestratorTester

PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that record cassettes, and replay threads."""
    group = parser.getgroup("asterism")
    group.addoption(
        "--asterism-replay",
        action="store_true",
        help="replay the threads that `asterism record` wrote: no model is called, no tool runs",
    )
    group.addoption(
        "--asterism-graph",
        action="append",
        default=[],
        help="a graph that recordings may name, besides those of asterism.toml",
    )
    group.addoption(
        "--asterism-record",
        action="store_true",
        help="call real models, and record their answers on the cassettes of the tests that run",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect recordings, where they are to be replayed."""
    if parent.config.getoption("--asterism-replay") and file_path.name.endswith(".thread.json"):
        collected: _RecordingFile = _RecordingFile.from_parent(parent, path=file_path)
        return collected
    return None


class _RecordingFile(pytest.File):
    """The file of a recorded thread."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the one test of it."""
        yield _Replay.from_parent(self, name="replay")


class PromptChangedError(AssertionError):
    """A step of a recorded thread would not be what it was."""


class _Replay(pytest.Item):
    """Makes a recorded thread again, up to the first step that differs."""

    def runtest(self) -> None:
        """Replay it with the team as it is now."""
        from asterism.graphs.catalog import allowed_graphs, check_named, open_graph
        from asterism.testing.change_check.recordings import read_recording, replay_thread
        from asterism.testing.change_check.report import change_lines

        recording = read_recording(self.path)
        check_named(
            recording.graph, allowed_graphs(self.config.getoption("--asterism-graph") or ())
        )
        team: Any = open_graph(recording.graph, model=recording.model)
        if changes := replay_thread(team, recording):
            lines = [line for change in changes for line in change_lines(change)]
            raise PromptChangedError("\n".join([f"{changes[0].place} differs:", *lines]))

    def repr_failure(self, excinfo: Any, style: Any = None) -> str:
        """Show the difference alone."""
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the test."""
        return self.path, 0, f"replay of {self.path.name}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether a test has passed: only then is what it left undone worth telling."""
    report = yield
    if call.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.fixture
def asterism_cassette(request: pytest.FixtureRequest) -> Iterator[Cassette]:
    """A cassette in `cassettes/`, beside the test's file and named after the test."""
    from asterism.testing import Cassette

    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in request.node.name)
    path = Path(request.path).parent / "cassettes" / request.path.stem / f"{safe}.json"
    record = request.config.getoption("--asterism-record")
    cassette = Cassette(path, "record" if record else "auto")
    yield cassette
    if request.node.stash.get(PASSED, False):
        cassette.assert_finished()


@pytest.fixture
def asterism_team(request: pytest.FixtureRequest) -> Iterator[Callable[..., OrchestratorTester]]:
    """Make an `OrchestratorTester` whose scripts have to be finished at the end of the test."""
    from asterism.testing import OrchestratorTester

    yield from _create_fixture(request, OrchestratorTester)


@pytest.fixture
def asterism_agent(request: pytest.FixtureRequest) -> Iterator[Callable[..., AgentTester]]:
    """Make an `AgentTester` whose script has to be finished at the end of the test."""
    from asterism.testing import AgentTester

    yield from _create_fixture(request, AgentTester)


def _create_fixture(request: pytest.FixtureRequest, kind: Any) -> Iterator[Any]:
    testers: list[Any] = []

    def make(*args: Any, **kwargs: Any) -> Any:
        testers.append(kind(*args, **kwargs))
        return testers[-1]

    yield make
    if request.node.stash.get(PASSED, False):
        for tester in testers:
            tester.assert_finished()
