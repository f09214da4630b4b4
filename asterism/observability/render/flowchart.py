"""The flowchart of a run: what ran, and which visits ran side by side."""

from collections.abc import Iterator

from asterism.core.usage import Usage
from asterism.observability.record import RequestRecord, RoundRecord, RunRecord, VisitRecord
from asterism.observability.render.boxes import (
    STEM,
    TextBlock,
    beside,
    box_rows,
    connector_rows,
    draw_box,
    fork,
    join,
)
from asterism.observability.text_width import fit_text, usage_text, wrap_text
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


def waves(decided: RoundRecord) -> list[list[VisitRecord]]:
    """Put the visits of a round in the order in which they were possible.

    A visit comes after those whose results it needs, and after the one that it took over
    from; else it stands as early as it can.
    """
    depth: dict[str, int] = {}
    found: list[list[VisitRecord]] = []
    order = {task.id: number for number, task in enumerate(decided.tasks)}
    left = sorted(decided.visits, key=lambda visit: order.get(visit.task or "", 0))
    while left:
        ready = [v for v in left if not _waits(v, left)] or left[:1]
        for visit in ready[:]:
            left.remove(visit)
            task = visit.task or ""
            level = depth[task] = 1 + max(depth.get(name, -1) for name in (*visit.needs, task))
            if len(found) == level:
                found.append([])
            found[level].append(visit)
    return found


def _waits(visit: VisitRecord, left: list[VisitRecord]) -> bool:
    earlier = left[: left.index(visit)]
    same = any(other.task == visit.task for other in earlier)
    return same or any(other.task in visit.needs for other in left if other.task)


WIDTH = 100
"""How many columns boxes that stand side by side take together."""
TEXT_WIDTH = 44
"""How many columns a text takes in a box."""
TEXT_LINES = 3
"""How many lines of a text a box shows."""


def draw_flowchart(run: RunRecord) -> str:
    """Draw a run with characters."""
    lines = [heading(run)]
    for request in run.requests:
        lines += ["", *draw_box("request", _text(request.request) or ["(nothing)"])]
        lines += _rounds(request, WIDTH)
        lines += [*fork([STEM]), *draw_box(end_of(request), _ending(request))]
        lines += _plan_summary(request)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _rounds(request: RequestRecord, width: int) -> Iterator[str]:
    """Draw the rounds of a request from top to bottom, each with the arrow to it."""
    for decided in request.rounds:
        if decided.kind != "finish":
            yield from _round(decided, width)


def _round(decided: RoundRecord, width: int) -> Iterator[str]:
    yield from fork([STEM])
    yield from draw_box(f"supervisor, round {decided.number}", _decision(decided))
    for wave in waves(decided):
        blocks = [_visit(visit, width) for visit in wave]
        first, *others = box_rows(blocks, width)
        yield from fork(connector_rows(first))
        yield from beside(first)
        for row in others:
            yield f"{' ' * STEM}┊ and beside {'it' if len(first) == 1 else 'these'}"
            yield from beside(row)
        yield from join(connector_rows(others[-1] if others else first))


def _decision(decided: RoundRecord) -> list[str]:
    lines = wrap_text(title_of(decided), TEXT_WIDTH, TEXT_LINES)
    if decided.kind != "plan":
        lines += _text(decided.instruction or "")
    for task in decided.tasks:
        after = f" (after {', '.join(task.needs)})" if task.needs else ""
        said = f"{task.id} → {task.participant}{after}: {task.description}"
        lines.append(fit_text(said, TEXT_WIDTH + 16))
    for bad in decided.tries:
        lines += wrap_text(try_line(bad), TEXT_WIDTH, TEXT_LINES)
    if decided.question is not None:
        lines += wrap_text(question_line(decided.question), TEXT_WIDTH, TEXT_LINES)
    for said in steering_lines(decided.steering):
        lines += wrap_text(said, TEXT_WIDTH, TEXT_LINES)
    return [*lines, *_took(decided.usage)]


def _visit(visit: VisitRecord, width: int) -> TextBlock:
    title = fit_text(f"{name_of(visit)} {state_of(visit)}", TEXT_WIDTH)
    lines: list[str] = []
    if visit.needs:
        lines.append(fit_text(f"after {', '.join(visit.needs)}", TEXT_WIDTH))
    lines += _text(visit.text)
    for said in (visit.error or "", tools_line(visit.tools)):
        lines += wrap_text(said, TEXT_WIDTH, TEXT_LINES)
    for question in visit.questions:
        lines += wrap_text(f"asked {question_line(question)}", TEXT_WIDTH, TEXT_LINES)
    for said in steering_lines(visit.steering):
        lines += wrap_text(said, TEXT_WIDTH, TEXT_LINES)
    if visit.heir:
        lines.append(fit_text(f"handed over to {visit.heir}", TEXT_WIDTH))
    lines += _took(visit.usage)
    if visit.inside is not None:
        lines += _rounds(visit.inside, width - 4)
    return draw_box(title, lines)


def _ending(request: RequestRecord) -> list[str]:
    lines = _text(request.answer or "")
    if request.status != "completed" and request.reason:
        lines += wrap_text(request.reason, TEXT_WIDTH, TEXT_LINES)
    return [*lines, *wrap_text(request_summary(request), TEXT_WIDTH, 2)]


def _plan_summary(request: RequestRecord) -> list[str]:
    """Count the agents that plans created, the calls of tools, and the modes of the tasks."""
    plans = [decided for decided in request.rounds if decided.kind == "plan"]
    if not plans:
        return []
    created = dict.fromkeys(name for decided in request.rounds for name in decided.created)
    modes = dict.fromkeys(task.mode for decided in plans for task in decided.tasks)
    return [
        "",
        "Summary:",
        "─" * 40,
        f"Total Subagents Created: {len(created)}",
        f"Total Tool Calls: {sum(len(visit.tools) for visit in request.visits())}",
        f"Execution Mode(s): {', '.join(modes)}",
    ]


def _text(text: str) -> list[str]:
    return wrap_text(f"“{text}”", TEXT_WIDTH, TEXT_LINES) if text.strip() else []


def _took(usage: Usage) -> list[str]:
    return [f"({said})"] if (said := usage_text(usage)) else []
