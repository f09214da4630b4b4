"""Rounds: every case once, in random order, each measurement in a process of its own."""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environments import python_of

ROOT = Path(__file__).parents[1]
PATIENCE = 900
"""Seconds that a measurement may take."""

Figures = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured of each contender."""

    workload: str
    title: str
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])
    stored: bool = False
    contenders: Sequence[str]

    def arguments(self, contender: str, folder: str, workload: str | None = None) -> list[str]:
        given = {**self.sizes, "stored": self.stored, "folder": folder}
        return ["-m", "benchmarks.one", contender, workload or self.workload, json.dumps(given)]


Found = dict[tuple[str, str], list[Figures | None]]
"""Per case and contender one measurement a round; None where it failed."""


def measured(case: Case, contender: str) -> Figures | None:
    """Measure once; a case that resumes is prepared by another process."""
    with tempfile.TemporaryDirectory() as folder:
        if case.workload == "resume":
            _run(contender, case.arguments(contender, folder, "pause"))
        return _run(contender, case.arguments(contender, folder))


def _run(contender: str, arguments: Sequence[str]) -> Figures | None:
    command = [str(python_of(contender)), *arguments]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE
        )
    except subprocess.CalledProcessError as error:
        print(f"{contender}: {' '.join(arguments)}\n{error.stderr[-2_000:]}", file=sys.stderr)
        return None
    except subprocess.TimeoutExpired:
        print(f"{contender}: {' '.join(arguments)}: over {PATIENCE} s", file=sys.stderr)
        return None
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def rounds(cases: Sequence[Case], number: int) -> Found:
    """Measure all cases in rounds, those who are compared one right after the other."""
    found: Found = {}
    for count in range(1, number + 1):
        for case in random.sample(cases, len(cases)):
            for contender in random.sample(case.contenders, len(case.contenders)):
                found.setdefault((case.title, contender), []).append(measured(case, contender))
        print(f"round {count} of {number}", file=sys.stderr)
    return found


def middle(found: Sequence[Figures | None], key: str) -> float | None:
    """Return the median of what was measured."""
    values = [figures[key] for figures in found if figures is not None]
    return median(values) if values else None


def ratio(ours: Sequence[Figures | None], base: Sequence[Figures | None], key: str) -> float | None:
    """Return the median of the ratios within the rounds."""
    values = [
        mine[key] / other[key]
        for mine, other in zip(ours, base, strict=True)
        if mine is not None and other is not None and other[key]
    ]
    return median(values) if values else None
