"""Events, as they are in the core."""

from asterism.events import Event, EventBus

__all__ = ["Event", "EventBus"]
