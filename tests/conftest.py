import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.storage import open_checkpointer

os.environ["LANGSMITH_TRACING"] = "false"  # nothing leaves the machine, and exits are not delayed

# A busy machine is slow, not wrong: no example fails by the clock.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture
def thread() -> RunnableConfig:
    """A thread that nobody used before."""
    return {"configurable": {"thread_id": uuid.uuid4().hex}}


@pytest.fixture(params=["memory", "sqlite"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseCheckpointSaver[str]]:
    """A saver of each kind."""
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'threads.db'}"
    with open_checkpointer(url) as opened:
        yield opened
