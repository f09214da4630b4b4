"""Fills in a schema of any kind at the end of a conversation."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from pydantic import BaseModel

from asterism.core.sync_async import Call, Steps
from asterism.nodes.finish import Answer, fields_in_call
from asterism.nodes.view import SUPERVISOR_RUN_CONFIG

Structurer = Callable[[Sequence[BaseMessage]], Steps[Answer]]
"""Makes a structured answer of a conversation."""


def create_structurer(model: Any, schema: Any, prompt: str | None = None) -> Structurer:
    """Let a model fill in a schema by its own way of structured output.

    Args:
        model: A chat model.
        schema: A pydantic model, a TypedDict, a JSON schema or an OpenAI function.
        prompt: What it is told.
    """
    is_model = isinstance(schema, type) and issubclass(schema, BaseModel)
    # The fields of a model are stored as they were given, so that it reads them again.
    options: dict[str, Any] = {"include_raw": True} if is_model else {}
    bound = cast(BaseChatModel, model).with_structured_output(cast(Any, schema), **options)
    rules = [SystemMessage(prompt)] if prompt else []

    def fill(messages: Sequence[BaseMessage]) -> Steps[Answer]:
        filled: Any = yield Call(
            bound.invoke, bound.ainvoke, ([*rules, *messages], SUPERVISOR_RUN_CONFIG)
        )
        fields = _given_fields(filled, schema.__name__) if is_model else filled
        if fields is None:
            raise ValueError("the model gave no structured response")
        return Answer(text=json.dumps(fields, ensure_ascii=False), fields=fields)

    return fill


def _given_fields(filled: Mapping[str, Any], name: str) -> Any:
    """Return the fields that a model was made of, or None."""
    if filled["parsing_error"] is not None:
        raise filled["parsing_error"]
    if filled["parsed"] is None:
        return None
    try:
        return fields_in_call(filled["raw"], name)
    except ValueError:  # it came another way than in the message
        return filled["parsed"].model_dump(mode="json", by_alias=True)
