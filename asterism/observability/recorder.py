"""The recorder: hears what happens on an event bus, and keeps a trace of each run."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, Self, get_args

from langgraph.errors import GraphBubbleUp

from asterism.core.messages import clean_text
from asterism.core.values import message_of, plain_facts
from asterism.errors import ConfigurationError
from asterism.events import Event, EventBus, SupervisionEvent, utc_now
from asterism.observability.from_events import UNFINISHED, RecordedEvent, Stored, read_trace
from asterism.observability.trace import (
    HEARD,
    TEXT,
    Trace,
    TraceLevel,
    TraceMetrics,
    analyze_traces,
)
from asterism.observability.trace_store import InMemoryTraceStore, Retention, SqliteTraceStore
from asterism.storage.open import MEMORY, make_private, sqlite_path

ENDS = ("completed", "limit", "stalled", "failed", "cancelled")
"""How a trace may end."""


class TraceStore(Protocol):
    """Keeps the notes of traces."""

    def put(self, run: str, thread: str, note: RecordedEvent) -> None:
        """Add a note to the trace of a run."""
        ...

    def read(self, name: str) -> Stored | None:
        """Return the trace of this id, or the latest of this thread."""
        ...

    def read_all(self) -> list[Stored]:
        """Return all traces, the one that was begun first first."""
        ...

    def clear(self) -> None:
        """Forget all traces."""
        ...

    def close(self) -> None:
        """Finish what is under way."""
        ...

    def fault(self) -> str | None:
        """Return what keeps traces from being stored."""
        ...


class SupervisorTrace:
    """Keeps a trace of every run that tells its bus what happens.

    Give `trace.bus` to whatever is to be traced: `SupervisorWorkflowBuilder(events=trace.bus)`,
    `AgentOrchestrator(events=trace.bus)`, `AgentSupervisor(bus=trace.bus)`. Workflows inside of
    workflows tell the same bus. It may be used from any thread, and harms no run. Reading a
    file takes time: in async code, `await asyncio.to_thread(trace.get_all_traces)`.

    Example:
        ```python
        trace = SupervisorTrace("sqlite:///traces.db")
        workflow = SupervisorWorkflowBuilder("Trip", model=model, events=trace.bus)...
        print(trace.get_trace_metrics().success_rate)
        ```

    Args:
        url: Where traces are kept: `sqlite:///path`, or `memory:`, gone with the process.
        level: `"off"`: nothing; `"errors"`: beginnings, ends and errors; `"basic"`: also what
            happened, decisions and interactions with the beginnings of their texts;
            `"detailed"`: also model and tool calls, heartbeats and longer texts.
        bus: The bus that is listened to. None: one of its own.
        max_traces: How many traces are kept. None: no limit.
        max_age: Seconds that a trace is kept after its last event. None: no limit.
        max_bytes: What all traces may take together, about. None: no limit.
        clock: The time in UTC.

    Raises:
        ConfigurationError: A level or a limit is none.
        StorageError: The URL is not one of these, or the file cannot be made.
    """

    def __init__(
        self,
        url: str = MEMORY,
        *,
        level: TraceLevel = "basic",
        bus: EventBus | None = None,
        max_traces: int | None = 1_000,
        max_age: float | None = None,
        max_bytes: int | None = 50_000_000,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        if level not in get_args(TraceLevel):
            allowed = ", ".join(get_args(TraceLevel))
            raise ConfigurationError(f"the trace level is {level!r}; allowed: {allowed}")
        retention = Retention(max_traces=max_traces, max_age=max_age, max_bytes=max_bytes)
        self.level: TraceLevel = level
        """How much is kept."""
        self.bus = bus or EventBus(history=0, clock=clock)
        """What is listened to."""
        self._clock = clock
        self._shelf = _shelf(url, retention, TEXT[level], clock)
        if heard := HEARD[level]:
            self.bus.on(heard, self._hear)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- reading

    def get_trace(self, trace_id: str) -> Trace | None:
        """Return a trace by its id, or the latest of a thread by the thread's; None: there is none.

        Raises:
            StorageError: The file cannot be read.
        """
        found = self._shelf.read(trace_id)
        return None if found is None else read_trace(found)

    def get_all_traces(self) -> list[Trace]:
        """Return all traces that are kept, the one that was begun first first.

        Raises:
            StorageError: The file cannot be read.
        """
        return [read_trace(stored) for stored in self._shelf.read_all()]

    def get_trace_metrics(self) -> TraceMetrics:
        """Return what all traces that are kept have in common.

        Raises:
            StorageError: The file cannot be read.
        """
        return analyze_traces(self.get_all_traces())

    def clear_traces(self) -> None:
        """Forget all traces, in the file too.

        Raises:
            StorageError: The file cannot be written.
        """
        self._shelf.clear()

    def fault(self) -> str | None:
        """Return what keeps traces from being stored at the moment; None: nothing."""
        return self._shelf.fault()

    def close(self) -> None:
        """Listen no more, and write what waits to be written."""
        self.bus.off(self._hear)
        self._shelf.close()

    # ---- for programs that are no workflow

    def start_trace(self, trace_id: str, *, name: str = "", **facts: Any) -> None:
        """Begin a trace, or go on with it.

        Args:
            trace_id: Its id.
            name: What it is a trace of.
            **facts: What else there is to know at the start.
        """
        self._note(trace_id, "run_started", {"name": name, "facts": facts})

    def end_trace(self, trace_id: str, *, status: str = "completed", reason: str = "") -> None:
        """End a trace, or let it rest.

        Args:
            trace_id: Its id.
            status: `completed`, `limit`, `stalled`, `failed` or `cancelled`; or `waiting`.
            reason: Why it ended so.

        Raises:
            ValueError: There is no such status.
        """
        allowed = (*ENDS, UNFINISHED[1])
        if status not in allowed:
            raise ValueError(f"the status is {status!r}; allowed: {', '.join(allowed)}")
        self._note(trace_id, "run_ended", {"status": status, "reason": reason})

    def trace_error(self, trace_id: str, error: BaseException | str) -> None:
        """Note an error. A question to a person, which LangGraph raises, is none."""
        if isinstance(error, GraphBubbleUp):
            return
        if isinstance(error, str):
            kind, said = "error", error
        else:
            kind, said = type(error).__name__, message_of(error)
        self._note(trace_id, "error", {"kind": kind, "error": said})

    def trace_decision(self, trace_id: str, decision: str, *, reason: str = "") -> None:
        """Note what was decided, and why."""
        self._note(trace_id, "decision", {"decision": decision, "reason": reason})

    def trace_agent_interaction(
        self, trace_id: str, sender: str, recipient: str, content: str
    ) -> None:
        """Note that somebody sent something to somebody."""
        sent = {"sender": sender, "recipient": recipient, "content": content}
        self._note(trace_id, "interaction", sent)

    def _note(self, trace_id: str, kind: str, facts: Mapping[str, Any]) -> None:
        if self.level == "off" or (self.level == "errors" and kind in ("decision", "interaction")):
            return
        plain = {k: clean_text(v) if isinstance(v, str) else v for k, v in facts.items()}
        self._shelf.put(str(trace_id), "", RecordedEvent(self._clock(), kind, plain_facts(plain)))

    def _hear(self, event: Event) -> None:
        if event.run:
            trace, thread = event.run, event.source
        elif isinstance(event, SupervisionEvent):
            trace, thread = event.source, ""
        else:
            return  # it belongs to a run that tells another bus
        self._shelf.put(trace, thread, RecordedEvent(event.at, event.type.value, event.facts))


def _shelf(url: str, retention: Retention, text: int, clock: Callable[[], datetime]) -> TraceStore:
    path = sqlite_path(url)
    if path is None:
        return InMemoryTraceStore(retention, text, clock)
    make_private(path)
    return SqliteTraceStore(path, retention, text, clock)
