"""Graphs for `asterism supervise`."""

import os
import time
from pathlib import Path
from typing import Any

from langgraph.types import interrupt

from tests.asterism.supervision.helpers import Log, chain, does


def _noted(place: int) -> Any:
    def work(state: Log) -> Log:
        folder = Path(os.environ["ASTERISM_TEST_FOLDER"])
        while place == 1 and not (folder / "free").exists():
            time.sleep(0.01)
        with (folder / "log").open("a") as log:
            log.write(f"{place}\n")
        return {"done": [str(place)]}

    return work


def _asks(state: Log) -> Log:
    return {"done": [interrupt({"prompt": "Which one?"})]}


async def _fails(state: Log) -> Log:
    raise RuntimeError("out of order")


quick = chain(does("a"), does("b"))
failing = chain(does("a"), _fails)
asking = chain(does("a"), _asks)
held = chain(*[_noted(place) for place in range(4)])
