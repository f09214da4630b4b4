"""Instructions of a turn, with a model that costs nothing: `python -m benchmarks.instructions`.

valgrind counts them, so that no other work on the machine matters. Each contender is one process,
which imports, holds short conversations, and forks for each case; what the fork counted that
only builds is taken off.
"""

import os
import re
import subprocess
import sys
import tempfile
import warnings
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.one import measure

CONTENDERS = ("by_hand_model", "by_hand_expert", "ours_model")
SHAPES: Mapping[str, tuple[str, dict[str, Any]]] = {
    **{f"{turns} turns": ("turns", {"turns": turns, "participants": 4}) for turns in (10, 50, 200)},
    "chat of 50 messages": ("chat", {"messages": 50, "participants": 4}),
}
CASES = {
    f"{shape}, {'stored' if stored else 'not stored'}": (*case, stored)
    for stored in (False, True)
    for shape, case in SHAPES.items()
}
REST: Mapping[str, tuple[str, dict[str, Any], bool]] = {
    f"nothing, {'stored' if stored else 'not stored'}": ("ready", {}, stored)
    for stored in (False, True)
}


def hold(contender: str, only: str) -> None:
    """Fork for each case, in this process that valgrind watches; prints its name and process."""
    for _ in range(2):  # the second one has loaded all code
        for stored in (False, True):
            measure(contender, "chat", stored=stored, messages=2)
    for name, (workload, sizes, stored) in {**REST, **CASES}.items():
        if name in CASES and only not in name:
            continue
        sys.stdout.flush()
        if not (child := os.fork()):
            status = 1
            try:
                measure(contender, workload, stored=stored, **sizes)
                status = 0
            finally:
                os._exit(status)
        if os.waitpid(child, 0)[1]:
            raise SystemExit(f"{contender} failed at {name}")
        print(f"{child} {name}")


def counted(contender: str, only: str) -> dict[str, float]:
    """Return the thousands of instructions of a turn, by case."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null",
            f"--log-file={folder}/%p", sys.executable, "-m", "benchmarks.instructions",
            "--of", contender, "--only", only,
        ]  # fmt: skip
        fixed = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, timeout=3_000, env=fixed
        )
        found = {
            name: _instructions(Path(folder, child))
            for child, name in re.findall(r"^(\d+) (.+)$", done.stdout, re.MULTILINE)
        }
    return {name: _a_turn(name, found) for name in found if name in CASES}


def _a_turn(case: str, found: Mapping[str, int]) -> float:
    _, sizes, stored = CASES[case]
    (rest,) = (name for name, (_, _, other) in REST.items() if other == stored)
    return (found[case] - found[rest]) / (sizes.get("turns") or sizes["messages"]) / 1e3


def _instructions(log: Path) -> int:
    (number,) = re.findall(r"I +refs: +([\d,]+)", log.read_text())
    return int(number.replace(",", ""))


def main() -> None:
    warnings.simplefilter("ignore")
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="count cases alone whose title has these words")
    parser.add_argument("--of", help="a contender, in a process that valgrind watches")
    given = parser.parse_args()
    if given.of:
        hold(given.of, given.only)
        return
    base, expert, ours = (counted(contender, given.only) for contender in CONTENDERS)
    print("Thousands of instructions.\n")
    print("| case | by hand | by an expert | Asterism | to by hand | to an expert |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, count in ours.items():
        hands = (base[name], expert[name])
        cells = [f"{number:,.0f}" for number in (*hands, count)]
        ratios = [f"{count / hand:.2f}" for hand in hands]
        print(f"| {name} | {' | '.join([*cells, *ratios])} |")


if __name__ == "__main__":
    main()
