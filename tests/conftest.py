import gc
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.storage.open import open_checkpointer
from tests.databases import SAVERS, Server, serving, url_of

os.environ["LANGSMITH_TRACING"] = "false"  # nothing leaves the machine, and exits are not delayed

# A job in the background ignores Ctrl-C, and would hand that on to the processes of tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is slow, not wrong: no example fails by the clock.
settings.register_profile(
    "unhurried",
    deadline=None,
    max_examples=int(os.environ.get("ASTERISM_EXAMPLES", "30")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unhurried")

# A mutant has to be noticed, the same way each time; how small the example is does not matter.
settings.register_profile(
    "mutants",
    settings.get_profile("unhurried"),
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
)


def pytest_collection_finish() -> None:
    """Leave what is loaded by now out of each collection of garbage: tests ask for many."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def thread() -> RunnableConfig:
    """A thread that nobody used before."""
    return {"configurable": {"thread_id": uuid.uuid4().hex}}


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A Postgres server."""
    with serving() as started:
        yield started


@pytest.fixture
def postgres(server: Server) -> Iterator[str]:
    """The URL of a Postgres database that nobody used before."""
    url = server.create()
    yield url
    server.drop(url)


@pytest.fixture(params=SAVERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database of each kind."""
    return url_of(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database of each kind that several processes may use."""
    return url_of(request.param, request, tmp_path)


@pytest.fixture
def saver(url: str) -> Iterator[BaseCheckpointSaver[str]]:
    """A saver of each kind."""
    with open_checkpointer(url) as opened:
        yield opened
