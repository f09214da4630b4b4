"""Telling the event bus that a run carries, from wherever its code is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from asterism.core.messages import clean_text
from asterism.core.values import as_dict
from asterism.events.bus import EventBus
from asterism.events.model import WorkflowEventType

BUS = "asterism_bus"
"""The config key under which a run is given an event bus, and carries its `EventScope`."""
EXCERPT, TAIL = 2_000, 500
"""How many characters of a text events tell at most, and how many of these are its last."""


@dataclass(frozen=True, kw_only=True)
class EventScope:
    """Where a run tells what happens in it; a workflow inside another shares that one's."""

    bus: EventBus
    run: str = ""
    """The name of the run in its events."""
    owner: object = None
    """The background of the workflow whose run it is. None: the bus was given with a config."""


def emit(config: RunnableConfig, what: WorkflowEventType, **facts: Any) -> None:
    """Tell the event bus of a run what happens, if it has one.

    Args:
        config: The config of a node, or of the run.
        what: What happens.
        **facts: What else there is to know; what is None is left out, a long text is cut.
    """
    configurable = as_dict(config.get("configurable"))
    line = event_scope(configurable)
    if line is not None and line.bus.has_handler(what):
        known = {name: _cut(fact) for name, fact in facts.items() if fact is not None}
        line.bus.emit(what, str(configurable.get("thread_id") or ""), known, run=line.run)


def has_event_bus(config: RunnableConfig) -> bool:
    """Whether the run of a config has a bus, so that there is somebody to `tell`."""
    return bool(as_dict(config.get("configurable")).get(BUS))


def emit_from_context(what: WorkflowEventType, to: EventBus | None = None, **facts: Any) -> None:
    """Tell a bus of the run that the code at hand belongs to.

    Args:
        what: What happens.
        to: The bus. None: the one that the run carries.
        **facts: What else there is to know; what is None is left out.
    """
    around = var_child_runnable_config.get() or {}
    configurable = as_dict(around.get("configurable"))
    line = event_scope(configurable)
    if to is not None and (line is None or line.bus is not to):
        line = EventScope(bus=to)
    emit({"configurable": {**configurable, BUS: line}}, what, **facts)


def event_scope(configurable: Mapping[str, Any]) -> EventScope | None:
    """Return where a run tells what happens; one that is no workflow has only the bus."""
    found: EventScope | EventBus | None = configurable.get(BUS)
    return EventScope(bus=found) if isinstance(found, EventBus) else found


def _cut(fact: Any) -> Any:
    """Return a fact as events tell it: a long text is cut in the middle."""
    if not isinstance(fact, str):
        return fact
    long = len(fact) > EXCERPT
    return clean_text(f"{fact[: EXCERPT - TAIL]} … {fact[-TAIL:]}" if long else fact)
