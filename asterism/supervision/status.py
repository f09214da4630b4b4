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

What can be said of a child, and of all of them together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from asterism.core.text_tables import Bundle, as_table
from asterism.errors import ChildStateError
from asterism.events import SupervisionEventType as Type
from asterism.supervision.quotas import AgentQuotaUsage, Limit


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


@dataclass(frozen=True, kw_only=True)
class SupervisedAgent:
    """A child of a supervisor, as it stands at a moment."""

    id: str
    name: str
    thread_id: str
    """The thread of its graph that it runs on."""
    status: ChildStatus
    attempt: int
    """Which of its attempts runs or ran last, from 1; 0 before the first."""
    usage: AgentQuotaUsage
    """What it has used, with its quotas."""
    doing: str = ""
    """The node that began last, with those around it, as in `"venue/model"`."""
    silent_seconds: float | None = None
    """How long it has not been heard of, while it runs."""
    reason: str = ""
    """Why it rests, failed or was killed."""
    asks: Limit | None = None
    """The quota that it asks to have raised, while it rests for that."""
    questions: tuple[Mapping[str, str], ...] = ()
    """What it asks, each with its `id` and `prompt`, while it rests for that."""
    error: BaseException | None = None
    """What it raised last."""
    abandoned: bool = False
    """Whether something of it could not be stopped and was left alone."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class AgentProgress:
    """How far the children of a supervisor are, with all below it."""

    counts: Mapping[ChildStatus, int] = field(default_factory=lambda: dict.fromkeys(ChildStatus, 0))
    """How many children are in each state."""
    cost_usd: Decimal = Decimal(0)
    tokens: int = 0
    iterations: int = 0
    restarts: int = 0
    supervisors: int = 1
    """How many supervisors there are."""

    @property
    def children(self) -> int:
        """How many children there are and were."""
        return sum(self.counts.values())

    @property
    def percent(self) -> float:
        """How many of the children have come to an end, in percent; 100 where there are none."""
        ended = sum(self.counts[status] for status in ENDED)
        return 100 * ended / self.children if self.children else 100.0

    def __add__(self, other: "AgentProgress") -> "AgentProgress":
        """Add two up."""
        return AgentProgress(
            counts={status: self.counts[status] + other.counts[status] for status in ChildStatus},
            cost_usd=self.cost_usd + other.cost_usd,
            tokens=self.tokens + other.tokens,
            iterations=self.iterations + other.iterations,
            restarts=self.restarts + other.restarts,
            supervisors=self.supervisors + other.supervisors,
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        rows = [(status.value, number) for status, number in self.counts.items() if number]
        spent = f"{self.tokens:,} tokens, ${self.cost_usd}, {self.restarts} restarts"
        title = f"{self.children} children, {self.percent:.0f} % ended: {spent}"
        return as_table(("status", "children"), rows, title)

    @classmethod
    def of(cls, status: ChildStatus, usage: AgentQuotaUsage) -> "AgentProgress":
        """Return the part of one child."""
        return cls(
            counts={**dict.fromkeys(ChildStatus, 0), status: 1},
            cost_usd=usage.cost_usd,
            tokens=usage.tokens,
            iterations=usage.iterations,
            restarts=usage.restarts,
            supervisors=0,
        )
