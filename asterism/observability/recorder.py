"""The recorder: hears what happens on an event bus, and keeps a trace of each run."""

import reprlib
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, Self, cast, get_args, overload

from langgraph.errors import GraphBubbleUp

from asterism.core.messages import clean_text
from asterism.core.values import as_dict, message_of, plain_facts
from asterism.errors import ConfigurationError, InvalidRequestError
from asterism.events import Event, EventBus, SupervisionEvent, utc_now
from asterism.observability.from_events import UNFINISHED, RecordedEvent, read_trace
from asterism.observability.trace import (
    HEARD,
    TEXT,
    Trace,
    TraceLevel,
    TraceMetrics,
    analyze_traces,
    read_level,
)
from asterism.observability.trace_store import InMemoryTraceStore, Retention, SqliteTraceStore
from asterism.storage.open import MEMORY, make_private, sqlite_path

ENDS = ("completed", "limit", "stalled", "failed", "cancelled")
"""How a trace may end."""

TraceName = str | Mapping[str, Any]
"""What names a trace: its id, or a task or a result, which has an `id`."""


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
            `"detailed"`: also model and tool calls, heartbeats and longer texts. `"ERROR"`,
            `"INFO"` and `"DEBUG"` mean the last three of these.
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
        level: TraceLevel | Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "basic",
        bus: EventBus | None = None,
        max_traces: int | None = 1_000,
        max_age: float | None = None,
        max_bytes: int | None = 50_000_000,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        kept = cast(TraceLevel, read_level(level))
        if kept not in get_args(TraceLevel):
            allowed = ", ".join(get_args(TraceLevel))
            raise ConfigurationError(f"the trace level is {level!r}; allowed: {allowed}")
        retention = Retention(max_traces=max_traces, max_age=max_age, max_bytes=max_bytes)
        self.level: TraceLevel = kept
        """How much is kept."""
        self.agents: Mapping[str, Any] = {}
        """The agents that interactions name by these names."""
        self.bus = bus or EventBus(history=0, clock=clock)
        """What is listened to."""
        self._clock = clock
        self._key = object()
        self._store = _open_store(url, retention, TEXT[kept], clock)
        if heard := HEARD[kept]:
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
        found = self._store.read(trace_id)
        return None if found is None else read_trace(found)

    def get_all_traces(self) -> list[Trace]:
        """Return all traces that are kept, the one that was begun first first.

        Raises:
            StorageError: The file cannot be read.
        """
        return [read_trace(stored) for stored in self._store.read_all()]

    def get_trace_metrics(self) -> TraceMetrics:
        """Return what all traces that are kept have in common.

        Raises:
            StorageError: The file cannot be read.
        """
        return analyze_traces(self.get_all_traces(), stored_bytes=self._store.size())

    def clear_traces(self) -> None:
        """Forget all traces, in the file too.

        Raises:
            StorageError: The file cannot be written.
        """
        self._store.clear()

    def fault(self) -> str | None:
        """Return what keeps traces from being stored at the moment; None: nothing."""
        return self._store.fault()

    def close(self) -> None:
        """Listen no more, and write what waits to be written."""
        self.bus.off(self._hear)
        self._store.close()

    # ---- for programs that are no workflow

    def start_trace(self, trace: TraceName, *, name: str = "", **facts: Any) -> None:
        """Begin a trace, or go on with it.

        What the same async task or thread tells without an id belongs to it until it ends.

        Args:
            trace: Its id, or a task, whose `id` it is; a task without one is given one.
            name: What it is a trace of.
            **facts: What else there is to know at the start.
        """
        trace_id = _id_in(trace) or new_trace_id()
        _CURRENT.set({**_CURRENT.get(), self._key: trace_id})
        self._note(trace_id, "run_started", {"name": name, "facts": facts})

    @property
    def current(self) -> str | None:
        """The id of the trace that was begun here, in this async task or thread."""
        return _CURRENT.get().get(self._key)

    def end_trace(
        self, trace: TraceName | None = None, *, status: str | None = None, reason: str = ""
    ) -> None:
        """End a trace, or let it rest.

        Args:
            trace: Its id, or a result, whose `id`, `status` and `reason` count. None, or a
                result without an id: the trace that was begun here.
            status: `completed`, `limit`, `stalled`, `failed` or `cancelled`; or `waiting`.
                None: as the result says, else `completed`.
            reason: Why it ended so.

        Raises:
            ValueError: There is no such status.
            InvalidRequestError: No trace was begun here.
        """
        told: Mapping[str, Any] = {} if trace is None or isinstance(trace, str) else trace
        status = status or str(told.get("status") or "completed")
        allowed = (*ENDS, UNFINISHED[1])
        if status not in allowed:
            raise ValueError(f"the status is {status!r}; allowed: {', '.join(allowed)}")
        reason = reason or str(told.get("reason") or "")
        trace_id = self._named(trace, "end_trace")
        self._note(trace_id, "run_ended", {"status": status, "reason": reason})
        if trace_id == self.current:
            _CURRENT.set(
                {key: kept for key, kept in _CURRENT.get().items() if key is not self._key}
            )

    @overload
    def trace_error(self, trace: str, error: BaseException | str, /) -> None: ...
    @overload
    def trace_error(
        self, error: BaseException, context: Mapping[str, Any] | None = None, /
    ) -> None: ...
    def trace_error(self, first: Any, second: Any = None, /) -> None:
        """Note an error: `trace_error(id, error)` or `trace_error(error, {"task": task})`.

        Without an id, in the context or its task, it belongs to the trace that was begun here.
        Told with its task, it ends the trace as `failed`, until that is begun or ended anew.
        A question to a person, which LangGraph raises, is no error.
        """
        trace, error, context = first, second, {}
        if isinstance(first, BaseException):
            context = as_dict(second)
            trace, error = context.get("task", second), first
        if isinstance(error, GraphBubbleUp):
            return
        if isinstance(error, BaseException):
            kind, said = type(error).__name__, message_of(error)
        else:
            kind, said = "error", str(error)
        facts: dict[str, Any] = {"kind": kind, "error": said}
        if told := {key: fact for key, fact in context.items() if key != "task"}:
            facts["context"] = told
        if context.get("task") is not None:
            facts |= {"status": "failed", "reason": said}
        self._note(self._named(trace, "trace_error"), "error", facts)

    @overload
    def trace_decision(self, trace: str, decision: str, /, *, reason: str = "") -> None: ...
    @overload
    def trace_decision(
        self, decision: str, data: Mapping[str, Any] | None = None, /, *, reason: str = ""
    ) -> None: ...
    def trace_decision(self, first: str, second: Any = None, /, *, reason: str = "") -> None:
        """Note what was decided, and why.

        Either `trace_decision(id, decision, reason=...)`, or `trace_decision(decision, data)` in
        the trace that was begun here; the reason then is the `reason` or `error` of the data.
        """
        if isinstance(second, str):
            self._note(
                self._named(first, "trace_decision"),
                "decision",
                {"decision": second, "reason": reason},
            )
            return
        data = as_dict(second)
        reason = reason or str(data.get("reason") or data.get("error") or "")
        trace_id = self._named(_task_in(data), "trace_decision")
        self._note(trace_id, "decision", {"decision": first, "reason": reason, "data": data})

    @overload
    def trace_agent_interaction(
        self, trace: str, sender: str, recipient: str, content: str, /
    ) -> None: ...
    @overload
    def trace_agent_interaction(
        self, sender: object, recipient: object, content: Any, /
    ) -> None: ...
    def trace_agent_interaction(self, *told: Any) -> None:
        """Note that somebody sent something to somebody.

        Either `(id, sender, recipient, content)`, or `(sender, recipient, content)` in the trace
        that was begun here; a sender is a name, or an agent that has one, or stands in `agents`.
        """
        if len(told) not in (3, 4):
            raise TypeError(
                f"trace_agent_interaction takes (sender, recipient, content), and the id of a "
                f"trace before them if you like; it was given {len(told)} values"
            )
        trace, (sender, recipient, content) = told[0] if len(told) == 4 else None, told[-3:]
        trace_id = self._named(trace, "trace_agent_interaction")
        named = {"sender": self._name_of(sender), "recipient": self._name_of(recipient)}
        said = content if isinstance(content, str) else _text_of(content)
        self._note(trace_id, "interaction", {**named, "content": said})

    def _name_of(self, agent: object) -> str:
        known = (name for name, other in self.agents.items() if other is agent)
        return next(known, None) or _name_of(agent)

    def _named(self, trace: object, method: str) -> str:
        """Return the id of the trace that is meant.

        Raises:
            InvalidRequestError: None is named, and none was begun here.
        """
        found = _id_in(trace) or self.current
        if found is None:
            raise InvalidRequestError(
                f"{method} names no trace, and none was begun here; begin one with "
                "start_trace(task), or give the id of one first."
            )
        return found

    def _note(self, trace_id: str, kind: str, facts: Mapping[str, Any]) -> None:
        if self.level == "off" or (self.level == "errors" and kind in ("decision", "interaction")):
            return
        plain = {k: clean_text(v) if isinstance(v, str) else v for k, v in facts.items()}
        self._store.put(trace_id, "", RecordedEvent(self._clock(), kind, plain_facts(plain)))

    def _hear(self, event: Event) -> None:
        if event.run:
            trace, thread = event.run, event.source
        elif isinstance(event, SupervisionEvent):
            trace, thread = event.source, ""
        else:
            return  # it belongs to a run that tells another bus
        self._store.put(trace, thread, RecordedEvent(event.at, event.type.value, event.facts))


_CURRENT: ContextVar[Mapping[object, str]] = ContextVar("traces", default=MappingProxyType({}))
"""The id of the trace that was begun here, by the recorder that keeps it."""


def new_trace_id() -> str:
    """Make the id of a trace of what has none."""
    return uuid.uuid4().hex


def _id_in(trace: object) -> str | None:
    """Return the id that a trace is named by: itself, or that of a task or a result.

    Raises:
        InvalidRequestError: It is neither.
    """
    if trace is None or isinstance(trace, str):
        return trace
    if not isinstance(trace, Mapping):
        raise InvalidRequestError(
            f"The trace is {reprlib.repr(trace)}; allowed: its id, or a task or a result, which "
            "has an id."
        )
    found = cast(Mapping[str, Any], trace).get("id")
    return None if found is None else str(found)


def _task_in(data: Mapping[str, Any]) -> object:
    """Return the task that data tell of, itself or in their context."""
    found = data.get("task") or as_dict(data.get("context")).get("task")
    return cast(object, found) if isinstance(found, Mapping) else None


def _name_of(agent: object) -> str:
    for name in ("name", "agent_id", "id"):
        if isinstance(found := getattr(agent, name, None), str) and found:
            return found
    return agent if isinstance(agent, str) else type(agent).__name__


def _text_of(content: object) -> str:
    text = getattr(content, "text", None)
    return str(text) if isinstance(text, str) else str(content)


def _open_store(
    url: str, retention: Retention, text: int, clock: Callable[[], datetime]
) -> InMemoryTraceStore | SqliteTraceStore:
    path = sqlite_path(url)
    if path is None:
        return InMemoryTraceStore(retention, text, clock)
    make_private(path)
    return SqliteTraceStore(path, retention, text, clock)
