"""The trace of a run, its levels, and the metrics of many traces."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from asterism.core.mappings import JsonRecord
from asterism.core.text_tables import CELL, Bundle, as_table, nested_table
from asterism.events import CALLS, TYPES, EventType, SupervisionEventType, WorkflowEventType
from asterism.observability.text_width import fit_text


@dataclass(frozen=True, kw_only=True)
class TraceEvent(JsonRecord):
    """Something that happened."""

    at: datetime
    type: str
    """A type of event of the bus; or `decision`, `interaction` or `error`, told by a program."""
    facts: Mapping[str, Any]

    ALSO: ClassVar = ("error_type",)

    @property
    def error_type(self) -> str | None:
        """The kind of the error, or of the failure, where it is one."""
        kind = self.facts.get("kind")
        return str(kind) if kind else None


@dataclass(frozen=True, kw_only=True)
class TraceDecision(JsonRecord):
    """Somebody decided what happens next."""

    at: datetime
    by: str
    """The path of the supervisor; empty where a program told of it."""
    decision: str
    """Who works next, the ids of the tasks that begin, or a program's words."""
    reason: str = ""
    instruction: str = ""
    """What whoever works next is told."""


@dataclass(frozen=True, kw_only=True)
class TraceInteraction(JsonRecord):
    """Somebody sent something to somebody."""

    at: datetime
    sender: str
    """A path: `supervisor`, `venue`, `team/venue`; or `user`."""
    recipient: str
    content: str = ""


@dataclass(frozen=True, kw_only=True)
class TraceError(JsonRecord):
    """Something failed."""

    at: datetime
    type: str
    """The kind of failure of a task, or the name of the error."""
    message: str
    source: str = ""
    """Who failed."""


@dataclass(frozen=True, kw_only=True)
class TraceCall(JsonRecord):
    """A call of a model or a tool; recorded at the level `detailed`."""

    at: datetime
    """When it was over."""
    by: str
    """The path of who made it."""
    name: str
    tool: bool
    seconds: float
    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Those of them that the provider had in its cache."""
    output_tokens: int = 0
    estimated: bool = False
    """Whether the tokens are an estimate, because the answer told none."""
    cost_usd: str | None = None
    """A decimal number of dollars; None: not known."""
    error: str | None = None
    """The name of the error that it failed with."""


@dataclass(frozen=True, kw_only=True)
class Trace(JsonRecord):
    """What is known of one run, of one supervised child, or of one task of a program."""

    id: str
    name: str
    """Of the workflow, the child or the program."""
    thread_id: str
    status: str
    """`running`, `waiting`, or how it ended: `completed`, `limit`, `stalled`, `failed`,
    `cancelled`. A process that died leaves `running` behind, until the run goes on."""
    reason: str
    started_at: datetime
    ended_at: datetime | None
    """None: it has not ended."""
    duration: float | None
    """Seconds at work, without the waiting for people. None: it has not ended."""
    events: tuple[TraceEvent, ...]
    """Everything that was recorded, oldest first; the rest is read from it."""
    decisions: tuple[TraceDecision, ...]
    interactions: tuple[TraceInteraction, ...]
    errors: tuple[TraceError, ...]
    calls: tuple[TraceCall, ...]
    versions: Mapping[str, str]
    """Hashes of what the workflow was made of: `prompts`, `instructions`, `team`."""
    facts: Mapping[str, Any]
    """What a program told at the start."""
    dropped: int
    """How many events are missing, for want of room."""

    ALSO: ClassVar = ("start_time", "end_time", "agent_interactions")

    @property
    def start_time(self) -> datetime:
        """When it began."""
        return self.started_at

    @property
    def end_time(self) -> datetime | None:
        """When it ended. None: it has not."""
        return self.ended_at

    @property
    def agent_interactions(self) -> tuple[TraceInteraction, ...]:
        """Who sent what to whom."""
        return self.interactions

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.ended_at is not None

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        took = "" if self.duration is None else f" in {self.duration:.3f} s"
        reason = f": {self.reason}" if self.reason else ""
        sent = [(i.sender, i.recipient, fit_text(i.content, CELL)) for i in self.interactions]
        head = fit_text(f"{self.name}: {self.status}{took}{reason}", CELL * 2)
        parts = [as_table(("from", "to", "what"), sent, head)]
        if self.errors:
            rows = [(e.source, e.type, fit_text(e.message, CELL)) for e in self.errors]
            parts.append(as_table(("who", "error", "message"), rows))
        if self.calls:
            calls = [(c.by, c.name, f"{c.seconds:.3f} s", c.error or "") for c in self.calls]
            parts.append(as_table(("who", "called", "took", "error"), calls))
        return nested_table(*parts)


TraceLevel = Literal["off", "errors", "basic", "detailed"]
"""Nothing; beginnings, ends and errors; what happened; also the calls and the longer texts."""

_LOGGING: Mapping[str, TraceLevel] = {
    "debug": "detailed",
    "info": "basic",
    "warning": "errors",
    "error": "errors",
}


def read_level(level: object) -> object:
    """Return a level; `DEBUG`, `INFO`, `WARNING` and `ERROR` are words for three of them."""
    return _LOGGING.get(level.lower(), level) if isinstance(level, str) else level


_ENDS_AND_ERRORS: frozenset[EventType] = frozenset(
    {
        WorkflowEventType.RUN_STARTED,
        WorkflowEventType.RUN_ENDED,
        WorkflowEventType.TASK_FAILED,
        SupervisionEventType.SPAWNED,
        SupervisionEventType.STARTED,
        SupervisionEventType.PAUSED,
        SupervisionEventType.RESUMED,
        SupervisionEventType.COMPLETED,
        SupervisionEventType.FAILED,
        SupervisionEventType.KILLED,
        SupervisionEventType.CANCELLED,
    }
)
_ALL = frozenset(TYPES.values())

HEARD: Mapping[TraceLevel, frozenset[EventType]] = {
    "off": frozenset(),
    "errors": _ENDS_AND_ERRORS,
    "basic": _ALL - CALLS - {SupervisionEventType.HEARTBEAT, SupervisionEventType.PROGRESS},
    "detailed": _ALL,
}
"""The events that each level listens to."""

TEXT: Mapping[TraceLevel, int] = {"off": 0, "errors": 200, "basic": 200, "detailed": 4_000}
"""How many characters of each text a level keeps."""


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the value that `percent` of all values do not exceed, between two by their distance.

    Args:
        values: The values in any order. None of them: None is returned.
        percent: From 0 to 100.

    Raises:
        ValueError: `percent` is none.
    """
    if isinstance(percent, bool) or not 0 <= percent <= 100:
        raise ValueError(f"percent is {percent!r}; it must be from 0 to 100, such as 95")
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below + (above - below) * (place % 1)


@dataclass(frozen=True, kw_only=True)
class TraceMetrics(JsonRecord):
    """What many traces have in common."""

    total: int
    finished: int
    unfinished: int
    """Those that run, wait, or were left by a process that died."""
    success_rate: float | None
    """The share of the finished that are `completed`, 0 to 1. None: nothing is finished."""
    average_duration: float | None
    """Seconds at work of the finished. None: nothing is finished."""
    statuses: Mapping[str, int]
    """How many there are of each status, the most frequent first."""
    error_types: Mapping[str, int]
    """How many errors there are of each type, in all traces."""
    interactions: Mapping[str, int]
    """How many things were sent, by `"sender -> recipient"`."""
    stored_bytes: int | None = None
    """What the traces take where they are kept, about. None: they are not from there."""
    durations: tuple[float, ...] = ()
    """Seconds at work of each of the finished, shortest first."""

    ALSO: ClassVar = ("total_tasks", "agent_interactions")

    @property
    def total_tasks(self) -> int:
        """How many traces there are: a task has one."""
        return self.total

    @property
    def agent_interactions(self) -> Mapping[str, int]:
        """How many things were sent, by `"sender->recipient"`."""
        return {sent.replace(" -> ", "->"): n for sent, n in self.interactions.items()}

    def percentile(self, percent: float) -> float | None:
        """Return the seconds that `percent` of the finished do not exceed. None: none is."""
        return percentile(self.durations, percent)

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        took = self.average_duration
        rows = [
            ("traces", self.total),
            ("success rate", "-" if self.success_rate is None else f"{self.success_rate:.0%}"),
            ("average duration", "-" if took is None else f"{took:.3f} s"),
            *((f"status {name}", number) for name, number in self.statuses.items()),
            *((f"error {name}", number) for name, number in self.error_types.items()),
            *self.interactions.items(),
        ]
        return as_table(("what", "how many"), rows, "traces")


def analyze_traces(
    traces: Iterable[Mapping[str, Any]], *, stored_bytes: int | None = None
) -> TraceMetrics:
    """Count what happened in traces; those that are not finished are in no average.

    Args:
        traces: Traces, or the plain values of some: with `status`, `start_time`, `end_time`,
            `events` and `agent_interactions`, as `as_json` writes them.
        stored_bytes: What they take where they are kept, about.
    """
    everything = list(traces)
    finished = [trace for trace in everything if trace.get("end_time")]
    successes = sum(trace["status"] == "completed" for trace in finished)
    durations = sorted(map(_seconds, finished))
    errors = (error for trace in everything for error in _error_types(trace))
    sent = (
        f"{i['sender']} -> {i['recipient']}"
        for trace in everything
        for i in trace.get("agent_interactions", ())
    )
    return TraceMetrics(
        total=len(everything),
        finished=len(finished),
        unfinished=len(everything) - len(finished),
        success_rate=successes / len(finished) if finished else None,
        average_duration=sum(durations) / len(durations) if durations else None,
        statuses=_count_names(trace["status"] for trace in everything),
        error_types=_count_names(errors),
        interactions=_count_names(sent),
        stored_bytes=stored_bytes,
        durations=tuple(durations),
    )


def _seconds(trace: Mapping[str, Any]) -> float:
    """Return how long a finished trace was at work, as far as it says."""
    if (told := trace.get("duration")) is not None:
        return float(told)
    begun, ended = (datetime.fromisoformat(trace[key]) for key in ("start_time", "end_time"))
    return (ended - begun).total_seconds()


def _error_types(trace: Mapping[str, Any]) -> list[str]:
    if "errors" in trace:
        return [error["type"] for error in trace["errors"]]
    events: Iterable[Mapping[str, Any]] = trace.get("events", ())
    return [str(event["error_type"]) for event in events if event["type"] == "error"]


def _count_names(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda found: (-found[1], found[0])))
