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
from asterism.events.telling import BUS, Line, is_told, line_in, tell, tell_here

__all__ = [
    "BACKLOG",
    "BUS",
    "CALLS",
    "TYPES",
    "Event",
    "EventBus",
    "EventType",
    "Handler",
    "HandlerFailure",
    "Line",
    "SupervisionEvent",
    "SupervisionEventType",
    "WorkflowEvent",
    "WorkflowEventType",
    "is_told",
    "line_in",
    "tell",
    "tell_here",
    "utc_now",
]
