"""What `mutmut run` found, module by module: `python -m benchmarks.mutants`; see `make mutants`.

It fails where the tests notice less than `LEAST` of the mutants of a module.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

RESULTS = Path("mutants")
LEAST = 0.85
NOTICED = ("killed", "timeout")


def found() -> dict[str, dict[str, str]]:
    """Return what became of each mutant of each module."""
    modules: dict[str, dict[str, str]] = {}
    for path in sorted(RESULTS.rglob("*.py.meta")):
        codes = json.loads(path.read_text())["exit_code_by_key"]
        if codes:
            module = str(path.relative_to(RESULTS)).removesuffix(".meta")
            modules[module] = {name: status_by_exit_code[code] for name, code in codes.items()}
    return modules


def row(module: str, mutants: Mapping[str, str]) -> tuple[float, str]:
    """Return the part of the mutants that is noticed, and a row of the table."""
    count = Counter(mutants.values())
    noticed = sum(count[status] for status in NOTICED)
    part = noticed / len(mutants)
    left = len(mutants) - noticed
    return part, f"| `{module}` | {len(mutants)} | {noticed} | {left} | {part:.1%} |"


def main() -> int:
    modules = found()
    for module, mutants in modules.items():
        for name, status in mutants.items():
            if status not in NOTICED:
                print(f"{name}: {status}\n{get_diff_for_mutant(name, path=module)}\n")
    rows = [row(module, mutants) for module, mutants in modules.items()]
    print("| module | mutants | noticed | left | part |\n| --- | --- | --- | --- | --- |")
    print("\n".join(text for _, text in rows))
    return 0 if rows and all(part >= LEAST for part, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
