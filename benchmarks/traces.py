"""What traces cost: the traced star against the untraced one, interleaved in one process.

Figures are medians over the rounds; ratios of CPU time are taken within a round. The machine
may be busy: read the ratios, not the times.
"""

import asyncio
import gc
import random
import statistics
import sys
import tempfile
import time
import warnings
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from asterism import SupervisorTrace, open_checkpointer
from benchmarks.contenders.ours import build

WAYS: dict[str, Callable[[Path], SupervisorTrace] | None] = {
    "untraced": None,
    "off": lambda folder: SupervisorTrace(level="off"),
    "errors": lambda folder: SupervisorTrace(level="errors"),
    "basic": lambda folder: SupervisorTrace(),
    "detailed": lambda folder: SupervisorTrace(level="detailed"),
    "basic, in a file": lambda folder: SupervisorTrace(f"sqlite:///{folder / 'traces.db'}"),
}


def milliseconds(way: str, turns: int, *, stored: bool) -> float:
    """The CPU time of a turn, and of what the trace does beside it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'threads.db'}" if stored else "memory:"
        make = WAYS[way]
        trace = make(folder) if make else None
        with open_checkpointer(url) as saver:
            events = trace.bus if trace else None
            graph = build(saver if stored else None, participants=4, turns=turns, events=events)
            config = {"configurable": {"thread_id": "t"}} if stored else {}
            gc.collect()
            begun = time.process_time()
            asyncio.run(graph.ainvoke({"messages": [("user", "go")]}, config))
            if trace:
                trace.close()
            taken = time.process_time() - begun
        if trace and not stored and way == "basic":
            (found,) = trace.get_all_traces()
            if len(found.decisions) != turns:
                raise AssertionError(f"{len(found.decisions)} decisions, not {turns}")
    return taken / turns * 1e3


def main() -> None:
    warnings.simplefilter("ignore")
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--turns", type=int, default=200)
    given = parser.parse_args()
    found: dict[tuple[str, bool], list[float]] = {}
    for number in range(given.rounds + 1):  # the first round loads code
        jobs = [(way, stored) for way in WAYS for stored in (False, True)]
        random.shuffle(jobs)
        for way, stored in jobs:
            taken = milliseconds(way, given.turns, stored=stored)
            if number:
                found.setdefault((way, stored), []).append(taken)
        print(f"round {number} of {given.rounds}", file=sys.stderr)
    print("| trace | CPU ratio, nothing stored | CPU ratio, threads in sqlite | CPU ms a turn |")
    print("| --- | ---: | ---: | ---: |")
    for way in WAYS:
        ratios = [
            statistics.median(
                t / b for t, b in zip(found[way, stored], found["untraced", stored], strict=True)
            )
            for stored in (False, True)
        ]
        cpu = statistics.median(found[way, False])
        print(f"| {way} | {ratios[0]:.3f} | {ratios[1]:.3f} | {cpu:.3f} |")


if __name__ == "__main__":
    main()
