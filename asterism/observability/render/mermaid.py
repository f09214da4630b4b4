"""Mermaid of runs. Texts of others are labels and can be nothing else."""

import unicodedata
from collections.abc import Iterator, Sequence

from asterism.observability.record import RequestRecord, RoundRecord, RunRecord, VisitRecord
from asterism.observability.render.flowchart import waves
from asterism.observability.render.trace_tree import TraceNode, tree_of
from asterism.observability.text_width import fit_text, one_line, usage_text
from asterism.observability.wording import (
    end_of,
    heading,
    name_of,
    question_line,
    request_summary,
    state_of,
    steering_lines,
    title_of,
    tools_line,
    try_line,
)

LABEL_WIDTH = 60
"""How many columns a line of a label takes at most."""
_CLASSES = (
    "  classDef ok fill:#e6f4ea,stroke:#1e7d34,color:#111",
    "  classDef failed fill:#fce8e6,stroke:#b3261e,color:#111",
    "  classDef open fill:#fff4d6,stroke:#9a6700,color:#111",
)
_QUOTED = frozenset(" -_.,!?=/+:()'“”→…✓✗⊘×")
"""What may stand in a quoted label as it is, besides letters and digits."""
_FIRST = frozenset("“✓✗⊘…?")
"""The same for how a line begins, besides letters."""
_BARE = frozenset(" -_.")
"""What may stand in a name without quotes as it is, besides letters and digits."""


def mermaid_label(*lines: str) -> str:
    """Write lines as one quoted label: what could mean something becomes its number."""
    shown = (_escape(fit_text(line, LABEL_WIDTH)) for line in lines if line.strip())
    return f'"{"<br/>".join(shown)}"'


def bare(text: str) -> str:
    """Write a text where Mermaid knows no quotes: what could mean something is left out."""
    kept = "".join(c if _is_word(c) or c in _BARE else " " for c in one_line(text))
    return fit_text(kept, LABEL_WIDTH).rstrip("…") or "unnamed"


def _escape(line: str) -> str:
    """Escape a line; its first character too, where it could begin a list."""
    return "".join(
        c if _stands(c, first=not place) else f"#{ord(c)};" for place, c in enumerate(line)
    )


def _stands(char: str, *, first: bool) -> bool:
    """Whether a character of a label stands for itself."""
    if first:
        return char.isalpha() or char in _FIRST
    return _is_word(char) or char in _QUOTED


def _is_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"


_ENDS = {"completed": "ok", "running": "open", "waiting": "open"}


def css_of(ok: bool | None) -> str:
    """Return the class of a node."""
    return "open" if ok is None else "ok" if ok else "failed"


class _Chart:
    """The lines of a flowchart while it is drawn."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._number = 0

    def node(self, shape: str, text: str, css: str = "") -> str:
        """Add a node; return its name."""
        self._number += 1
        name, half = f"n{self._number}", len(shape) // 2
        self.lines.append(f"  {name}{shape[:half]}{text}{shape[half:]}{css and f':::{css}'}")
        return name

    def edges(self, sources: Sequence[str], target: str) -> None:
        """Lead arrows from some nodes to one."""
        self.lines += [f"  {source} --> {target}" for source in sources]

    def request(self, request: RequestRecord, *, end: bool = True) -> tuple[str, list[str]]:
        """Add a request; return its first node and those from which it goes on."""
        first = self.node("([])", mermaid_label("request", f"“{request.request}”"))
        tails = [first]
        for decided in request.rounds:
            if decided.kind != "finish":
                tails = self._round(decided, tails)
        if end:
            reason = "" if request.status == "completed" else request.reason or ""
            answer = f"“{request.answer}”" if request.answer else ""
            text = mermaid_label(end_of(request), answer, reason, request_summary(request))
            last = self.node("([])", text, _ENDS.get(request.status, "failed"))
            self.edges(tails, last)
            tails = [last]
        return first, tails

    def _round(self, decided: RoundRecord, before: list[str]) -> list[str]:
        asks = question_line(decided.question) if decided.question else ""
        text = mermaid_label(
            f"supervisor, round {decided.number}",
            title_of(decided),
            decided.instruction or "",
            *(try_line(bad) for bad in decided.tries),
            asks,
            *steering_lines(decided.steering),
            usage_text(decided.usage),
        )
        decision = self.node("{{}}", text)
        self.edges(before, decision)
        tails: dict[str, list[str]] = {}
        followed: set[str] = set()
        for visit in (visit for wave in waves(decided) for visit in wave):
            first, own = self._visit(visit)
            sources = [n for n in (*visit.needs, visit.task or "") if n in tails]
            self.edges([tail for n in sources for tail in tails[n]] or [decision], first)
            followed.update(visit.needs)
            tails[visit.task or ""] = own
        ends = [tail for name, own in tails.items() if name not in followed for tail in own]
        return ends or [decision]

    def _visit(self, visit: VisitRecord) -> tuple[str, list[str]]:
        title = f"{name_of(visit)} {state_of(visit)}"
        asked = [f"asked {question_line(question)}" for question in visit.questions]
        asked += steering_lines(visit.steering)
        asked += [f"handed over to {visit.heir}"] if visit.heir else []
        lines = (visit.text and f"“{visit.text}”", visit.error or "", tools_line(visit.tools))
        text = mermaid_label(title, *lines, *asked, usage_text(visit.usage))
        if visit.inside is None:
            node = self.node("[]", text, css_of(visit.ok))
            return node, [node]
        self._number += 1
        self.lines.append(f"  subgraph s{self._number}[{mermaid_label(visit.path)}]")
        first, tails = self.request(visit.inside, end=False)
        last = self.node("[]", text, css_of(visit.ok))
        self.edges(tails, last)
        self.lines.append("  end")
        return first, [last]


def flowchart_mermaid(run: RunRecord) -> str:
    """Draw the flowchart of a run."""
    chart = _Chart()
    before: list[str] = []
    for request in run.requests:
        first, tails = chart.request(request)
        chart.edges(before, first)
        before = tails
    title = f"%% {bare(heading(run))}"
    return "\n".join([title, "flowchart TD", *chart.lines, *_CLASSES]) + "\n"


def trace_mermaid(run: RunRecord) -> str:
    """Draw the tree of a run."""
    chart = _Chart()

    def add(branch: TraceNode) -> Iterator[str]:
        shape = {"round": "{{}}", "tool": "[[]]", "visit": "[]"}.get(branch.kind, "([])")
        css = css_of(branch.ok) if branch.kind in ("visit", "tool", "end") else ""
        node = chart.node(shape, mermaid_label(branch.text), css)
        for below in branch.below:
            chart.edges([node], *add(below))
        yield node

    list(add(tree_of(run)))
    title = f"%% {bare(heading(run))}"
    return "\n".join([title, "flowchart LR", *chart.lines, *_CLASSES]) + "\n"
