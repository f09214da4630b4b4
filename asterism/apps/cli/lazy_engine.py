"""The engine, loaded when something of it is first used: asking for help must not load it."""

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING


def _lazily(name: str) -> ModuleType:
    """Import a module, but run it when it is first looked into."""
    spec = find_spec(name)
    assert spec is not None and spec.loader is not None
    spec.loader = LazyLoader(spec.loader)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if TYPE_CHECKING:
    from asterism.apps.cli import engine as engine
else:
    engine = _lazily("asterism.apps.cli.engine")
