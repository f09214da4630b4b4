"""The flowchart of a run: boxes and arrows of what really ran."""

from collections.abc import Iterator, Sequence

from asterism.pictures.boxes import (
    STEM,
    TextBlock,
    beside,
    box_rows,
    connector_rows,
    draw_box,
    fork,
    join,
)
from asterism.pictures.phrases import (
    end_of,
    heading,
    question_line,
    request_summary,
    state_of,
    title_of,
    tools_line,
    try_line,
)
from asterism.pictures.record import RequestRecord, RoundRecord, RunRecord, VisitRecord
from asterism.pictures.waves import waves
from asterism.pictures.words import fit_text, usage_text, wrap_text

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
    return [*lines, *_usage_suffix(usage_text(decided.usage))]


def _visit(visit: VisitRecord, width: int) -> TextBlock:
    task = f"{visit.task}:" if visit.task and visit.task != visit.participant else ""
    title = fit_text(f"{task} {visit.participant} {state_of(visit)}", TEXT_WIDTH)
    lines: list[str] = []
    if visit.needs:
        lines.append(fit_text(f"after {', '.join(visit.needs)}", TEXT_WIDTH))
    lines += _text(visit.text)
    for said in (visit.error or "", tools_line(visit.tools)):
        lines += wrap_text(said, TEXT_WIDTH, TEXT_LINES)
    for question in visit.questions:
        lines += wrap_text(f"asked {question_line(question)}", TEXT_WIDTH, TEXT_LINES)
    if visit.heir:
        lines.append(fit_text(f"handed over to {visit.heir}", TEXT_WIDTH))
    lines += _usage_suffix(usage_text(visit.usage))
    if visit.inside is not None:
        lines += _rounds(visit.inside, width - 4)
    return draw_box(title, lines)


def _ending(request: RequestRecord) -> list[str]:
    lines = _text(request.answer or "")
    if request.status != "completed" and request.reason:
        lines += wrap_text(request.reason, TEXT_WIDTH, TEXT_LINES)
    return [*lines, *wrap_text(request_summary(request), TEXT_WIDTH, 2)]


def _text(text: str) -> list[str]:
    return wrap_text(f"“{text}”", TEXT_WIDTH, TEXT_LINES) if text.strip() else []


def _usage_suffix(said: str) -> Sequence[str]:
    return [f"({said})"] if said else []
