"""Hashes of what models are asked: prompts, tools, schemas, models; so that a change is noticed.

Tests: tests/nodes/test_hashes.py.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from types import FunctionType, MethodType
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as create_tool
from pydantic import BaseModel

from asterism.core.agent_spec import ModelLike, label_of_model
from asterism.core.continuation import is_graph
from asterism.nodes.participant_spec import Participant, describe
from asterism.prompts import prompts_hash, text_hash

_DEPTH = 8
"""How deep texts are looked for: through nodes, closures and fields."""
_LIMITS = ("policies", "budget", "max_steps", "undo", "recalls", "memory", "fallback_model")
"""The fields of a participant that no model is told of."""


def hashes_of(
    asks: object,
    participants: Mapping[str, Any],
    default: ModelLike | None,
    builder: object = None,
) -> dict[str, str]:
    """Return a hash for the supervisor and for each participant.

    What code makes up only while it runs is not seen.

    Args:
        asks: What the supervisor is made of besides its team.
        participants: The participants, by id.
        default: The model of those that name none, the supervisor among them.
        builder: Who built the workflow. A participant may hold its own workflow, as one that reads
            its own memory does; that is passed over.
    """
    token = _UNDER_WAY.set((*_UNDER_WAY.get(), builder))
    try:
        return _hashes_of(asks, participants, default)
    finally:
        _UNDER_WAY.reset(token)


_UNDER_WAY: ContextVar[tuple[object, ...]] = ContextVar("asterism_hashes", default=())
"""The builders whose workflows are hashed just now."""


def _hashes_of(
    asks: object, participants: Mapping[str, Any], default: ModelLike | None
) -> dict[str, str]:
    model = None if default is None else label_of_model(default)
    team = [(name, describe(thing)) for name, thing in participants.items()]
    return {
        "supervisor": _hash((asks, team, prompts_hash(), model), model),
        **{name: _hash((thing, prompts_hash()), model) for name, thing in participants.items()},
    }


def _hash(thing: object, default: str | None) -> str:
    return text_hash(*_texts(thing, default, set(), _DEPTH))


def _texts(thing: Any, default: Any, seen: set[int], depth: int) -> Iterator[str]:
    """Yield the texts that something is made of, in an order that is always the same."""
    if isinstance(thing, str | bool | int | float | None):
        yield repr(thing)
        return
    if depth == 0 or id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, BaseChatModel):
        yield label_of_model(thing)
    elif isinstance(thing, BaseTool):
        schema: Any = thing.tool_call_schema
        shape: Any = schema.model_json_schema() if hasattr(schema, "model_json_schema") else schema
        yield f"{thing.name} {thing.description} {shape}"
    elif isinstance(thing, BaseMessage):
        yield f"{thing.type} {thing.content}"
    elif isinstance(thing, type):
        shape = thing.model_json_schema() if issubclass(thing, BaseModel) else ""
        yield f"{thing.__qualname__} {shape}"
    elif made_of := getattr(getattr(thing, "facts", None), "made_of", None):
        builder = getattr(getattr(made_of, "__wrapped__", None), "__self__", None)
        if builder not in _UNDER_WAY.get():
            yield repr(made_of())
    else:
        for part in _parts(thing, default):
            yield from _texts(part, default, seen, depth - 1)


def _parts(thing: Any, default: Any) -> Iterator[Any]:
    if isinstance(thing, Participant):
        models = (m and label_of_model(m) for m in (thing.model, thing.fallback_model))
        yield from (model or (default if thing.runs is None else None) for model in models)
        yield from (t if isinstance(t, BaseTool | dict) else create_tool(t) for t in thing.tools)
        names = (f.name for f in fields(thing) if f.name not in ("model", "tools", *_LIMITS))
        yield from (getattr(thing, name) for name in names)
    elif is_graph(thing):
        for name, node in cast(Any, thing).nodes.items():
            yield from (name, node.bound)
    elif isinstance(thing, MethodType):
        yield from (thing.__func__, thing.__self__)
    elif isinstance(thing, FunctionType):
        yield thing.__qualname__
        yield from (const for const in thing.__code__.co_consts if isinstance(const, str))
        yield from inspect.getclosurevars(thing).nonlocals.values()
    elif isinstance(thing, Mapping):
        yield from (part for pair in cast(Any, thing).items() for part in pair)
    elif isinstance(thing, list | tuple):
        yield from cast(Any, thing)
    elif is_dataclass(thing) or hasattr(cast(Any, type(thing)), "wrap_model_call"):
        yield type(thing).__qualname__
        yield from getattr(thing, "__dict__", {}).values()
    elif type(thing).__module__.startswith("asterism."):  # a decider, which keeps more than texts
        yield type(thing).__qualname__
        inner: Any = getattr(getattr(thing, "_output", None), "model", None)
        values: list[Any] = [*vars(thing).values(), inner]
        yield from (v for v in values if isinstance(v, str | bool | int | type | BaseChatModel))
    else:
        yield type(thing).__qualname__
        held = ("func", "afunc", "bound", "steps", "first", "middle", "last", "prompt", "template")
        more = ("messages", "kwargs", "runnable", "fallbacks", "tools_by_name")
        yield from (getattr(thing, name, None) for name in (*held, *more))
