"""The result of a check: as text that reads well, and as JSON.

Tests: tests/asterism/apps/test_change_check.py.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from asterism.core.values import plain_facts
from asterism.memories.shared import approximate_tokens
from asterism.testing.cassette_requests import Request, difference, readable
from asterism.testing.change_check.dry_run import NextStep
from asterism.testing.change_check.faults import Fault

Verdict = Literal["unchanged", "changed", "breaks", "over"]
"""What becomes of a thread; `"over"`: nothing is left to do on it."""
_NAMED = 5
"""How many threads of a group are named."""


@dataclass(frozen=True, kw_only=True)
class StepChange:
    """What differs in the next step of a thread."""

    kind: Literal["route", "prompt", "model"]
    """`"route"`: something else comes next. `"prompt"`: a model is sent something else."""
    place: str
    before: str
    now: str
    diff: str = ""
    """The prompts, line by line."""
    tokens: int = 0
    """How many tokens more the model is sent, by estimate."""


@dataclass(frozen=True, kw_only=True)
class ThreadCheck:
    """One thread."""

    thread: str
    state: str
    """`"waiting"`, `"running"`, or how it has ended."""
    verdict: Verdict
    steps: tuple[NextStep, ...] = ()
    """What comes next with the new code."""
    faults: tuple[Fault, ...] = ()
    changes: tuple[StepChange, ...] = ()
    note: str = ""
    """What is known of a change without a baseline."""

    @property
    def is_past(self) -> bool:
        """Whether it is over."""
        return self.verdict == "over"


@dataclass(frozen=True, kw_only=True)
class PastStep:
    """A step of a thread that is over, which would have been another one."""

    thread: str
    step: int
    """Its place in the latest request, from 1."""
    what: str
    changes: tuple[StepChange, ...]


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What new code means for the threads of a database."""

    name: str
    """The name of the workflow."""
    threads: tuple[ThreadCheck, ...]
    past: tuple[PastStep, ...] = ()
    """Where threads that are over would have gone another way."""

    def of(self, verdict: Verdict) -> list[ThreadCheck]:
        """Return the threads of one verdict."""
        return [thread for thread in self.threads if thread.verdict == verdict]

    def exit_code(self, *, strict: bool = False) -> int:
        """Return 1 where a thread breaks, or, if `strict`, where one changes; else 0."""
        return int(bool(self.of("breaks") or (strict and (self.of("changed") or self.past))))

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values, with the prompts, without secrets."""
        counts = Counter(thread.verdict for thread in self.threads)
        rows = [asdict(thread) for thread in self.threads]
        past = [asdict(step) for step in self.past]
        return plain_facts(
            {"name": self.name, "counts": dict(counts), "threads": rows, "past": past}
        )

    def __str__(self) -> str:
        """Write the report for people."""
        broken, changed = self.of("breaks"), self.of("changed")
        lines = [
            f"{len(self.threads)} threads of {self.name!r}: {len(self.of('unchanged'))} go on "
            f"unchanged, {len(changed)} change, {len(broken)} break, {len(self.of('over'))} are "
            "over."
        ]
        lines += _broken_lines(broken) if broken else []
        lines += _changed_lines(changed) if changed else []
        lines += _past_lines(self.past) if self.past else []
        return "\n".join(lines) + "\n"


def compare_steps(before: Sequence[NextStep], now: Sequence[NextStep]) -> list[StepChange]:
    """Say what differs between the next steps of old code and of new code."""
    was = [(step.kind, step.place) for step in before]
    if was != [(step.kind, step.place) for step in now]:
        both = [_words(before), _words(now)]
        return [StepChange(kind="route", place=_place(now), before=both[0], now=both[1])]
    return [change for pair in zip(before, now, strict=True) for change in _compare(*pair)]


def _compare(before: NextStep, now: NextStep) -> Iterator[StepChange]:
    place = now.place
    if before.request is None or now.request is None:
        if before.what != now.what:
            yield StepChange(kind="route", place=place, before=before.what, now=now.what)
        return
    if before.request == now.request:
        return
    only_model = {**before.request, "model": now.request.get("model")} == now.request
    more = approximate_tokens(_text(now.request)) - approximate_tokens(_text(before.request))
    yield StepChange(
        kind="model" if only_model else "prompt",
        place=place,
        before=before.what,
        now=now.what,
        diff=difference(before.request, now.request),
        tokens=0 if only_model else more,
    )


def _text(request: Request) -> str:
    return "\n".join(readable(request))


def _words(steps: Sequence[NextStep]) -> str:
    return "; ".join(f"{step.place} {step.what}" for step in steps)


def _place(steps: Sequence[NextStep]) -> str:
    return ", ".join(dict.fromkeys(step.place for step in steps))


def _broken_lines(broken: Sequence[ThreadCheck]) -> Iterator[str]:
    groups: defaultdict[Fault, list[str]] = defaultdict(list)
    for thread in broken:
        for fault in thread.faults:
            groups[fault].append(thread.thread)
    yield "\nBreak:"
    for fault, threads in groups.items():
        yield f"  {fault.where} ({fault.kind}), {_named(threads)}"
        yield f"    {fault.text}."
        if fault.way_out:
            yield f"    Way out: {fault.way_out}."


def _changed_lines(changed: Sequence[ThreadCheck]) -> Iterator[str]:
    yield "\nChange:"
    notes: defaultdict[str, list[str]] = defaultdict(list)
    groups: defaultdict[tuple[str, ...], list[tuple[str, StepChange]]] = defaultdict(list)
    for thread in changed:
        if thread.note:
            notes[thread.note].append(thread.thread)
        for change in thread.changes:
            groups[_likeness(change)].append((thread.thread, change))
    for note, threads in notes.items():
        yield f"  {_named(threads)}: {note}."
    for found in groups.values():
        change = found[0][1]
        yield f"  {change.place} ({change.kind}), {_named([thread for thread, _ in found])}"
        yield from change_lines(change)


def _likeness(change: StepChange) -> tuple[str, ...]:
    """Return what the changes of many threads have in common: what comes in and goes out."""
    lines = [line for line in change.diff.splitlines() if line[:1] in "+-"]
    own = lines or [change.before, change.now]
    return (change.kind, change.place, *own)


def change_lines(change: StepChange) -> Iterator[str]:
    """Write what differs in a step, in lines for people."""
    if change.tokens:
        yield f"    about {abs(change.tokens)} tokens {'more' if change.tokens > 0 else 'less'}"
    if change.kind == "route":
        yield f"    before: {change.before}"
        yield f"    now:    {change.now}"
    yield from (f"    {line}" for line in change.diff.splitlines()[2:])


def _past_lines(past: Sequence[PastStep]) -> Iterator[str]:
    yield "\nThreads that are over would have gone another way:"
    for step in past:
        yield f"  {step.thread}, step {step.step}: {step.what}"
        for change in step.changes:
            yield from change_lines(change)


def _named(threads: Sequence[str]) -> str:
    """Name threads, as many as fit."""
    names = list(dict.fromkeys(threads))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} thread{'s' * (len(names) != 1)}: {', '.join(names[:_NAMED])}{more}"
