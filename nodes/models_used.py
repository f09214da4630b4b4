"""The chat models that a team calls, so that whoever runs it can be told which ones.

Tests: tests/nodes/test_models_used.py.
"""

import inspect
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any, cast

from langchain_core.language_models import BaseChatModel

from asterism.core.agent_spec import ModelLike, label_of_model
from asterism.core.continuation import is_graph
from asterism.nodes.participant_spec import Participant

DEPTH = 8
"""How deep models are looked for: through chains, nodes, closures and fields."""


def find_models(*things: object, default: ModelLike | None = None) -> tuple[str, ...]:
    """Name the chat models that participants, graphs and deciders call, as `provider:model`.

    A model that code makes or looks up only while it runs cannot be seen.

    Args:
        things: Where to look: participants, graphs, functions, deciders.
        default: The model of participants that name none.
    """
    seen: set[int] = set()
    return tuple(
        dict.fromkeys(
            found for thing in things for found in _models_in(thing, default, seen, DEPTH)
        )
    )


def _models_in(
    thing: object, default: ModelLike | None, seen: set[int], depth: int
) -> Iterator[str]:
    if depth == 0 or id(thing) in seen or isinstance(thing, str | bytes | int | float | type):
        return
    seen.add(id(thing))
    if isinstance(thing, Participant):
        model = thing.model if thing.model is not None else default
        models = (model, thing.fallback_model) if thing.runs is None else ()
        yield from (label_of_model(model) for model in models if model is not None)
    elif isinstance(thing, BaseChatModel):
        yield label_of_model(thing)
        return
    elif facts := getattr(thing, "facts", None):
        yield from facts.find_models()
        return
    for part in _parts_of(thing):
        yield from _models_in(part, default, seen, depth - 1)


def _parts_of(thing: object) -> Iterator[object]:
    """Yield what a thing is made of, as far as that can be seen without running it."""
    if isinstance(thing, Participant):
        yield thing.runs
    elif is_graph(thing):
        yield from (node.bound for node in cast(Any, thing).nodes.values())
    elif isinstance(thing, MethodType):
        yield from (thing.__self__, thing.__func__)
    elif isinstance(thing, FunctionType):
        used = inspect.getclosurevars(thing)
        yield from (*used.nonlocals.values(), *used.globals.values())
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from cast(Any, thing)
    elif isinstance(thing, Mapping):
        yield from cast(Mapping[object, object], thing).values()
    elif not inspect.ismodule(thing):
        yield from getattr(thing, "__dict__", {}).values()
