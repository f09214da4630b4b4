"""The trace of a run: a tree of decisions, visits and tools, with what each took."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from asterism.core.values import as_dict
from asterism.observability.record import (
    RequestRecord,
    RoundRecord,
    RunRecord,
    ToolRecord,
    VisitRecord,
)
from asterism.observability.render.flowchart import waves
from asterism.observability.text_width import as_json, fit_text, format_money, usage_text
from asterism.observability.wording import (
    MARKS,
    end_of,
    heading,
    question_line,
    request_summary,
    state_of,
    steering_lines,
    title_of,
    try_line,
)

LINE_WIDTH = 120
"""How many columns a line of the tree takes at most, without its place in the tree."""


@dataclass(frozen=True, kw_only=True)
class TraceNode:
    """A line of the tree, and what stands below it."""

    text: str
    kind: str
    """`"run"`, `"request"`, `"round"`, `"visit"`, `"tool"`, `"note"` or `"end"`."""
    ok: bool | None = True
    below: Sequence["TraceNode"] = ()


def tree_of(run: RunRecord) -> TraceNode:
    """Make the tree of a run."""
    below = tuple(
        _request(request, f"request {number}: ") for number, request in enumerate(run.requests, 1)
    )
    return TraceNode(text=_with(heading(run), usage_text(run.usage)), kind="run", below=below)


def draw_trace(run: RunRecord) -> str:
    """Draw the tree with characters."""
    return "\n".join(_lines(tree_of(run), "", "")) + "\n"


def _lines(branch: TraceNode, first: str, rest: str) -> Iterator[str]:
    yield first + fit_text(branch.text, LINE_WIDTH)
    for place, below in enumerate(branch.below):
        last = place == len(branch.below) - 1
        yield from _lines(
            below, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  ")
        )


def _request(request: RequestRecord, name: str) -> TraceNode:
    reason = f": {request.reason}" if request.reason and request.status != "completed" else ""
    answer = f": “{request.answer}”" if request.answer and not reason else ""
    ok = {"completed": True, "running": None, "waiting": None}.get(request.status, False)
    end = TraceNode(text=f"{end_of(request)}{reason}{answer}", kind="end", ok=ok)
    took = TraceNode(text=request_summary(request), kind="note")
    rounds = [_round(decided) for decided in request.rounds]
    return TraceNode(
        text=f"{name}“{request.request}”", kind="request", ok=ok, below=(*rounds, end, took)
    )


def _round(decided: RoundRecord) -> TraceNode:
    said = f": {decided.instruction}" if decided.instruction else ""
    if decided.question is not None:
        said = f" {question_line(decided.question)}"
    shown = f"round {decided.number}: the supervisor {title_of(decided)}{said}"
    text = _with(fit_text(shown, LINE_WIDTH - 40), usage_text(decided.usage))
    room = LINE_WIDTH // 3  # so that what is wrong with a bad answer is seen
    short = (replace(bad, said=fit_text(bad.said, room)) for bad in decided.tries)
    tries = [TraceNode(text=try_line(bad), kind="note", ok=False) for bad in short]
    visits = [_visit(visit) for wave in waves(decided) for visit in wave]
    steering = [TraceNode(text=line, kind="note") for line in steering_lines(decided.steering)]
    return TraceNode(text=text, kind="round", below=(*steering, *tries, *visits))


def _visit(visit: VisitRecord) -> TraceNode:
    state, _, more = state_of(visit).partition(" ")
    task = f"{visit.task} → " if visit.task and visit.task != visit.participant else ""
    said = visit.error or (f"“{visit.text}”" if visit.text else "")
    text = f"{state} {task}{visit.participant}"
    text += "" if more in ("ok", "skipped") else f" {more}"
    below = [_tool(tool) for tool in visit.tools]
    below += [TraceNode(text=f"asked {question_line(q)}", kind="note") for q in visit.questions]
    below += [TraceNode(text=line, kind="note") for line in steering_lines(visit.steering)]
    if visit.heir:
        below.append(TraceNode(text=f"handed over to {visit.heir}", kind="note"))
    if visit.inside is not None:
        below += [_round(decided) for decided in visit.inside.rounds]
    shown = fit_text(f"{text}: {said}" if said else text, LINE_WIDTH - 40)
    return TraceNode(
        text=_with(shown, usage_text(visit.usage)), kind="visit", ok=visit.ok, below=tuple(below)
    )


def _tool(tool: ToolRecord) -> TraceNode:
    cost = format_money(tool.cost_usd) if tool.cost_usd else ""
    came = {True: tool.result, False: f"failed: {tool.result}", None: "nothing has come back"}
    called = fit_text(f"{tool.name}({_arguments(tool.arguments)})", 60)
    text = f"{MARKS[tool.ok]} {called} → {came[tool.ok]}"
    return TraceNode(text=_with(fit_text(text, LINE_WIDTH - 20), cost), kind="tool", ok=tool.ok)


def _arguments(arguments: str) -> str:
    """Write the arguments of a call as Python does."""
    try:
        given = as_dict(json.loads(arguments))
    except ValueError:  # shortened, or what a model sent was no JSON
        return arguments
    return ", ".join(f"{name}={as_json(value)}" for name, value in given.items())


def _with(text: str, more: str) -> str:
    return f"{text} ({more})" if more else text
