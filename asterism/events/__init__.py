"""Events: what happens in supervision and in workflows, told in one order on one bus."""

from asterism.events.bus import EventBus, HandlerFailure, utc_now
from asterism.events.listeners import BACKLOG, Handler
from asterism.events.model import (
    Event,
    EventType,
    SupervisionEvent,
    SupervisionEventType,
    WorkflowEvent,
    WorkflowEventType,
)
from asterism.events.telling import BUS, tell, tell_here

__all__ = [
    "BACKLOG",
    "BUS",
    "Event",
    "EventBus",
    "EventType",
    "Handler",
    "HandlerFailure",
    "SupervisionEvent",
    "SupervisionEventType",
    "WorkflowEvent",
    "WorkflowEventType",
    "tell",
    "tell_here",
    "utc_now",
]
