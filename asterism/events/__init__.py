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

__all__ = [
    "BACKLOG",
    "CALLS",
    "TYPES",
    "Event",
    "EventBus",
    "EventType",
    "Handler",
    "HandlerFailure",
    "SupervisionEvent",
    "SupervisionEventType",
    "WorkflowEvent",
    "WorkflowEventType",
    "utc_now",
]
