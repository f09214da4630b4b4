"""What the pictures say of rounds, visits and ends."""

from collections import Counter
from collections.abc import Mapping, Sequence

from asterism.observability.record import (
    QuestionRecord,
    RequestRecord,
    RoundRecord,
    RunRecord,
    ToolRecord,
    TryRecord,
    VisitRecord,
)
from asterism.observability.text_width import count_text, fit_text, usage_text

MARKS: Mapping[bool | None, str] = {True: "✓", False: "✗", None: "…"}
"""What stands before something that went well, that did not, that is open."""

_STATES: Mapping[str, str] = {
    "ok": "✓ ok",
    "skipped": "⊘ skipped",
    "stopped": "⊘ stopped",
    "pending": "… not begun",
    "running": "… running",
    "waiting": "? waits for a person",
}


def state_of(visit: VisitRecord) -> str:
    """Say how a visit stands."""
    said = _STATES.get(visit.status, f"✗ {visit.status}")
    if visit.undoes:
        said = said.replace("ok", "undone")
    tries = f" after {visit.attempts} attempts" if visit.attempts > 1 else ""
    return said + tries


def name_of(visit: VisitRecord) -> str:
    """Name a visit: who works, and the task where that is called otherwise."""
    task = f"{visit.task}: " if visit.task and visit.task != visit.participant else ""
    return f"{task}{visit.participant}"


def title_of(decided: RoundRecord) -> str:
    """Say what a decision asks for."""
    made = f", creates {', '.join(decided.created)}" if decided.created else ""
    if decided.kind == "plan":
        return f"plans {count_text(len(decided.tasks), 'task')}{made}"
    if decided.kind == "visit":
        return f"sends {decided.participant}{made}"
    return {
        "question": "asks",
        "undo": "takes back what was done",
        "finish": "finishes",
        "failed": "gives no valid decision",
    }[decided.kind]


def try_line(bad: TryRecord) -> str:
    """Say what a bad answer was, and what is wrong with it."""
    said = f"“{bad.said}”: " if bad.said else ""
    return f"{MARKS[False]} {said}{bad.fault}"


def question_line(question: QuestionRecord) -> str:
    """Say a question and what became of it."""
    if question.open:
        answer = "waits for an answer"
    elif question.answer is None:
        answer = "answered"
    else:
        answer = f"“{question.answer}”"
    return f"“{question.prompt}” → {answer}"


def steering_lines(found: Sequence[str]) -> list[str]:
    """Say which messages into the run were taken in."""
    return [f"the user steered: “{text}”" for text in found]


def tools_line(tools: Sequence[ToolRecord]) -> str:
    """Name the tools that were called, each once."""
    counts = Counter((tool.name, MARKS[tool.ok]) for tool in tools)
    named = [
        f"{name} {mark}{f' ×{number}' if number > 1 else ''}"
        for (name, mark), number in counts.items()
    ]
    return f"tools: {', '.join(named)}" if named else ""


def end_of(request: RequestRecord) -> str:
    """Say how a request stands."""
    mark = {"completed": "✓ ", "running": "… ", "waiting": "? "}.get(request.status, "✗ ")
    return f"{mark}{request.status}"


def request_summary(request: RequestRecord) -> str:
    """Count what a request took."""
    visits = [visit for visit in request.visits() if visit.id]
    failed = sum(visit.ok is False and visit.status != "skipped" for visit in visits)
    parts = [
        count_text(len(request.rounds), "round"),
        count_text(len(visits), "visit") + (f" ({failed} failed)" if failed else ""),
        count_text(tools, "tool call") if (tools := sum(len(v.tools) for v in visits)) else "",
        usage_text(request.usage).replace(" call", " model call", 1),
    ]
    return ", ".join(part for part in parts if part)


def heading(run: RunRecord) -> str:
    """Name a run."""
    return fit_text(f"{run.name or 'Workflow'}, thread {run.thread}", 100)
