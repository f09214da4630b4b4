"""Events: what happens in supervision and in workflows, told in one order on one bus."""

from asterism.events.bus import EventBus, HandlerFailure, utc_now
from asterism.events.listeners import BACKLOG, Handler
from asterism.events.model import (
    CALLS,
    TYPES,
    Event,
    EventType,
    SupervisionEvent,
    SupervisionEventType,
    WorkflowEvent,
    WorkflowEventType,
)
from asterism.events.telling import (
    BUS,
    EventScope,
    emit,
    emit_from_context,
    event_scope,
    has_event_bus,
)

__all__ = [
    "BACKLOG",
    "BUS",
    "CALLS",
    "TYPES",
    "Event",
    "EventBus",
    "EventScope",
    "EventType",
    "Handler",
    "HandlerFailure",
    "SupervisionEvent",
    "SupervisionEventType",
    "WorkflowEvent",
    "WorkflowEventType",
    "emit",
    "emit_from_context",
    "event_scope",
    "has_event_bus",
    "utc_now",
]
