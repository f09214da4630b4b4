"""How memory reaches its store."""

from collections.abc import Sequence
from typing import Any

from langgraph.config import get_store
from langgraph.store.base import BaseStore

from asterism.core.sync_async import Call
from asterism.errors import ConfigurationError


def store_of(given: BaseStore | None) -> BaseStore:
    """Return the store that was given, or that of the run that this is called in.

    Raises:
        ConfigurationError: There is none.
    """
    if given is not None:
        return given
    try:
        found: BaseStore | None = get_store()
    except (AttributeError, KeyError, RuntimeError):  # there is no run
        found = None
    if found is None:
        raise ConfigurationError(
            "The memory has no store. Give it one, as in LongTermMemory(store=store, ...), or "
            "build the workflow with one: .build(store=store)."
        )
    return found


def in_batches(store: BaseStore, ops: Sequence[Any]) -> Call:
    """Make the call that hands operations to a store."""
    return Call(store.batch, store.abatch, (list(ops),))
