"""Traces in memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from asterism.tracing.reading import UNFINISHED, RecordedEvent, Stored, redacted_facts, status_after
from asterism.tracing.retention import Retention, TraceRuns

NOTE_BYTES = 400
"""What a note takes besides its texts, about."""


class _Trace:
    """The notes of one trace."""

    __slots__ = ("bytes", "dropped", "notes", "status", "thread")

    def __init__(self, thread: str) -> None:
        self.thread = thread
        self.status = "running"
        self.notes: list[RecordedEvent] = []
        self.bytes = 0
        self.dropped = 0


class InMemoryTraceStore:
    """Keeps traces in memory, as they were heard; what is read from it is cleaned."""

    def __init__(self, retention: Retention, text: int, clock: Callable[[], datetime]) -> None:
        self._retention = retention
        self._text = text
        self._clock = clock
        self._lock = threading.Lock()
        self._runs = TraceRuns()
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        self._latest: dict[str, str] = {}
        self._bytes = 0

    def put(self, run: str, thread: str, note: RecordedEvent) -> None:
        """Add a note to the trace of a run."""
        size = _size(note.facts)
        with self._lock:
            name = self._runs.trace_of(run, thread, note, self._of_thread)
            trace = self._traces.get(name)
            if trace is None:
                trace = self._traces[name] = _Trace(thread)
                if thread:
                    self._latest[thread] = name
            else:
                self._traces.move_to_end(name)
            trace.notes.append(note)
            trace.status = status_after(note) or trace.status
            trace.bytes += size
            self._bytes += size
            self._keep_to_limits(name, note.at)

    def read(self, name: str) -> Stored | None:
        """Return the trace of this id, or the latest of this thread."""
        with self._lock:
            self._expire(self._clock())
            found = name if name in self._traces else self._latest.get(name)
            return None if found is None else self._store(found)

    def read_all(self) -> list[Stored]:
        """Return all traces, the one that was begun first first."""
        with self._lock:
            self._expire(self._clock())
            found = [self._store(name) for name in self._traces]
        return sorted(found, key=lambda stored: stored.notes[0].at)

    def clear(self) -> None:
        """Forget all traces."""
        with self._lock:
            self._traces.clear()
            self._latest.clear()
            self._bytes = 0

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def fault(self) -> str | None:
        """Return what keeps traces from being stored: nothing."""
        return None

    def _store(self, name: str) -> Stored:
        trace = self._traces[name]
        notes = [n._replace(facts=redacted_facts(n.facts, self._text)) for n in trace.notes]
        return Stored(id=name, thread=trace.thread, notes=notes, dropped=trace.dropped)

    def _of_thread(self, thread: str) -> tuple[str, str] | None:
        name = self._latest.get(thread)
        return None if name is None else (name, self._traces[name].status)

    def _keep_to_limits(self, writing: str, now: datetime) -> None:
        limits = self._retention
        self._expire(now)
        while limits.max_traces is not None and len(self._traces) > limits.max_traces:
            self._drop(self._least(writing))
        while limits.max_bytes is not None and self._bytes > limits.max_bytes:
            if len(self._traces) > 1:
                self._drop(self._least(writing))
            elif not self._trim(self._traces[writing]):
                break

    def _expire(self, now: datetime) -> None:
        if self._retention.max_age is None:
            return
        oldest = now - timedelta(seconds=self._retention.max_age)
        while self._traces:
            name, trace = next(iter(self._traces.items()))
            if trace.notes[-1].at >= oldest:
                return
            self._drop(name)

    def _least(self, writing: str) -> str:
        """Return whom to drop: who ended first, else who is silent longest."""
        others = [name for name in self._traces if name != writing]
        ended = (name for name in others if self._traces[name].status not in UNFINISHED)
        return next(ended, others[0])

    def _drop(self, name: str) -> None:
        trace = self._traces.pop(name)
        self._bytes -= trace.bytes
        if self._latest.get(trace.thread) == name:
            del self._latest[trace.thread]

    def _trim(self, trace: _Trace) -> bool:
        """Drop the older half of a trace that is too long alone, but not how it began."""
        half = trace.notes[1 : 1 + len(trace.notes) // 2]
        freed = sum(_size(note.facts) for note in half)
        del trace.notes[1 : 1 + len(half)]
        trace.bytes -= freed
        self._bytes -= freed
        trace.dropped += len(half)
        return bool(half)


def _size(facts: Mapping[str, Any]) -> int:
    texts = sum(len(fact) if isinstance(fact, str) else 8 for fact in facts.values())
    return NOTE_BYTES + texts
