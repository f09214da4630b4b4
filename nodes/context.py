"""What a run carries through all of its nodes: its background, its meter, its event bus."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from asterism.core.values import as_dict
from asterism.events import BUS, CALLS, EventBus, EventScope, WorkflowEventType, emit, event_scope
from asterism.limits.budgets import Budget, BudgetScope, run_scope
from asterism.limits.call_monitor import CallAdmission
from asterism.limits.prices import PriceTable
from asterism.limits.usage_callbacks import MeteredCall, UsageMeter
from asterism.nodes.background import RunContext

BACKGROUND = "asterism_background"
"""The config key under which a run of a workflow carries its background."""
METER = "asterism_meter"
"""The config key under which a run carries its meter, through all workflows in it."""


def background_of(config: RunnableConfig) -> RunContext:
    """Return the background of the run that a node belongs to."""
    return cast(RunContext, as_dict(config.get("configurable"))[BACKGROUND])


def create_run_config(
    config: RunnableConfig | None,
    background: RunContext,
    *,
    prices: PriceTable,
    budget: Budget | None,
    gated: bool,
    events: EventBus | None,
    values: Mapping[str, Any],
    held: asyncio.AbstractEventLoop | None = None,
) -> RunnableConfig:
    """Give a run its background, and its meter; a workflow inside another shares that one's.

    Args:
        config: The config of the run.
        background: Its background.
        prices: What tokens cost.
        budget: What the run may take.
        gated: Whether it has any budget, for itself or for a participant.
        events: The bus that is told what happens. None: that of the workflow around it.
        values: The state of the run, where it goes on.
        held: The event loop that the run holds up, because it is a sync one.
    """
    configurable: dict[str, Any] = {
        **as_dict((config or {}).get("configurable")),
        BACKGROUND: background,
    }
    background.run_id = (config or {}).get("run_id") or background.run_id
    own = {"configurable": configurable, "run_id": background.run_id}
    given = cast(RunnableConfig, {**(config or {}), **own})
    around = var_child_runnable_config.get() or {}
    outer = as_dict(around.get("configurable"))
    shared: UsageMeter | None = configurable.get(METER) or outer.get(METER)
    line = event_scope(configurable) or event_scope(outer)
    if line is not None and line.owner is None:  # a bus that nobody has told of a run yet
        events, line = events or line.bus, None
    if events is not None and (line is None or line.bus is not events):
        line = EventScope(bus=events, run=str(background.run_id), owner=background)
    configurable[BUS] = line
    meter = shared or UsageMeter(prices)
    if shared is None:
        meter.gate.held = held
        meter.gate.restore(values)
    if budget is not None:
        path = workflow_path(given) or workflow_path(around)
        meter.gate.add(BudgetScope(name=run_scope(path), owner=path, budget=budget))
    configurable[METER] = meter
    if line is not None and shared is None:
        meter.gate.on_warning = partial(_warn, given)
        if any(line.bus.has_handler(kind) for kind in CALLS):
            meter.watch(partial(_emit_call, given))
    callbacks: Any = given.get("callbacks") or around.get("callbacks")
    known: list[Any] = getattr(callbacks, "handlers", callbacks) or []
    handlers = [] if shared else meter.handlers
    if gated and not any(isinstance(handler, CallAdmission) for handler in known):
        handlers += meter.gatekeepers
    if handlers:
        given["callbacks"] = _join_handlers(callbacks, handlers)
    return given


def _join_handlers(callbacks: Any, handlers: list[Any]) -> Any:
    """Return callbacks with further handlers.

    `merge_configs` would lay the config of the workflow around over that of this run.
    """
    if not isinstance(callbacks, BaseCallbackManager):
        return [*(callbacks or ()), *handlers]
    both = callbacks.copy()
    for handler in handlers:
        both.add_handler(handler)
    return both


def _warn(config: RunnableConfig, scope: str, measure: str, part: Decimal) -> None:
    used = str(round(part * 100))
    emit(config, WorkflowEventType.BUDGET_WARNING, scope=scope, measure=measure, percent=used)


def _emit_call(config: RunnableConfig, call: MeteredCall) -> None:
    facts = dict(call.entry)
    kind = WorkflowEventType.TOOL_CALLED if "tool" in facts else WorkflowEventType.MODEL_CALLED
    emit(config, kind, path=facts.pop("by"), error=call.error, **facts)


def meter_of(config: RunnableConfig) -> UsageMeter:
    """Return the meter of the run that a node belongs to."""
    return cast(UsageMeter, as_dict(config.get("configurable"))[METER])


def workflow_path(config: RunnableConfig) -> str:
    """Return the path of the workflow that a node belongs to; empty is the outermost."""
    return str((config.get("metadata") or {}).get("participant_path") or "")


def participant_path(config: RunnableConfig, name: str) -> str:
    """Return the participants that lead to one, from the outermost inwards."""
    above = workflow_path(config)
    return f"{above}/{name}" if above else name
