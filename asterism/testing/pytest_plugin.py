"""Fixtures for pytest, there wherever Asterism is installed; what they need is imported by use.

`asterism_cassette` is a cassette named after the test, beside its file; `asterism_team` and
`asterism_agent` make testers, and check at the end that their scripts are finished.
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
    """Add the option that records cassettes."""
    parser.getgroup("asterism").addoption(
        "--asterism-record",
        action="store_true",
        help="call real models, and record their answers on the cassettes of the tests that run",
    )


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
