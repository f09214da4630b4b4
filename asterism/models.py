"""Chat models by name."""

from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase

from asterism.defaults import OFFLINE as OFFLINE
from asterism.errors import ModelNotFoundError

ModelLike = str | BaseChatModel | Runnable[Any, AIMessage]
"""A chat model, also with fallbacks or bound arguments, or the name of one."""


def resolve_model(model: ModelLike, **options: Any) -> Runnable[Any, AIMessage]:
    """Return the chat model that `model` names.

    Args:
        model: A chat model, which is used as it is, but for `with_stream_usage`; `"offline"`; or
            `"provider:model"`, as `langchain.chat_models.init_chat_model` reads it.
        **options: What a named model is made with, as `temperature`; the offline one has none.

    Raises:
        ModelNotFoundError: The name means nothing, or its package or key is missing.
    """
    if not isinstance(model, str):
        return with_stream_usage(model)
    if model == OFFLINE:
        from asterism.offline import OfflineChatModel

        return OfflineChatModel()
    from langchain.chat_models import init_chat_model

    try:
        return with_stream_usage(init_chat_model(model, **options))
    except ImportError as error:
        raise ModelNotFoundError(f"The model {model!r} needs a package: {error}") from error
    except ValueError as error:
        raise ModelNotFoundError(
            f"The model {model!r} cannot be used: {error} Names look like 'openai:gpt-5-mini'; "
            "'offline' needs no key."
        ) from error
    except Exception as error:  # each provider has its own for a key that is missing
        raise ModelNotFoundError(f"The model {model!r} cannot be used: {error}") from error


def with_stream_usage(model: Any) -> Any:
    """Return a model that asks for its usage when it is streamed, unless it was told not to.

    langchain-openai asks for it at OpenAI's own host alone. A model that is changed is a copy;
    those inside of fallbacks and bound arguments are changed as well.
    """
    if isinstance(model, RunnableWithFallbacks):
        chain = cast(RunnableWithFallbacks[Any, Any], model)
        inner = [with_stream_usage(one) for one in chain.runnables]
        if all(new is old for new, old in zip(inner, chain.runnables, strict=True)):
            return chain
        return chain.model_copy(update={"runnable": inner[0], "fallbacks": inner[1:]})
    if isinstance(model, RunnableBindingBase):
        binding = cast(RunnableBindingBase[Any, Any], model)
        bound = with_stream_usage(binding.bound)
        return binding if bound is binding.bound else binding.model_copy(update={"bound": bound})
    if isinstance(model, BaseChatModel) and "stream_usage" in type(model).model_fields:
        value: bool | None = getattr(model, "stream_usage", None)
        chosen = "stream_usage" in model.model_fields_set and value is not None
        return model if value or chosen else model.model_copy(update={"stream_usage": True})
    return model
