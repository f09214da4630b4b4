"""Namespaces of memories in a store, and the user of a run."""

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.config import get_store
from langgraph.runtime import get_runtime
from langgraph.store.base import BaseStore

from asterism.core.sync_async import Call
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError, InvalidMemoryError


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


USER = "user_id"
"""Where a run says whom it is for: in `configurable`, or in its context."""
USER_LIMIT = 255
"""The longest user id, in characters."""


def user_of(config: RunnableConfig | None) -> str:
    """Return the user of a run: `user_id` in its config, or else in its context.

    Args:
        config: The config of a node or a tool. None: that of the run that this is called in.

    Raises:
        InvalidMemoryError: There is none, or it is no text of 1 to 255 printable characters.
    """
    given = var_child_runnable_config.get() if config is None else config
    user = as_dict((given or {}).get("configurable")).get(USER)
    if user is None:
        try:
            context: Any = get_runtime().context
        except (AttributeError, KeyError, RuntimeError):  # there is no run
            context = None
        is_map = isinstance(context, Mapping)
        user = cast(Any, context).get(USER) if is_map else getattr(context, USER, None)
    return validate_memory_name(user, "user")


def validate_memory_name(given: object, what: str) -> str:
    """Check who something belongs to: nothing is remembered for nobody.

    Raises:
        InvalidMemoryError: It is no text of 1 to 255 printable characters.
    """
    text = given if isinstance(given, str) else ""
    if text.strip() and len(text) <= USER_LIMIT and text.isprintable():
        return text
    way = (
        f'config={{"configurable": {{"{USER}": "ann"}}}}, or user="ann" in a call of your own'
        if what == "user"
        else "a name"
    )
    raise InvalidMemoryError(
        f"The {what} of the memory is {given!r}. Allowed: 1 to {USER_LIMIT} printable "
        f"characters. Give {way}."
    )


def label_of(name: str) -> str:
    """Write a name so that no two are written alike, and none has a period in it."""
    return quote(name, safe=" @+").replace(".", "%2E")
