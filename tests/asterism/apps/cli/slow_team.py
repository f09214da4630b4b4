"""A graph for the command line: its participant takes a while, and says when it works."""

import os
import time
from pathlib import Path
from typing import Any

from asterism import Participant, SupervisorWorkflowBuilder
from tests.teams import follow


def slow(messages: list[Any]) -> str:
    with Path(os.environ["ASTERISM_TEST_LOG"]).open("a") as log:
        log.write("x")
    time.sleep(0.5)
    return f"visit {len(messages) // 2 + 1}"


def builder(model: Any) -> SupervisorWorkflowBuilder:
    return (
        SupervisorWorkflowBuilder("Slow", finish="forward")
        .participants(slow=Participant(runs=slow, description="Slow."))
        .with_manager(follow(["slow"] * 6))
    )


not_a_graph = 7
