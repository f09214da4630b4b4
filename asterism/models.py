"""Chat models by name."""

from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from asterism.defaults import OFFLINE as OFFLINE
from asterism.errors import ModelNotFoundError

ModelLike = str | BaseChatModel | Runnable[Any, AIMessage]
"""A chat model, also with fallbacks or bound arguments, or the name of one."""


def resolve_model(model: ModelLike, **options: Any) -> Runnable[Any, AIMessage]:
    """Return the chat model that `model` names.

    Args:
        model: A chat model, which is returned as it is; `"offline"`; or `"provider:model"`,
            as `langchain.chat_models.init_chat_model` reads it.
        **options: What a named model is made with, as `temperature`; the offline one has none.

    Raises:
        ModelNotFoundError: The name means nothing, or its package or key is missing.
    """
    if not isinstance(model, str):
        return model
    if model == OFFLINE:
        from asterism.offline import OfflineChatModel

        return OfflineChatModel()
    from langchain.chat_models import init_chat_model

    try:
        return cast(BaseChatModel, init_chat_model(model, **options))
    except ImportError as error:
        raise ModelNotFoundError(f"The model {model!r} needs a package: {error}") from error
    except ValueError as error:
        raise ModelNotFoundError(
            f"The model {model!r} cannot be used: {error} Names look like 'openai:gpt-5-mini'; "
            "'offline' needs no key."
        ) from error
    except Exception as error:  # each provider has its own for a key that is missing
        raise ModelNotFoundError(f"The model {model!r} cannot be used: {error}") from error
