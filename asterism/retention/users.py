"""Forgetting a user: every thread that names them goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from asterism.core.thread_lease import take_lease
from asterism.errors import ConfigurationError
from asterism.retention.opening import open_rows

USER_KEYS = ("user_id", "user", "langgraph_auth_user_id")
"""The names in a run's `configurable` or `metadata` that say whose it is."""


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """What came of forgetting a user."""

    threads: tuple[str, ...]
    """Threads that are gone, with all that is stored of them."""
    busy: tuple[str, ...]
    """Threads that somebody drives just now; forget again when they are over."""


def forget_user(
    saver: BaseCheckpointSaver[Any], user: str, *, keys: Sequence[str] = USER_KEYS
) -> Forgotten:
    """Delete the threads of a user, finished or not.

    Args:
        saver: A database that `open_checkpointer` opened.
        user: The user, as the runs were told.
        keys: Under which names in `configurable` or `metadata` they were told.

    Raises:
        ConfigurationError: No user is named, or the saver has no database.
    """
    if not user or not keys:
        raise ConfigurationError("Say who is to be forgotten, and under which keys.")
    rows = open_rows(saver)
    gone: list[str] = []
    busy: list[str] = []
    for thread in rows.threads_of(user, keys):
        release = take_lease(saver, thread)
        if release is None:
            busy.append(thread)
            continue
        try:
            rows.delete(thread)
            gone.append(thread)
        finally:
            release()
    rows.shrink(full=False)
    return Forgotten(threads=tuple(gone), busy=tuple(busy))
