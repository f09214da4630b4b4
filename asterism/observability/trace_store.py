"""Where traces are kept: in memory, or in a sqlite file, written by a thread of its own."""

import json
import logging
import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from asterism.core.numbers import count_faults, raise_number_faults, seconds_faults
from asterism.core.values import describe_error
from asterism.errors import ConfigurationError, StorageError
from asterism.observability.from_events import (
    UNFINISHED,
    RecordedEvent,
    Stored,
    redacted_facts,
    status_after,
)

REMEMBERED = 10_000
"""Of how many runs that went on it is remembered to which trace they belong."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How many traces are kept; those that have ended go first, the oldest of them.

    Raises:
        ConfigurationError: A limit is none.
    """

    max_traces: int | None
    max_age: float | None
    """Seconds since something was recorded last."""
    max_bytes: int | None
    """Of all traces together."""

    def __post_init__(self) -> None:
        faults: list[str] = []
        for name in ("max_traces", "max_bytes"):
            if (count := getattr(self, name)) is not None:
                faults += count_faults(name, count)
        if self.max_age is not None:
            faults += seconds_faults("max_age", self.max_age, above_zero=True)
        raise_number_faults(faults, ConfigurationError)


class TraceRuns:
    """Knows to which trace a run belongs: its own, or that of the run that it goes on with."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, str] = OrderedDict()

    def trace_of(
        self,
        run: str,
        thread: str,
        note: RecordedEvent,
        latest: Callable[[str], tuple[str, str] | None],
    ) -> str:
        """Return the id of the trace that a note belongs to."""
        if thread and note.type == "run_started":
            # A chat client answers a question with a plain message, as a new run.
            found = latest(thread)
            if found and (note.facts.get("resumed") or found[1] == "waiting"):
                self._ids[run] = found[0]
                if len(self._ids) > REMEMBERED:
                    self._ids.popitem(last=False)
        return self._ids.get(run, run)


T = TypeVar("T")
_log = logging.getLogger(__name__)

BACKLOG = 20_000
"""How many notes wait at most; where they cannot be written, the oldest are dropped."""
PAUSE = 0.1
"""Seconds for which notes are gathered, so that many share a transaction."""
NOTE_BYTES = 100
"""What a note takes in the file besides its facts, about."""
PATIENCE = 1.0
"""Seconds to wait for another process that writes."""

_OPEN = ", ".join(f"'{status}'" for status in UNFINISHED)
_TABLES = """
CREATE TABLE IF NOT EXISTS asterism_traces (
    id TEXT PRIMARY KEY, thread TEXT NOT NULL, status TEXT NOT NULL, touched REAL NOT NULL,
    bytes INTEGER NOT NULL, dropped INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS asterism_traces_thread ON asterism_traces (thread, touched);
CREATE TABLE IF NOT EXISTS asterism_trace_notes (
    number INTEGER PRIMARY KEY, trace TEXT NOT NULL, at TEXT NOT NULL, type TEXT NOT NULL,
    facts TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS asterism_trace_notes_trace ON asterism_trace_notes (trace, number);
"""

_ONE = (
    "SELECT id, thread, dropped FROM asterism_traces WHERE id = ? OR thread = ? "
    "ORDER BY id = ? DESC, touched DESC LIMIT 1"
)
_EVERY = "SELECT id, thread, dropped FROM asterism_traces"
_SIZE = "SELECT count(*), coalesce(sum(bytes), 0) FROM asterism_traces"
_NOTES = "SELECT at, type, facts FROM asterism_trace_notes WHERE trace = ? ORDER BY number"
_LATEST = "SELECT id, status FROM asterism_traces WHERE thread = ? ORDER BY touched DESC LIMIT 1"
_LEAST = (
    "SELECT id FROM asterism_traces WHERE id != "
    "(SELECT id FROM asterism_traces ORDER BY touched DESC LIMIT 1) "
    f"ORDER BY status IN ({_OPEN}), touched LIMIT 1"
)
"""Whom to drop: the one that has ended first, else the one that is silent longest."""


class _Waiting(NamedTuple):
    run: str
    thread: str
    note: RecordedEvent


class SqliteTraceStore:
    """Keeps traces in a sqlite file, for its owner alone.

    Whoever records only queues up what is to be written. Where it cannot be written, it waits,
    that is logged once, and nobody else is harmed.
    """

    def __init__(
        self, path: Path, retention: Retention, text: int, clock: Callable[[], datetime]
    ) -> None:
        self._path = path
        self._retention = retention
        self._text = text
        self._clock = clock
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._lost = 0
        self._writing = False
        self._hurry = threading.Event()
        self._fault: str | None = None
        self._reported = False
        self._runs = TraceRuns()
        self._connection: sqlite3.Connection | None = None  # the thread's own
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="traces")

    def put(self, run: str, thread: str, note: RecordedEvent) -> None:
        """Queue up a note for the trace of a run."""
        with self._lock:
            self._queue.append(_Waiting(run, thread, note))
            if len(self._queue) > BACKLOG:
                self._queue.popleft()
                self._lost += 1
            if self._writing:
                return
            self._writing = True
        try:
            self._thread.submit(self._write_soon)
        except RuntimeError:  # closed, or the interpreter shuts down
            self._log_failure("the traces are closed")

    def read(self, name: str) -> Stored | None:
        """Return the trace of this id, or the latest of this thread."""
        found = self._call(lambda connection: _read(connection, _ONE, (name, name, name)))
        return next(iter(found), None)

    def read_all(self) -> list[Stored]:
        """Return all traces, the one that was begun first first."""
        return self._call(lambda connection: _read(connection, _EVERY, ()))

    def size(self) -> int:
        """Return how many bytes the traces take, about."""
        return int(self._call(lambda connection: connection.execute(_SIZE).fetchone())[1])

    def clear(self) -> None:
        """Forget all traces."""
        self._call(lambda connection: _drop(connection, "1"))

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._hurry.set()
        with suppress(RuntimeError):  # it was closed before
            self._thread.submit(self._end).result()
        self._thread.shutdown()

    def fault(self) -> str | None:
        """Return what keeps traces from being stored; None: nothing."""
        return self._fault

    # ---- in the thread

    def _write_soon(self) -> None:
        self._hurry.wait(PAUSE)
        self._write()

    def _write(self) -> None:
        """Write everything that waits, in one transaction."""
        with self._lock:
            batch = list(self._queue)
            self._queue.clear()
            self._writing = False
        if not batch:
            return
        try:
            connection = self._open()
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for waiting in batch:
                    self._insert(connection, waiting)
                self._keep_to_limits(connection)
        except (sqlite3.Error, OSError) as error:
            with self._lock:
                self._queue.extendleft(reversed(batch))
            self._log_failure(describe_error(error))
        else:
            self._fault = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _connect(self._path)
        return self._connection

    def _insert(self, connection: sqlite3.Connection, waiting: _Waiting) -> None:
        run, thread, note = waiting

        def latest(thread: str) -> tuple[str, str] | None:
            found: tuple[str, str] | None = connection.execute(_LATEST, (thread,)).fetchone()
            return found

        name = self._runs.trace_of(run, thread, note, latest)
        facts = json.dumps(redacted_facts(note.facts, self._text))
        connection.execute(
            "INSERT INTO asterism_trace_notes (trace, at, type, facts) VALUES (?, ?, ?, ?)",
            (name, note.at.isoformat(), note.type, facts),
        )
        after, touched = status_after(note), note.at.timestamp()
        connection.execute(
            "INSERT INTO asterism_traces VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT (id) DO UPDATE SET "
            "status = coalesce(?, status), touched = ?, bytes = bytes + excluded.bytes",
            (name, thread, after or "running", touched, len(facts) + NOTE_BYTES, after, touched),
        )

    def _keep_to_limits(self, connection: sqlite3.Connection) -> None:
        limits = self._retention
        if limits.max_age is not None:
            oldest = self._clock().timestamp() - limits.max_age
            _drop(connection, "touched < ?", oldest)
        while True:
            count, size = connection.execute(_SIZE).fetchone()
            many = limits.max_traces is not None and count > limits.max_traces
            if not many and (limits.max_bytes is None or size <= limits.max_bytes):
                return
            if count > 1:
                _drop(connection, f"id = ({_LEAST})")
            elif not _trim_file_trace(connection):
                return

    def _end(self) -> None:
        self._write()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _log_failure(self, why: str) -> None:
        with self._lock:
            while len(self._queue) > BACKLOG:
                self._queue.popleft()
                self._lost += 1
            lost = f"; {self._lost} events are lost" if self._lost else ""
        self._fault = f"{self._path}: {why}{lost}"
        if not self._reported:
            self._reported = True
            _log.error("Traces cannot be written to %s (%s); runs go on.", self._path, why)

    # ---- from elsewhere

    def _call(self, call: Callable[[sqlite3.Connection], T]) -> T:
        """Make a call in the thread, once everything that waits is written.

        Raises:
            StorageError: The file cannot be used, or is closed.
        """

        def there() -> T:
            self._write()
            connection = self._open()
            with connection:
                return call(connection)

        self._hurry.set()
        try:
            return self._thread.submit(there).result()
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise StorageError(
                f"The traces in {str(self._path)!r} cannot be used: {error}. Give them a file that "
                "can be read and written, and ask before they are closed."
            ) from error
        finally:
            self._hurry.clear()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_TABLES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _read(connection: sqlite3.Connection, query: str, arguments: Sequence[str]) -> list[Stored]:
    found: list[Stored] = []
    for name, thread, dropped in connection.execute(query, arguments).fetchall():
        rows = connection.execute(_NOTES, (name,))
        notes = [
            RecordedEvent(datetime.fromisoformat(a), kind, json.loads(f)) for a, kind, f in rows
        ]
        if notes:
            found.append(Stored(id=name, thread=thread, notes=notes, dropped=dropped))
    return sorted(found, key=lambda stored: stored.notes[0].at)


def _drop(connection: sqlite3.Connection, which: str, *arguments: object) -> None:
    """Delete the traces that a condition holds for."""
    names = f"SELECT id FROM asterism_traces WHERE {which}"
    connection.execute(f"DELETE FROM asterism_trace_notes WHERE trace IN ({names})", arguments)
    connection.execute(f"DELETE FROM asterism_traces WHERE {which}", arguments)


def _trim_file_trace(connection: sqlite3.Connection) -> bool:
    """Drop the older half of the only trace, but not how it began."""
    rows = connection.execute("SELECT number, length(facts) FROM asterism_trace_notes ORDER BY 1")
    notes: list[tuple[int, int]] = rows.fetchall()
    half = notes[1 : 1 + len(notes) // 2]
    if not half:
        return False
    connection.execute(
        "DELETE FROM asterism_trace_notes WHERE number BETWEEN ? AND ?", (half[0][0], half[-1][0])
    )
    freed = sum(size + NOTE_BYTES for _, size in half)
    connection.execute(
        "UPDATE asterism_traces SET bytes = bytes - ?, dropped = dropped + ?", (freed, len(half))
    )
    return True


MEMORY_NOTE_BYTES = 400
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

    def size(self) -> int:
        """Return how many bytes the traces take, about."""
        with self._lock:
            return self._bytes

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
    return MEMORY_NOTE_BYTES + texts
