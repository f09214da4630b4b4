"""Old names of modules that users may have imported; each leads to where it stands now.

Names that are known from elsewhere lead to what takes their place. Open this file when a module
that the documentation once named is moved. Tests: tests/asterism/test_moved.py.
"""

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "asterism.decisions": "asterism.core.supervisor_decision",
    "asterism.graphs.event_planning": "asterism.graphs.examples.event_planning",
    "asterism.messages": "asterism.core.messages",
    "asterism.prices": "asterism.limits.prices",
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
            said = f"cannot import name {name[9:]!r} from 'asterism'{hint}; see docs/names.md"
            raise ImportError(said)
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
