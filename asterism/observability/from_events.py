"""A trace, read from the notes that were taken. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, cast

from asterism.core.values import as_dict, redact_values, shorten
from asterism.observability.trace import (
    Trace,
    TraceCall,
    TraceDecision,
    TraceError,
    TraceEvent,
    TraceInteraction,
)

UNFINISHED = ("running", "waiting")
"""The statuses of what has not ended."""
MARGIN = 100
"""By how many characters a text is cut later than it is kept, so that no secret is cut in two."""


class RecordedEvent(NamedTuple):
    """One line of a trace, as it was heard."""

    at: datetime
    type: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A trace as it stands in a trace store."""

    id: str
    thread: str
    notes: Sequence[RecordedEvent]
    dropped: int = 0
    """How many notes are gone."""


def status_after(note: RecordedEvent) -> str | None:
    """Return the status that a note brings a trace into; None: it stays."""
    if note.type == "run_ended":
        return str(note.facts.get("status") or "completed")
    if note.type == "error" and "status" in note.facts:  # that of a program's task
        return str(note.facts["status"])
    return _STATUS.get(note.type)


_STATUS = {
    "run_started": "running",
    "spawned": "running",
    "started": "running",
    "resumed": "running",
    "paused": "waiting",
    "completed": "completed",
    "failed": "failed",
    "killed": "cancelled",
    "cancelled": "cancelled",
}


def redacted_facts(facts: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """Take secrets out of facts, and shorten their texts."""
    found: dict[str, Any] = _shorten_value(
        redact_values(_shorten_value(dict(facts), limit + MARGIN)), limit
    )
    return found


def _shorten_value(value: object, limit: int) -> Any:
    if isinstance(value, str):
        return shorten(value, limit)
    if isinstance(value, dict):
        named = cast(dict[str, object], value)
        return {name[:limit]: _shorten_value(inner, limit) for name, inner in named.items()}
    if isinstance(value, list):
        return [_shorten_value(inner, limit) for inner in cast(list[object], value)]
    return value


def read_trace(stored: Stored) -> Trace:
    """Read a trace from its notes, of which there is at least one."""
    status, reason, name, thread = "running", "", "", stored.thread
    versions: Mapping[str, str] = {}
    facts: Mapping[str, Any] = {}
    for note in stored.notes:
        if after := status_after(note):
            status, reason = after, str(note.facts.get("reason") or "")
        given = note.facts.get("workflow") or note.facts.get("name")
        name = name or (str(given) if given else "")
        thread = thread or str(note.facts.get("thread_id") or "")
        versions = note.facts.get("versions") or versions
        facts = note.facts.get("facts") or facts
    changes = [note.at for note in stored.notes if status_after(note)]
    ended = None if status in UNFINISHED else changes[-1]
    return Trace(
        id=stored.id,
        name=name,
        thread_id=thread,
        status=status,
        reason="" if status == "running" else reason,
        started_at=stored.notes[0].at,
        ended_at=ended,
        duration=None if ended is None else active_seconds(stored.notes),
        events=tuple(TraceEvent(at=n.at, type=n.type, facts=n.facts) for n in stored.notes),
        decisions=tuple(d for note in stored.notes for d in _decisions(note)),
        interactions=tuple(_interactions(stored.notes)),
        errors=tuple(_errors(stored.notes, name)),
        calls=tuple(c for note in stored.notes for c in _calls(note)),
        versions=versions,
        facts=facts,
        dropped=stored.dropped,
    )


def active_seconds(notes: Sequence[RecordedEvent]) -> float:
    """Add up how long a run was at work; what died is taken to have worked to its last note."""
    total, begun, last = 0.0, notes[0].at, notes[0].at
    working = True
    for note in notes:
        after = status_after(note)
        if after == "running" and working and note.type == "run_started":
            total += (last - begun).total_seconds()
            begun = note.at
        elif after == "running" and not working:
            begun, working = note.at, True
        elif after not in ("running", None) and working:
            total += (note.at - begun).total_seconds()
            working = False
        last = note.at
    return max(0.0, total)


def supervisor_of(path: str) -> str:
    """Return the path of the supervisor that sends somebody to work."""
    return supervisor_in(path.rpartition("/")[0])


def supervisor_in(workflow: str) -> str:
    """Return the path of the supervisor of a workflow, whose own path may be empty."""
    return f"{workflow}/supervisor" if workflow else "supervisor"


def _text(facts: Mapping[str, Any], *names: str) -> str:
    return next((str(facts[name]) for name in names if facts.get(name) is not None), "")


def _decisions(note: RecordedEvent) -> Iterator[TraceDecision]:
    facts = note.facts
    if note.type == "routed":
        tasks = ", ".join(str(task) for task in facts.get("tasks") or ())
        yield TraceDecision(
            at=note.at,
            by=supervisor_in(_text(facts, "path")),
            decision=_text(facts, "next_agent") or tasks,
            instruction=_text(facts, "instruction"),
        )
    elif note.type == "decision":
        reason = _text(facts, "reason")
        yield TraceDecision(at=note.at, by="", decision=_text(facts, "decision"), reason=reason)


def _errors(notes: Sequence[RecordedEvent], name: str) -> Iterator[TraceError]:
    told = any(note.type == "error" for note in notes)
    for note in notes:
        facts = note.facts
        failed = note.type == "run_ended" and facts.get("status") == "failed"
        if failed and told and "kind" not in facts:
            continue  # a program has told what failed
        if failed or note.type in ("task_failed", "failed", "error"):
            yield TraceError(
                at=note.at,
                type=_text(facts, "kind") or "failed",
                message=_text(facts, "error", "reason"),
                source=_text(facts, "path") or name,
            )


def _calls(note: RecordedEvent) -> Iterator[TraceCall]:
    facts = note.facts
    if note.type in ("model_called", "tool_called"):
        yield TraceCall(
            at=note.at,
            by=_text(facts, "path"),
            name=_text(facts, "tool", "model"),
            tool=note.type == "tool_called",
            seconds=float(facts.get("seconds") or 0),
            input_tokens=int(facts.get("input_tokens") or 0),
            cached_input_tokens=int(facts.get("cached_input_tokens") or 0),
            estimated=bool(facts.get("estimated")),
            output_tokens=int(facts.get("output_tokens") or 0),
            cost_usd=facts.get("cost_usd"),
            error=facts.get("error"),
        )


_SENT: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str, str]]] = {
    "run_started": lambda f: ("user", "supervisor", _text(f, "request")),
    "task_started": lambda f: (_above(f), _text(f, "path"), _text(f, "request")),
    "task_completed": lambda f: (_text(f, "path"), _above(f), _text(f, "text")),
    "task_failed": lambda f: (_text(f, "path"), _above(f), _text(f, "text", "error")),
    "run_ended": lambda f: ("supervisor", "user", _text(f, "answer")),
    "asked": lambda f: (_asker(f), "user", _text(f, "prompt")),
    "spawned": lambda f: ("supervisor", _text(f, "name"), ""),
    "completed": lambda f: (_text(f, "name"), "supervisor", ""),
    "failed": lambda f: (_text(f, "name"), "supervisor", _text(f, "reason")),
    "interaction": lambda f: (_text(f, "sender"), _text(f, "recipient"), _text(f, "content")),
}
"""Who sends what to whom, by the type of a note."""
_SAYS = {"run_started": "request", "run_ended": "answer"}
"""The fact without which a note of this type tells of nothing that was sent."""


def _above(facts: Mapping[str, Any]) -> str:
    return supervisor_of(_text(facts, "path"))


def _asker(facts: Mapping[str, Any]) -> str:
    path = _text(facts, "path")
    return path if "handoff" in facts else supervisor_in(path)


def _interactions(notes: Sequence[RecordedEvent]) -> Iterator[TraceInteraction]:
    """Tell who sent what to whom, once: a visit that goes on after a question is told again."""
    seen: set[tuple[str, str]] = set()
    asked: dict[str, str] = {}
    for note in notes:
        facts = as_dict(note.facts)
        if note.type == "asked":
            asked[_text(facts, "request")] = _asker(facts)
        known = {"task_started": "handoff", "asked": "request"}.get(note.type, "")
        once = (note.type, _text(facts, known))
        if once[1] and once in seen:
            continue
        seen.add(once)
        if note.type == "answered":
            who = asked.get(_text(facts, "request")) or asked.get("") or "supervisor"
            sent = ("user", who, _text(facts, "answer"))
        elif note.type in _SENT and _SAYS.get(note.type, note.type) in (note.type, *facts):
            sent = _SENT[note.type](facts)
        else:
            continue
        yield TraceInteraction(at=note.at, sender=sent[0], recipient=sent[1], content=sent[2])
