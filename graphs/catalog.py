"""The catalog: shipped graphs by name, and any other as `module:attribute`.

Tests: tests/graphs/test_machine.py, tests/graphs/examples/.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast, get_origin

from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.core.agent_spec import ModelLike, label_of_model, resolve_model
from asterism.core.config_files import raise_faults, read_values, strangers, table_at
from asterism.core.continuation import Graph, is_graph
from asterism.core.defaults import OFFLINE
from asterism.core.values import as_list, shorten
from asterism.errors import ConfigurationError
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.graphs.shipped import SHIPPED
from asterism.nodes.models_used import find_models

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__graph_factory__"
_GRAPHS = ("SupervisorWorkflowBuilder", "Workflow", "StateGraph", "CompiledStateGraph", "Pregel")
"""What a function that makes graphs may be annotated to return."""
PROJECT = "asterism.toml"
"""The file of a project's folder that names its graphs: `graphs = ["module:attribute"]`."""


def graph_factory(function: F) -> F:
    """Mark a function that makes a graph, so that `module:attribute` may name it.

    A function whose one parameter is called `model`, or that is annotated to return a builder
    or a graph, needs no mark.
    """
    setattr(function, _MARK, True)
    return function


def allowed_graphs(graphs: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the graphs that stored threads may be opened with.

    Those are the shipped ones, the given ones, and what `asterism.toml` in the working folder
    lists.

    Raises:
        ConfigurationError: The file cannot be used.
    """
    path, listed = Path(PROJECT), list[Any]()
    if path.is_file():
        faults: list[str] = []
        table = table_at(read_values(path), PROJECT, faults)
        listed = as_list(table.get("graphs", []))
        faults += strangers(table, ("graphs",), "")
        if not all(isinstance(name, str) for name in listed):
            faults.append("graphs: it must be a list of names such as 'module:attribute'")
        raise_faults(path, faults)
    return tuple(dict.fromkeys([*SHIPPED, *graphs, *listed]))


def check_named(name: str, graphs: Collection[str]) -> None:
    """Check that the graph that stored data names was named by a person as well.

    Raises:
        ConfigurationError: It was not. Nothing is imported for it.
    """
    if name not in graphs:
        raise ConfigurationError(
            f"The graph {shorten(repr(name), 120)} is not served here: stored data alone names "
            f"it. Allowed: {', '.join(graphs)}, and what you name: --graph module:attribute, or "
            f"graphs = [...] in {PROJECT}."
        )


def open_graph(
    name: object,
    *,
    model: ModelLike | None = None,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    is_label: bool = False,
) -> Graph:
    """Open a graph that a person has named; for a name that was stored, see `check_named`.

    Args:
        name: The name of a shipped graph, or `module:attribute`, where the attribute is a
            builder, a compiled graph, or a function that makes one: see `graph_factory`. What
            the attribute may be is opened as well.
        model: The model that it is built with. None: its own; for one that needs to be given one,
            the offline model.
        checkpointer: Where its threads are stored.
        is_label: Whether the model is the label of a stored thread: a compiled graph keeps its own
            model then.

    Raises:
        ConfigurationError: There is no such graph, or it is compiled with another model.
        ModelNotFoundError: The model cannot be used.
    """
    found, chosen = _make(name, model)
    if isinstance(found, SupervisorWorkflowBuilder):
        builder = cast(Any, found)
        builder = builder if chosen is None else builder.with_model(chosen)
        return cast(Graph, builder.build(checkpointer=checkpointer))
    if not is_graph(found):
        raise ConfigurationError(
            f"{name!r} is a {type(found).__name__}; allowed: a SupervisorWorkflowBuilder, a "
            "compiled graph, or a function that returns one: with one parameter, called model, or "
            "marked by @asterism.graph_factory"
        )
    if chosen is not None and not is_label:
        _check_own_model(name, found, chosen)
    return found.copy({"checkpointer": checkpointer})


def _make(name: object, model: ModelLike | None) -> tuple[object, ModelLike | None]:
    """Return what a name stands for, and the model that it is still to be built with."""
    if isinstance(name, str) and name in SHIPPED:
        return SHIPPED[name].create(OFFLINE if model is None else model), None
    found = _load(name) if isinstance(name, str) else name
    if not _is_factory(found):
        return found, model
    if model is not None:
        resolve_model(model)  # what cannot be used is told before anything of the graph runs
    make = cast(Callable[..., object], found)
    if not _accepts(make, None):
        return make(), model
    if model is not None:
        return make(model), None
    return (make() if _accepts(make) else make(OFFLINE)), None


def _check_own_model(name: object, graph: Graph, model: ModelLike) -> None:
    """Check that a compiled graph calls the model that a person has chosen."""
    own, label = models_of(graph), label_of_model(model)
    if own != (label,) and (own or label != OFFLINE):
        raise ConfigurationError(
            f"The model {label!r} cannot be used with {name!r}: it is compiled, so "
            f"this graph brings its own model ({', '.join(own) or 'none that can be seen'}). Leave "
            "--model and ASTERISM_MODEL out, or name its builder (before .build()) or a function: "
            "def make(model): ..."
        )


def models_of(graph: object) -> tuple[str, ...]:
    """Name the chat models that an opened graph calls, as far as they can be seen."""
    return find_models(graph)


def _load(name: str) -> object:
    module, _, attribute = name.rpartition(":")
    if module.endswith(".py") and attribute.isidentifier():
        return _load_file(Path(module), name, attribute)
    if not module or not attribute:
        raise ConfigurationError(
            f"There is no graph {shorten(repr(name), 120)}; there are {', '.join(SHIPPED)}, and "
            "your own as module:attribute or ./file.py:attribute"
        )
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise ConfigurationError(
            f"The graph {shorten(repr(name), 120)} cannot be opened: it is no name such as "
            "package.module:attribute"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as python -m does
    return _import(module, name, attribute)


def _load_file(path: Path, name: str, attribute: str) -> object:
    """Import a file as `python path` does: what stands beside it can be imported."""
    folder = str(path.resolve().parent)
    if not path.is_file():
        raise ConfigurationError(f"The graph {name!r} cannot be opened: there is no file {path}.")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return _import(path.stem, name, attribute)


def _import(module: str, name: str, attribute: str) -> object:
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError, SystemExit) as error:
        said = f"{type(error).__name__}: {error}"
        raise ConfigurationError(f"The graph {name!r} cannot be opened: {said}") from error


def _is_factory(thing: object) -> bool:
    """Whether something is a function that makes graphs; nothing else is ever called."""
    if is_graph(thing) or isinstance(thing, SupervisorWorkflowBuilder) or not callable(thing):
        return False
    if getattr(thing, _MARK, None) is True:
        return True
    function = cast(object, thing)
    if not isinstance(function, FunctionType):
        return False
    needed = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    return needed == ["model"] or (len(needed) <= 1 and _returns_graph(function))


def _returns_graph(function: FunctionType) -> bool:
    """Whether a function is annotated to return a builder or a graph; nothing is evaluated."""
    annotated: object = function.__annotations__.get("return")
    if isinstance(annotated, str):
        return annotated.partition("[")[0].rpartition(".")[2] in _GRAPHS
    kind = get_origin(annotated) or annotated
    return isinstance(kind, type) and any(base.__name__ in _GRAPHS for base in kind.__mro__)


def _accepts(function: Callable[..., object], *arguments: object) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return True
