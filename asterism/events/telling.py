"""Telling the event bus that a run carries, from wherever its code is."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from asterism.events.bus import EventBus
from asterism.events.model import WorkflowEventType
from asterism.plain import as_dict

BUS = "asterism_bus"
"""The config key under which a run carries its event bus, if it has one."""


def tell(config: RunnableConfig, what: WorkflowEventType, **facts: Any) -> None:
    """Tell the event bus of a run what happens, if it has one.

    Args:
        config: The config of a node, or of the run.
        what: What happens.
        **facts: What else there is to know; what is None is left out.
    """
    configurable = as_dict(config.get("configurable"))
    bus: EventBus | None = configurable.get(BUS)
    if bus is not None:
        known = {name: fact for name, fact in facts.items() if fact is not None}
        bus.emit(what, str(configurable.get("thread_id") or ""), known)


def tell_here(what: WorkflowEventType, to: EventBus | None = None, **facts: Any) -> None:
    """Tell a bus of the run that the code at hand belongs to.

    Args:
        what: What happens.
        to: The bus. None: the one that the run carries.
        **facts: What else there is to know; what is None is left out.
    """
    around = var_child_runnable_config.get() or {}
    configurable = as_dict(around.get("configurable"))
    tell({"configurable": {**configurable, BUS: to or configurable.get(BUS)}}, what, **facts)
