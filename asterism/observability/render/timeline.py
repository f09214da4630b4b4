"""The timeline of a run: a bar for each visit, so that it shows what ran at the same time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asterism.observability.record import RequestRecord, RunRecord
from asterism.observability.render.mermaid import bare
from asterism.observability.text_width import fit_text, pad_text, width_of
from asterism.observability.wording import heading, name_of, state_of

BAR_WIDTH = 60
"""How many columns stand for the whole request."""
NAME_WIDTH = 40


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A stretch of time."""

    name: str
    depth: int
    """How many workflows it stands in, below the outermost."""
    start: float
    """Seconds since the request began."""
    seconds: float
    ok: bool | None
    state: str


def bars_of(request: RequestRecord) -> list[Bar]:
    """Return the bars of a request: its decisions and its visits, in the order of their starts."""
    if request.began is None:
        return []
    zero, end = request.began, request.ended or request.began

    def bar(name: str, depth: int, times: tuple[str, str], ok: bool | None, state: str) -> Bar:
        start, seconds = _seconds(zero, times[0]), _seconds(*times)
        return Bar(name=name, depth=depth, start=start, seconds=seconds, ok=ok, state=state)

    def walk(found: RequestRecord, depth: int) -> Iterator[Bar]:
        for decided in found.rounds:
            if decided.began and decided.decided:
                name = f"supervisor, round {decided.number}"
                times, ok = (decided.began, decided.decided), decided.kind != "failed"
                yield bar(name, depth, times, ok, "")
            for visit in sorted(decided.visits, key=lambda v: v.began or ""):
                if visit.began is None:
                    continue
                times = (visit.began, visit.ended or max(end, visit.began))
                yield bar(name_of(visit), depth, times, visit.ok, state_of(visit))
                if visit.inside is not None:
                    yield from walk(visit.inside, depth + 1)

    return list(walk(request, 0))


def draw_timeline(run: RunRecord) -> str:
    """Draw the timeline with characters: a `█` is about a sixtieth of the request."""
    lines = [heading(run)]
    for number, request in enumerate(run.requests, 1):
        bars = bars_of(request)
        whole = max([bar.start + bar.seconds for bar in bars], default=0.0)
        lines += ["", fit_text(f"request {number}: “{request.request}”, {whole:.3f} s", 100)]
        names = [fit_text("  " * bar.depth + "· " + bar.name, NAME_WIDTH) for bar in bars]
        names = ["  " * bar.depth + name for bar, name in zip(bars, names, strict=True)]
        width = max(map(width_of, names), default=0)
        for bar, name in zip(bars, names, strict=True):
            drawn = pad_text(_draw_bar(bar, whole), BAR_WIDTH)
            line = f"{pad_text(name, width)} │{drawn}│ {bar.seconds:.3f} s  {bar.state}"
            lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def timeline_mermaid(run: RunRecord) -> str:
    """Draw the timeline as a Gantt chart."""
    lines = ["gantt", f"  title {bare(heading(run))}", "  dateFormat x", "  axisFormat %M:%S.%L"]
    for number, request in enumerate(run.requests, 1):
        lines.append(f"  section request {number}")
        zero = datetime.fromisoformat(request.began).timestamp() * 1000 if request.began else 0.0
        for bar in bars_of(request):
            start = round(zero + bar.start * 1000)
            end = max(start + 1, round(zero + (bar.start + bar.seconds) * 1000))
            tag = {True: "done", False: "crit", None: "active"}[bar.ok]
            lines.append(f"  {bare(bar.name)} :{tag}, {start}, {end}")
    return "\n".join(lines) + "\n"


def timeline_json(run: RunRecord) -> list[list[dict[str, Any]]]:
    """Return the bars of each request as plain values."""
    return [[dict(vars(bar)) for bar in bars_of(request)] for request in run.requests]


def _draw_bar(bar: Bar, whole: float) -> str:
    scale = BAR_WIDTH / whole if whole else 0.0
    first = min(BAR_WIDTH - 1, int(bar.start * scale))
    wide = max(1, min(BAR_WIDTH - first, round(bar.seconds * scale)))
    return " " * first + {True: "█", False: "▒", None: "░"}[bar.ok] * wide


def _seconds(began: str, ended: str) -> float:
    took = datetime.fromisoformat(ended) - datetime.fromisoformat(began)
    return max(0.0, round(took.total_seconds(), 6))
