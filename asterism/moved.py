"""Old names of modules, and names of other systems: each leads to what takes its place.

Open this file when a module that the documentation once named is moved, or when a class is given
arguments that people know from elsewhere. Tests: tests/asterism/test_moved.py.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar

MOVED = {
    "asterism.cache": "asterism.compat.massgen.cache",
    "asterism.capacity": "asterism.limits.rate_limits",
    "asterism.decisions": "asterism.core.supervisor_decision",
    "asterism.graphs.event_planning": "asterism.graphs.examples.event_planning",
    "asterism.integration": "asterism.compat.massgen.integration",
    "asterism.messages": "asterism.core.messages",
    "asterism.metrics": "asterism.compat.massgen.metrics",
    "asterism.prices": "asterism.limits.prices",
    "asterism.resilience": "asterism.limits.failure_policies",
    "asterism.retention": "asterism.storage.retention",
    "asterism.retries": "asterism.limits.failure_policies",
    "asterism.schemas": "asterism.core.decision_schema",
    "asterism.telemetry": "asterism.observability.telemetry",
    "asterism.tracing": "asterism.observability",
    "asterism.ui": "asterism.apps.ui",
    "asterism.workers": "asterism.apps.workers",
}


class MovedModules(MetaPathFinder, Loader):
    """Finder of modules by their old names; it warns, and imports nothing twice.

    Args:
        hints: What takes the place of names that are known from elsewhere.
    """

    def __init__(self, hints: Mapping[str, str]) -> None:
        self._hints = hints

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find an old name, or a module below one.

        Raises:
            ImportError: A name is known from elsewhere, as in `from asterism import Tracer`.
        """
        if not name.startswith("asterism."):
            return None
        if hint := self._hints.get(name.removeprefix("asterism.")):
            said = f"cannot import name {name[9:]!r} from 'asterism'{hint}; {NAMES_PAGE}"
            raise ImportError(said)
        if name == "asterism.memory":  # the function `memory` has this name
            raise ModuleNotFoundError(
                "No module named 'asterism.memory'; SharedMemory, LongTermMemory and "
                "ContextManager are in asterism and, by the words of MassGen, in "
                f"asterism.compat.massgen.memory; {NAMES_PAGE}",
                name=name,
            )
        new = next((MOVED[old] + name[len(old) :] for old in MOVED if _is_below(name, old)), None)
        return None if new is None else ModuleSpec(name, self, origin=new)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module that stands for the old one."""
        new = str(spec.origin)
        warnings.warn(f"{spec.name} is {new} now.", DeprecationWarning, stacklevel=2)
        module = import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back the spec that it was imported with."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state


def _is_below(name: str, old: str) -> bool:
    return name == old or name.startswith(f"{old}.")


NAMES_PAGE = "docs/names.md lists the names of other systems"
"""The end of every hint."""

_Class = TypeVar("_Class", bound=type)


def hint_foreign_names(way: str, *names: str) -> Callable[[_Class], _Class]:
    """Let a class that is given an argument of another system name the way out.

    Args:
        way: What takes the argument, or does the same.
        *names: The arguments.
    """

    def decorate(cls: _Class) -> _Class:
        target: Any = cls
        create = target.__init__

        @wraps(create)
        def check(self: Any, *args: Any, **kwargs: Any) -> None:
            if strangers := [name for name in names if name in kwargs]:
                raise TypeError(
                    f"{cls.__name__} takes no {', '.join(strangers)}; {way}. {NAMES_PAGE}"
                )
            create(self, *args, **kwargs)

        target.__init__ = check
        return cls

    return decorate
