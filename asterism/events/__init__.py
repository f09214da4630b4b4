"""Events: what happens in supervision and in workflows, told in one order on one bus."""

from asterism.events.bus import (
    BACKLOG,
    BUS,
    EventBus,
    EventScope,
    Handler,
    HandlerFailure,
    emit,
    emit_from_context,
    event_scope,
    has_event_bus,
    utc_now,
)
from asterism.events.types import (
    CALLS,
    TYPES,
    Event,
    EventType,
    SupervisionEvent,
    SupervisionEventType,
    WorkflowEvent,
    WorkflowEventType,
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
