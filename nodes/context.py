"""What a run carries through all of its nodes: its background, its meter, its event bus."""

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any, cast

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs, var_child_runnable_config

from asterism.budgets import Budget, Scope, run_scope
from asterism.events import BUS, EventBus, WorkflowEventType, tell
from asterism.metering import Gatekeeper
from asterism.nodes.background import Background
from asterism.plain import as_dict
from asterism.prices import PriceTable
from asterism.redaction import describe_error
from asterism.resilience import failure_kind
from asterism.usage import Meter

BACKGROUND = "asterism_background"
"""The config key under which a run of a workflow carries its background."""
METER = "asterism_meter"
"""The config key under which a run carries its meter, through all workflows in it."""


def background_of(config: RunnableConfig) -> Background:
    """Return the background of the run that a node belongs to."""
    return cast(Background, as_dict(config.get("configurable"))[BACKGROUND])


def with_background(
    config: RunnableConfig | None,
    background: Background,
    *,
    prices: PriceTable,
    budget: Budget | None,
    gated: bool,
    events: EventBus | None,
    values: Mapping[str, Any],
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
    shared: Meter | None = configurable.get(METER) or outer.get(METER)
    bus = configurable[BUS] = events or configurable.get(BUS) or outer.get(BUS)
    meter = shared or Meter(prices)
    if shared is None:
        meter.gate.restore(values)
    if budget is not None:
        path = workflow_path(given) or workflow_path(around)
        meter.gate.add(Scope(name=run_scope(path), owner=path, budget=budget))
    configurable[METER] = meter
    if bus is not None and shared is None:
        meter.gate.on_warning = partial(_warn, given)
    callbacks: Any = given.get("callbacks") or around.get("callbacks")
    known: list[Any] = getattr(callbacks, "handlers", callbacks) or []
    handlers = [] if shared else meter.handlers
    if gated and not any(isinstance(handler, Gatekeeper) for handler in known):
        handlers += meter.gatekeepers
    if not handlers:
        return given
    return merge_configs({**given, "callbacks": callbacks}, {"callbacks": handlers})


def traced_visit(
    config: RunnableConfig, name: str, description: str | None, task: str | None
) -> dict[str, Any]:
    """Return the config entries by which traces name the run of a visit.

    What they say holds for this run alone: nothing in it inherits them, and nothing is stored.
    """
    callbacks = config.get("callbacks")
    named: dict[str, Any] = {"run_name": name}
    if not isinstance(callbacks, BaseCallbackManager):
        return named
    own = callbacks.copy()
    about = {"agent_name": name, "agent_description": description}
    own.add_metadata({key: known for key, known in about.items() if known}, inherit=False)
    own.add_tags([f"participant:{name}", *([f"task:{task}"] if task else [])], inherit=False)
    return {**named, "callbacks": own}


def beside_steps(config: RunnableConfig) -> RunnableConfig:
    """Return the config of what runs beside the steps of a workflow, as part of its run.

    The step that begins it may be over before it is, so traces must not put it below that.
    """
    callbacks = config.get("callbacks")
    if not isinstance(callbacks, BaseCallbackManager):
        return config
    own = callbacks.copy()
    own.parent_run_id = background_of(config).run_id
    return {**config, "callbacks": own}


def tell_retry(config: RunnableConfig, error: Exception, seconds: float, **facts: Any) -> None:
    """Tell the event bus of a run that what failed is tried again after some seconds."""
    failure = {"kind": failure_kind(error), "error": describe_error(error)}
    tell(config, WorkflowEventType.RETRIED, **failure, seconds=seconds, **facts)


def _warn(config: RunnableConfig, scope: str, measure: str, part: Decimal) -> None:
    used = str(round(part * 100))
    tell(config, WorkflowEventType.BUDGET_WARNING, scope=scope, measure=measure, percent=used)


def meter_of(config: RunnableConfig) -> Meter:
    """Return the meter of the run that a node belongs to."""
    return cast(Meter, as_dict(config.get("configurable"))[METER])


def workflow_path(config: RunnableConfig) -> str:
    """Return the path of the workflow that a node belongs to; empty is the outermost."""
    return str((config.get("metadata") or {}).get("participant_path") or "")


def path_of(config: RunnableConfig, name: str) -> str:
    """Return the participants that lead to one, from the outermost inwards."""
    above = workflow_path(config)
    return f"{above}/{name}" if above else name
