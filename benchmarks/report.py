"""The Markdown of what was measured."""

import math
import platform
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import BASE
from benchmarks.rounds import Case, Found, middle, ratio

NAMES = {
    "loop": "bare loop",
    "by_hand_plain": "by hand, plain nodes",
    "by_hand": "by hand, subgraphs",
    "ours": "Asterism",
    "ours_unlimited": "Asterism, all at once",
    "langgraph_supervisor": "langgraph-supervisor",
    "deep_agents": "deepagents",
    "agent_framework": "agent-framework",
    "openai_agents": "openai-agents",
    "autogen": "autogen",
}


def machine() -> str:
    """Name the processor and the system."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}, {platform.system()}, Python {platform.python_version()}"


def written(cases: Sequence[Case], found: Found, rounds: int) -> str:
    """Write a table per case, then how costs grow."""
    parts = [
        f"Machine: {machine()}. Rounds: {rounds}. Medians; ratios are medians of the ratios "
        f"within a round, against {NAMES[BASE]}.\n"
    ]
    parts += [_table(case, found) for case in cases]
    parts += [_growth(cases, found), _versions(found)]
    return "\n".join(filter(None, parts))


def _table(case: Case, found: Found) -> str:
    unit = " a turn" if case.workload in ("turns", "many") else ""
    lines = [
        f"### {case.title}\n",
        f"| | CPU ratio | CPU ms{unit} | wall ms{unit} | peak MB | file MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for contender in case.contenders:
        mine, base = found[case.title, contender], found.get((case.title, BASE), [])
        cells = [NAMES[contender], _cell(ratio(mine, base, "cpu") if base else None, 3)]
        cells += [_cell(middle(mine, key), 3) for key in ("cpu", "wall")]
        size = middle(mine, "bytes")
        cells += [_cell(middle(mine, "peak"), 0), _cell(size and size / 1e6, 2)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, digits: int) -> str:
    return "" if not value else f"{value:,.{digits}f}"


def _growth(cases: Sequence[Case], found: Found) -> str:
    """Tell how the cost of a conversation grows from 50 turns to 200: the exponent."""
    lines: list[str] = []
    for stored in (False, True):
        few, many = (
            next((c for c in cases if c.title == _turns(turns, stored=stored)), None)
            for turns in (50, 200)
        )
        if few is None or many is None:
            continue
        for contender in many.contenders:
            cells = []
            for key, scale in (("cpu", 4.0), ("bytes", 1.0)):
                grown = ratio(found[many.title, contender], found[few.title, contender], key)
                cells.append(_cell(grown and math.log(grown * scale, 4), 2))
            where = "stored" if stored else "not stored"
            lines.append(f"| {NAMES[contender]}, {where} | {' | '.join(cells)} |")
    if not lines:
        return ""
    head = ["### Growth from 50 to 200 turns, as exponents\n", "| | CPU | bytes |"]
    return "\n".join([*head, "| --- | ---: | ---: |", *lines]) + "\n"


def _turns(turns: int, *, stored: bool) -> str:
    return f"{turns} turns, 4 participants, {'stored' if stored else 'not stored'}"


def _versions(found: Found) -> str:
    known: dict[str, str] = {}
    for measurements in found.values():
        for figures in filter(None, measurements):
            known |= figures["versions"]
    return "Versions: " + ", ".join(f"{name} {known[name]}" for name in sorted(known)) + ".\n"
