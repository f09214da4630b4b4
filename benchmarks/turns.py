"""Turns against a hand-written star: every case once a round, in random order, interleaved.

Figures are medians over the rounds; ratios are taken within a round. The machine may be
busy: read the ratios, not the times.
"""

import json
import random
import statistics
import subprocess
import sys
from argparse import ArgumentParser

BASE, OURS = "hand-written", "asterism"
CASES = [(50, "none"), (200, "none"), (100, "sqlite"), (200, "sqlite")]
IMPORTS = {
    BASE: "import langgraph.graph, langchain_core.language_models",
    OURS: "import asterism",
}


def one(
    star: str, turns: int, where: str, participants: int = 4, *, threads: int = 1
) -> dict[str, float]:
    numbers = [str(turns), str(participants), where, str(threads)]
    command = [sys.executable, "-m", "benchmarks.one", star, *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def import_seconds(statement: str) -> float:
    code = f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found: dict[tuple[str, int, str], list[dict[str, float]]] = {}
    imports: dict[str, list[float]] = {BASE: [], OURS: []}
    for number in range(rounds):
        jobs = [(star, turns, where) for turns, where in CASES for star in (BASE, OURS)]
        random.shuffle(jobs)
        for job in jobs:
            found.setdefault(job, []).append(one(job[0], job[1], job[2]))
        for star, statement in IMPORTS.items():
            imports[star].append(import_seconds(statement))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    print("| case | CPU ratio | wall ratio | CPU ms a turn | bytes | bytes by hand |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for turns, where in CASES:
        base, ours = found[BASE, turns, where], found[OURS, turns, where]
        ratios = {
            key: statistics.median(o[key] / b[key] for o, b in zip(ours, base, strict=True))
            for key in ("cpu", "wall")
        }
        cpu = statistics.median(o["cpu"] for o in ours)
        sizes = [f"{statistics.median(x['bytes'] for x in xs):,.0f}" for xs in (ours, base)]
        case = f"{turns} turns, {'nothing stored' if where == 'none' else where}"
        print(f"| {case} | {ratios['cpu']:.2f} | {ratios['wall']:.2f} | {cpu:.2f} | ", end="")
        print(" | ".join(sizes), "|")
    growth = found[OURS, 200, "sqlite"][-1]["bytes"] / found[OURS, 100, "sqlite"][-1]["bytes"]
    print(f"\nbytes at 200 turns against 100: {growth:.2f}")
    ratio = statistics.median(o / b for o, b in zip(imports[OURS], imports[BASE], strict=True))
    print(f"import asterism against LangGraph and LangChain: {ratio:.3f}")


if __name__ == "__main__":
    main()
