"""The record of a thread: what ran, as plain values that can be drawn, compared and stored."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from decimal import Decimal
from typing import Any, Literal, cast

from asterism.core.state import ReportStatus, Status
from asterism.core.text_tables import CELL, Bundle, as_table
from asterism.core.usage import Usage
from asterism.observability.text_width import fit_text, usage_text

VisitStatus = ReportStatus | Literal["running", "waiting", "pending", "stopped"]
"""How a visit stands. `"pending"`: it has not begun. `"stopped"`: its run went on without it."""

RoundKind = Literal["visit", "plan", "question", "undo", "finish", "failed"]
"""What a decision asks for. `"failed"`: no valid one was given."""


@dataclass(frozen=True, kw_only=True)
class ToolRecord:
    """One call of a tool."""

    name: str
    arguments: str
    """As JSON, shortened."""
    result: str
    """What it returned or why it failed, shortened."""
    ok: bool | None
    """None: nothing has come back."""
    cost_usd: Decimal = Decimal(0)
    """What the tool said that it cost, in US dollars."""


@dataclass(frozen=True, kw_only=True)
class QuestionRecord:
    """A question to a person."""

    prompt: str
    answer: str | None = None
    """What was answered, where it is stored."""
    open: bool = False
    """Whether it still waits."""


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """A task as the plan has it."""

    id: str
    participant: str
    description: str
    needs: tuple[str, ...] = ()
    """The tasks whose results it needs."""
    mode: str = "parallel"
    """Its execution mode."""


@dataclass(frozen=True, kw_only=True)
class VisitRecord:
    """What one participant did for one decision or one task."""

    id: str
    """The handoff; empty where the visit has not begun."""
    participant: str
    path: str
    """The participants that lead to it, from the outermost inwards, as in `"team/venue"`."""
    status: VisitStatus
    text: str = ""
    """What it reported, shortened."""
    error: str | None = None
    """What went wrong, as `kind: message`."""
    traceback: str | None = None
    """The end of the traceback, without secrets, where an error was raised."""
    task: str | None = None
    """The task of a plan that it is for."""
    needs: tuple[str, ...] = ()
    """The tasks that came before it."""
    attempts: int = 0
    heir: str | None = None
    """Who took over after it failed."""
    undoes: str | None = None
    """The visit whose effects it took back."""
    began: str | None = None
    """When, as ISO 8601 in UTC; to within the step of the engine that it began in."""
    ended: str | None = None
    checkpoint: str = ""
    """The checkpoint of its workflow that it began after."""
    tools: tuple[ToolRecord, ...] = ()
    questions: tuple[QuestionRecord, ...] = ()
    """What it asked people itself."""
    steering: tuple[str, ...] = ()
    """The messages to it that it took in, shortened."""
    usage: Usage = field(default_factory=Usage)
    """What it took, with everything below it."""
    inside: "RequestRecord | None" = None
    """What happened within a workflow that is a participant."""

    @property
    def ok(self) -> bool | None:
        """Whether it came to a result; None while that is open."""
        return None if self.status in ("running", "waiting", "pending") else self.status == "ok"


@dataclass(frozen=True, kw_only=True)
class TryRecord:
    """A bad answer to the question who works next."""

    said: str
    """Shortened."""
    fault: str
    """What is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """One decision of a supervisor and what came of it."""

    number: int
    """Its place in the request, from 1."""
    kind: RoundKind
    participant: str | None = None
    """Who was sent to work."""
    instruction: str | None = None
    tasks: tuple[TaskRecord, ...] = ()
    question: QuestionRecord | None = None
    """What the user was asked."""
    steering: tuple[str, ...] = ()
    """The messages into the run that the decision took in, shortened."""
    created: tuple[str, ...] = ()
    """The agents that the decision created."""
    tries: tuple[TryRecord, ...] = ()
    """The bad answers before it."""
    visits: tuple[VisitRecord, ...] = ()
    """In the order in which they ended; those that are open come last."""
    began: str | None = None
    """When the supervisor began to decide."""
    decided: str | None = None
    """When the decision was stored."""
    usage: Usage = field(default_factory=Usage)
    """What the decision itself took."""
    checkpoint: str = ""
    """The checkpoint that the decision was taken in."""

    def in_order(self) -> list[VisitRecord]:
        """Return the visits in the order of the plan; those of no task as they ended."""
        places = {task.id: place for place, task in enumerate(self.tasks)}
        return sorted(self.visits, key=lambda visit: places.get(visit.task or "", len(places)))


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """One request and what was done for it."""

    request: str
    """What was asked for, shortened."""
    rounds: tuple[RoundRecord, ...]
    status: Status
    reason: str | None = None
    answer: str | None = None
    """Shortened."""
    began: str | None = None
    ended: str | None = None
    """When it came to its end, or to where it stands now."""
    usage: Usage = field(default_factory=Usage)
    """What everything in it took."""

    def visits(self) -> Iterator[VisitRecord]:
        """Yield all visits, each before those inside of it."""
        for decided in self.rounds:
            for visit in decided.visits:
                yield visit
                if visit.inside is not None:
                    yield from visit.inside.visits()


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What ran on a thread, read from its checkpoints alone."""

    thread: str
    name: str
    """The name of the workflow."""
    requests: tuple[RequestRecord, ...]

    @property
    def usage(self) -> Usage:
        """What everything took."""
        return sum((request.usage for request in self.requests), Usage())

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return cast(dict[str, Any], plain(self))

    def table(self) -> Bundle:
        """Return the visits as a table: who did what for which decision, and what it took."""
        rows = [
            (
                f"{number}.{decided.number}",
                visit.path,
                visit.task or "",
                visit.status,
                fit_text(visit.error or visit.text, CELL),
                usage_text(visit.usage),
            )
            for number, request in enumerate(self.requests, 1)
            for decided in request.rounds
            for visit in decided.in_order()
        ]
        head = ("round", "participant", "task", "status", "said", "took")
        how = self.requests[-1].status if self.requests else "nothing ran"
        return as_table(head, rows, fit_text(f"{self.name}, thread {self.thread}: {how}", CELL))

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        return self.table()


def plain(value: object) -> Any:
    """Turn records into plain JSON values; money becomes a decimal number in a text."""
    if isinstance(value, Usage):
        return {
            "calls": value.calls,
            "input_tokens": value.input_tokens,
            "cached_input_tokens": value.cached_input_tokens,
            "cache_write_tokens": value.cache_write_tokens,
            "cache_hit_rate": round(value.cache_hit_rate, 4),
            "output_tokens": value.output_tokens,
            "estimated_tokens": value.estimated_tokens,
            "seconds": round(value.seconds, 3),
            "cost_usd": str(value.cost_usd),
            "unknown_prices": sorted(value.unknown),
        }
    if is_dataclass(value):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in cast(list[object], value)]
    return str(value) if isinstance(value, Decimal) else value
