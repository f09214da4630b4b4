"""The graphs that are shipped, by name, and any other as `module:attribute`."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.errors import ConfigurationError
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.consensus import create_consensus
from asterism.graphs.event_planning import create_event_planning
from asterism.graphs.research import create_research
from asterism.graphs.toy_example import create_toy_example
from asterism.graphs.update_manifest import create_update_manifest
from asterism.models import ModelLike
from asterism.runs import Graph, is_graph


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A graph that comes with the library."""

    create: Callable[[ModelLike], SupervisorWorkflowBuilder]
    description: str
    example: str
    """A request to try it with."""


SHIPPED = {
    "event_planning": Shipped(
        create=create_event_planning,
        description="Plans an event: venue, catering, budget and logistics.",
        example="Plan a corporate holiday party for 50 people in Seattle on December 15th",
    ),
    "research": Shipped(
        create=create_research,
        description="Answers a question from the text files of a folder, with its sources.",
        example="What do the documents say about durability?",
    ),
    "consensus": Shipped(
        create=create_consensus,
        description="Chooses among the documents of a folder by the votes of several judges.",
        example="Which of the offers should we take?",
    ),
    "toy_example": Shipped(
        create=create_toy_example,
        description="Counts, times and proofreads a text.",
        example="This is is a text (with a fault or two.",
    ),
    "update_manifest": Shipped(
        create=create_update_manifest,
        description="Keeps a manifest of this folder: files, checksums, dependencies.",
        example="Update the manifest",
    ),
}


def open_graph(
    name: str, *, model: ModelLike, checkpointer: BaseCheckpointSaver[Any] | None = None
) -> Graph:
    """Open a graph by name.

    Args:
        name: The name of a shipped graph, or `module:attribute`, where the attribute is a
            builder, a compiled graph, or a function of the model to one of them.
        model: The model of a shipped graph or of such a function.
        checkpointer: Where its threads are stored.

    Raises:
        ConfigurationError: There is no such graph.
    """
    found: object
    if name in SHIPPED:
        found = SHIPPED[name].create(model)
    else:
        found = _load(name)
        if (
            not isinstance(found, SupervisorWorkflowBuilder)
            and not is_graph(found)
            and callable(found)
        ):
            found = found(model)
    if isinstance(found, SupervisorWorkflowBuilder):
        return cast(Graph, found.build(checkpointer=checkpointer))
    if is_graph(found):
        return found.copy({"checkpointer": checkpointer})
    raise ConfigurationError(
        f"{name!r} is a {type(found).__name__}; allowed: a SupervisorWorkflowBuilder, a compiled "
        "graph, or a function of a model that returns one"
    )


def _load(name: str) -> object:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigurationError(
            f"There is no graph {name!r}; there are {', '.join(SHIPPED)}, and your own as "
            "module:attribute"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as python -m does
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"The graph {name!r} cannot be opened: {error}") from error
