"""Clocks: what is written now has to count as later than what is stored.

The engine puts checkpoints in order by ids that begin with the time. Where the clock of the
last writer was ahead of this one, what is written here would count as earlier, and be ignored.
"""

import asyncio
import time
from datetime import UTC, datetime

from langgraph.checkpoint.base.id import uuid6
from langgraph.types import StateSnapshot

from asterism.effects import Call, Steps
from asterism.errors import StorageError

SKEW = 2.0
"""Seconds that are waited for clocks of other machines, which never agree to the millisecond."""
POLL = 0.01
"""Seconds between two looks at the clock."""


def latest(read: Call) -> Steps[StateSnapshot]:
    """Read the state that is to be gone on with, and wait until this clock is past it.

    Args:
        read: Reads it.

    Raises:
        StorageError: This clock is more than `SKEW` seconds behind.
    """
    found: StateSnapshot = yield read
    stored = str((found.config.get("configurable") or {}).get("checkpoint_id") or "")
    yield from wait_past(stored, found.created_at)
    return found


def wait_past(checkpoint: str, created_at: str | None) -> Steps[None]:
    """Wait until this clock is past a checkpoint.

    Args:
        checkpoint: Its id.
        created_at: When it was stored.

    Raises:
        StorageError: This clock is more than `SKEW` seconds behind.
    """
    for _ in range(round(SKEW / POLL)):
        if str(uuid6()) > checkpoint:
            return
        yield Call(time.sleep, asyncio.sleep, (POLL,))
    now = datetime.now(UTC).isoformat()
    raise StorageError(
        f"The thread was stored at {created_at}, and this machine's clock says {now}: what "
        "is written now would count as earlier, and be ignored. Set the clock right, or wait."
    )
