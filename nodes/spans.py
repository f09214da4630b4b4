"""How runs are named and placed in traces such as LangSmith's and OpenTelemetry's."""

from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig

from asterism.nodes.context import background_of


def visit_span_config(
    config: RunnableConfig, name: str, description: str | None, task: str | None
) -> dict[str, Any]:
    """Return the config entries by which traces name the run of a visit.

    What they say holds for this run alone: nothing in it inherits them, and nothing is stored.
    """
    callbacks = config.get("callbacks")
    named: dict[str, Any] = {"run_name": name}
    if not isinstance(callbacks, BaseCallbackManager):
        return named
    if all(handler.ignore_chain for handler in callbacks.handlers):
        return named  # nobody is told of runs
    own = callbacks.copy()
    about = {"agent_name": name, "agent_description": description}
    own.add_metadata({key: known for key, known in about.items() if known}, inherit=False)
    own.add_tags([f"participant:{name}", *([f"task:{task}"] if task else [])], inherit=False)
    return {**named, "callbacks": own}


def outside_step_span(config: RunnableConfig) -> RunnableConfig:
    """Return the config of what runs beside the steps of a workflow, as part of its run.

    The step that begins it may be over before it is, so traces must not put it below that.
    """
    callbacks = config.get("callbacks")
    if not isinstance(callbacks, BaseCallbackManager):
        return config
    own = callbacks.copy()
    own.parent_run_id = background_of(config).run_id
    return {**config, "callbacks": own}
