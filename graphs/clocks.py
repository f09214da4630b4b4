"""Checkpoint ids of a fast clock: what is written now has to count as later than what is stored.

The engine puts checkpoints in order by ids that begin with the time. Where the clock of the
last writer was ahead of this one, what is written here would count as earlier, and be ignored.
Tests: tests/graphs/test_clocks.py.
"""

import asyncio
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.base import id as ids
from langgraph.checkpoint.base.id import uuid6
from langgraph.types import StateSnapshot

from asterism.core.sync_async import Call, Steps
from asterism.errors import StorageError

SKEW = 2.0
"""Seconds that are waited for clocks of other machines, which never agree to the millisecond."""
FOLLOW = "ASTERISM_FOLLOW_CLOCK"
"""The environment variable that lets this process write as of the time of the thread."""
POLL = 0.01
"""Seconds between two looks at the clock."""


def _follow(stored: str) -> None:
    """Let the next ids of this process come after a stored one."""
    with suppress(ValueError):
        number = UUID(stored).int
        cast(Any, ids)._last_v6_timestamp = (number >> 80) << 12 | (number >> 64) & 0xFFF


def read_latest_state(read: Call) -> Steps[StateSnapshot]:
    """Read the state that is to be gone on with, and wait until this clock is past it.

    Args:
        read: Reads it.

    Raises:
        StorageError: This clock is more than `SKEW` seconds behind.
    """
    found: StateSnapshot = yield read
    place = found.config.get("configurable") or {}
    stored = str(place.get("checkpoint_id") or "")
    yield from wait_past(stored, found.created_at, place.get("thread_id"))
    return found


def wait_past_checkpoint(stored: CheckpointTuple | None) -> Steps[None]:
    """Wait until this clock is past a checkpoint that was read, if there is one.

    Raises:
        StorageError: This clock is more than `SKEW` seconds behind.
    """
    if stored is not None:
        thread = (stored.config.get("configurable") or {}).get("thread_id")
        yield from wait_past(stored.checkpoint["id"], stored.checkpoint["ts"], thread)


def wait_past(checkpoint: str, created_at: str | None, thread: object) -> Steps[None]:
    """Wait until this clock is past a checkpoint.

    Args:
        checkpoint: Its id.
        created_at: When it was stored.
        thread: The thread that it belongs to.

    Raises:
        StorageError: This clock is more than `SKEW` seconds behind.
    """
    if os.environ.get(FOLLOW) == "1" and str(uuid6()) <= checkpoint:
        _follow(checkpoint)
    for _ in range(round(SKEW / POLL)):
        if str(uuid6()) > checkpoint:
            return
        yield Call(time.sleep, asyncio.sleep, (POLL,))
    now = datetime.now(UTC).isoformat()
    raise StorageError(
        f"The thread {thread!r} was stored at {created_at}, and this machine's clock says "
        f"{now}: what is written now would count as earlier, and be ignored. Set the clock right, "
        f"or wait. If it was the other clock that was wrong, set {FOLLOW}=1 in the environment: "
        "what this process writes then counts as later than the thread."
    )
