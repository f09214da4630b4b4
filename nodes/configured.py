"""Agents as a configuration describes them: a model with its prompt."""

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from asterism.core.agent_spec import resolve_model
from asterism.errors import ConfigurationError
from asterism.nodes.participant_spec import Participant
from asterism.programs.config import AgentSettings, ModelSettings


def create_model(settings: ModelSettings) -> Runnable[object, AIMessage]:
    """Make the chat model that settings name.

    Raises:
        ModelNotFoundError: There is none, or its package or key is missing.
    """
    if settings.temperature is None:
        return resolve_model(settings.model)
    return resolve_model(settings.model, temperature=settings.temperature)


def create_agent_from_settings(
    name: str, settings: AgentSettings, default: ModelSettings | None
) -> Participant:
    """Make the agent that settings describe.

    Args:
        name: Its id.
        settings: What it is like.
        default: Its model, where it has none of its own.

    Raises:
        ConfigurationError: It has no model, or one that cannot be used.
    """
    model = settings.llm_config or default
    if model is None:
        raise ConfigurationError(
            "it has no llm_config, and nobody else has; give it one, or create it in _create_agent"
        )
    first = next(iter(settings.system_message.strip().splitlines()), "")
    called = settings.name or name
    return Participant(
        model=create_model(model),
        prompt=settings.system_message or None,
        description=f"{called}: {first}" if first and called != name else first or called,
    )
