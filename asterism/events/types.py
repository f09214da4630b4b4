"""What an event is, and which there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class SupervisionEventType(StrEnum):
    """What happens to a child; `asterism.supervision` tells the facts of each."""

    SPAWNED = "spawned"
    """A child was taken on."""
    STARTED = "started"
    """It runs. A restart is told as this, with `attempt` above 1 and a `reason`."""
    HEARTBEAT = "heartbeat"
    """It made progress; told once per `heartbeat_interval` at most."""
    HEARTBEAT_LOST = "heartbeat_lost"
    """It was silent for as long as it may be."""
    PROGRESS = "progress"
    """A step of its own graph, or a round of its loop, is done."""
    QUOTA_WARNING = "quota_warning"
    """It has used 90 % of a quota; told once."""
    QUOTA_EXCEEDED = "quota_exceeded"
    """It has used up a quota; told once."""
    PAUSED = "paused"
    """It rests at a step boundary, with its state saved."""
    RESUMED = "resumed"
    """It goes on after a pause."""
    COMPLETED = "completed"
    """It came to its end."""
    FAILED = "failed"
    """It failed, and is not restarted any more."""
    KILLED = "killed"
    """It was stopped for good."""
    CANCELLED = "cancelled"
    """It was stopped with what it belongs to: its event loop, or the child around it."""


class WorkflowEventType(StrEnum):
    """What happens in a workflow."""

    RUN_STARTED = "run_started"
    """A run begins, or goes on after a question, a stop or a failure."""
    RUN_ENDED = "run_ended"
    """It is over, or rests; the `status` and the `reason` say how."""
    ROUTED = "routed"
    """The supervisor has decided who works next."""
    ASKED = "asked"
    """Somebody waits for a person's answer."""
    ANSWERED = "answered"
    """A person has answered."""
    TASK_STARTED = "task_started"
    """A participant begins a visit or a task."""
    TASK_COMPLETED = "task_completed"
    """It has reported."""
    TASK_FAILED = "task_failed"
    """It could not."""
    RETRIED = "retried"
    """An attempt failed, and it is made again after a pause."""
    BUDGET_WARNING = "budget_warning"
    """90 % of a budget is spent."""
    BUDGET_EXCEEDED = "budget_exceeded"
    """A budget is spent."""
    BREAKER_OPENED = "breaker_opened"
    """A service failed too often and is left alone for a while."""
    BREAKER_HALF_OPEN = "breaker_half_open"
    """Its time is over, and a call tries whether it is back."""
    BREAKER_CLOSED = "breaker_closed"
    """It is back."""
    CONTEXT_COMPACTED = "context_compacted"
    """A prompt was too long, and the beginning of its conversation is left out from now on."""
    WAITING_FOR_CAPACITY = "waiting_for_capacity"
    """A call waits until there is room for it."""
    CACHE_HIT = "cache_hit"
    """A model was not called, for its answer was kept."""
    CACHE_MISS = "cache_miss"
    """No answer was kept, so the model is called."""
    MODEL_CALLED = "model_called"
    """A call of a model is over. Told only where a handler asks for it by name."""
    TOOL_CALLED = "tool_called"
    """A call of a tool is over. Told only where a handler asks for it by name."""


EventType = SupervisionEventType | WorkflowEventType
"""Every type of event."""

CALLS: frozenset[EventType] = frozenset(
    {WorkflowEventType.MODEL_CALLED, WorkflowEventType.TOOL_CALLED}
)
"""There are many of these, so they are told only to who asks for them by name."""

TYPES: Mapping[str, EventType] = {
    kind.value: kind for enum in (SupervisionEventType, WorkflowEventType) for kind in enum
}


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened."""

    sequence: int
    """Its place on the bus, from 1."""
    type: EventType
    source: str
    """Whom it happened to: the id of a child or of a thread."""
    at: datetime
    """When, in UTC."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else there is to know, as plain JSON values."""
    run: str = ""
    """The run of a workflow that it belongs to; empty for what happens to children."""

    @property
    def task_id(self) -> str | None:
        """The task or the visit that it belongs to, where it belongs to one."""
        return self.facts.get("task") or self.facts.get("handoff")

    def as_json(self) -> dict[str, Any]:
        """Return the event as plain JSON values."""
        return {
            "sequence": self.sequence,
            "type": self.type.value,
            "source": self.source,
            "run": self.run,
            "at": self.at.isoformat(),
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, kw_only=True)
class SupervisionEvent(Event):
    """Something that happened to a child."""

    type: SupervisionEventType

    @property
    def child_id(self) -> str:
        """The child."""
        return self.source

    @property
    def child_name(self) -> str:
        """What the child is called."""
        return str(self.facts.get("name", ""))

    @property
    def timestamp(self) -> float:
        """When, in seconds since 1970."""
        return self.at.timestamp()

    @property
    def data(self) -> Mapping[str, Any]:
        """What else there is to know: the facts."""
        return self.facts

    @property
    def message(self) -> str:
        """What there is to say of it, in a text; empty where the type says it all."""
        facts = self.facts
        if "quota" in facts:
            return f"{facts['quota']}: {facts['used']} of {facts['limit']} are used"
        if "silent_seconds" in facts:
            return f"no sign of life for {facts['silent_seconds']} s"
        return str(facts.get("reason") or facts.get("doing") or "")

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain values, by the names of a supervision tree."""
        return {
            "type": self.type.value,
            "child_id": self.child_id,
            "child_name": self.child_name,
            "timestamp": self.timestamp,
            "data": dict(self.facts),
            "message": self.message,
        }


@dataclass(frozen=True, kw_only=True)
class WorkflowEvent(Event):
    """Something that happened in a workflow."""

    type: WorkflowEventType
