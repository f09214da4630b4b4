"""The states of a child, and the events that lead from one to the next.

```
            started   paused    resumed   completed   failed    killed
pending     running   paused    -         -           -         killed
running     running   paused    -         completed   failed    killed
paused      -         -         running   -           -         killed
completed   -         -         -         -           -         -
failed      -         -         -         -           -         -
killed      -         -         -         -           -         -
```

A child is pending when it is spawned. `started` on a running child is a restart: it rests for
a moment, and then goes on from its last checkpoint. Other events change no state.
"""

from collections.abc import Mapping
from enum import StrEnum

from asterism.errors import ChildStateError
from asterism.events import SupervisionEventType as Type


class ChildStatus(StrEnum):
    """How a child stands."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    KILLED = "killed"


ENDED = (ChildStatus.COMPLETED, ChildStatus.FAILED, ChildStatus.KILLED)
"""The states that a child does not leave."""

TRANSITIONS: Mapping[ChildStatus, Mapping[Type, ChildStatus]] = {
    ChildStatus.PENDING: {
        Type.STARTED: ChildStatus.RUNNING,
        Type.PAUSED: ChildStatus.PAUSED,
        Type.KILLED: ChildStatus.KILLED,
    },
    ChildStatus.RUNNING: {
        Type.STARTED: ChildStatus.RUNNING,
        Type.PAUSED: ChildStatus.PAUSED,
        Type.COMPLETED: ChildStatus.COMPLETED,
        Type.FAILED: ChildStatus.FAILED,
        Type.KILLED: ChildStatus.KILLED,
    },
    ChildStatus.PAUSED: {
        Type.RESUMED: ChildStatus.RUNNING,
        Type.KILLED: ChildStatus.KILLED,
    },
    ChildStatus.COMPLETED: {},
    ChildStatus.FAILED: {},
    ChildStatus.KILLED: {},
}
"""The legal transitions: from a state, by an event, to a state."""


def next_status(status: ChildStatus, event: Type, child_id: str) -> ChildStatus:
    """Return the state that an event leads to.

    Raises:
        ChildStateError: The event does not happen in this state.
    """
    allowed = TRANSITIONS[status]
    if event not in allowed:
        way = f"what can happen to it: {', '.join(allowed)}" if allowed else "that is its end"
        raise ChildStateError(f"The child {child_id!r} is {status}, so it is not {event}; {way}.")
    return allowed[event]
