"""The states of a child, and the events that lead from one to the next.

```
            started   paused    resumed   completed   failed    killed    cancelled
pending     running   paused    -         -           -         killed    killed
running     running   paused    -         completed   failed    killed    killed
paused      -         -         running   -           -         killed    killed
completed   -         -         -         -           -         -         -
failed      -         -         -         -           -         -         -
killed      -         -         -         -           -         -         -
```

A child is pending when it is spawned. `started` on a running child is a restart: it rests for
a moment, and then goes on from its last checkpoint. Other events change no state.

What can be said of a child, and of all of them together.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from asterism.core.text_tables import Bundle, as_table
from asterism.core.values import describe_error
from asterism.errors import ChildStateError
from asterism.events import SupervisionEventType as Type
from asterism.supervision.quotas import AgentQuota, AgentQuotaUsage, Limit


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
        Type.CANCELLED: ChildStatus.KILLED,
    },
    ChildStatus.RUNNING: {
        Type.STARTED: ChildStatus.RUNNING,
        Type.PAUSED: ChildStatus.PAUSED,
        Type.COMPLETED: ChildStatus.COMPLETED,
        Type.FAILED: ChildStatus.FAILED,
        Type.KILLED: ChildStatus.KILLED,
        Type.CANCELLED: ChildStatus.KILLED,
    },
    ChildStatus.PAUSED: {
        Type.RESUMED: ChildStatus.RUNNING,
        Type.KILLED: ChildStatus.KILLED,
        Type.CANCELLED: ChildStatus.KILLED,
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
    started_at: float = field(default=0.0, compare=False)
    """When it began to run here, in seconds since 1970; 0: not yet."""
    finished_at: float = field(default=0.0, compare=False)
    """When it ended, in seconds since 1970; 0: not yet."""
    result: Any = None
    """The output of its graph, once it is completed."""

    @property
    def quotas(self) -> AgentQuota:
        """What it may use."""
        return self.usage.quota

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.status not in ENDED

    @property
    def duration_seconds(self) -> float:
        """How long ago it began to run here; once it has ended, how long that took."""
        end = self.finished_at or time.time()
        return end - self.started_at if self.started_at else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what is known of it as plain values, without its result."""
        said = self.reason if self.error is None else describe_error(self.error)
        return {
            "id": self.id,
            "name": self.name,
            "quotas": self.quotas.as_json(),
            "usage": self.usage.to_dict(),
            "status": self.status.value,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "error": said,
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, kw_only=True)
class AgentProgress(Mapping[str, Any]):
    """How far the children of a supervisor are, with all below it; a mapping of plain values too.

    Its keys are `total_children`, `completed`, `failed` (with those that were killed), `running`,
    `total_cost_usd`, `total_tokens`, `percent_complete` and `children`, a list of the mappings of
    those that can still be asked for. It may be awaited.
    """

    counts: Mapping[ChildStatus, int] = field(default_factory=lambda: dict.fromkeys(ChildStatus, 0))
    """How many children are in each state."""
    cost_usd: Decimal = Decimal(0)
    tokens: int = 0
    iterations: int = 0
    restarts: int = 0
    supervisors: int = 1
    """How many supervisors there are."""
    members: tuple[SupervisedAgent, ...] = field(default=(), compare=False, repr=False)
    """The children that can still be asked for."""

    def as_json(self) -> dict[str, Any]:
        """Return the mapping."""
        counts = self.counts
        return {
            "total_children": self.children,
            "completed": counts[ChildStatus.COMPLETED],
            "failed": counts[ChildStatus.FAILED] + counts[ChildStatus.KILLED],
            "running": counts[ChildStatus.RUNNING],
            "total_cost_usd": float(self.cost_usd),
            "total_tokens": self.tokens,
            "percent_complete": self.percent,
            "children": [member.to_dict() for member in self.members],
        }

    def __getitem__(self, key: str) -> Any:
        """Return a value of the mapping."""
        return self.as_json()[key]

    def __iter__(self) -> Iterator[str]:
        """Yield the keys of the mapping."""
        return iter(self.as_json())

    def __len__(self) -> int:
        """Count the keys of the mapping."""
        return len(self.as_json())

    def __await__(self) -> Generator[Any, None, Self]:
        """Return at once: there is nothing to wait for."""
        yield from ()
        return self

    @property
    def children(self) -> int:
        """How many children there are and were."""
        return sum(self.counts.values())

    @property
    def percent(self) -> float:
        """How many of the children are completed, in percent; 0 where there are none."""
        completed = self.counts[ChildStatus.COMPLETED]
        return 100 * completed / self.children if self.children else 0.0

    def __add__(self, other: "AgentProgress") -> "AgentProgress":
        """Add two up."""
        return AgentProgress(
            counts={status: self.counts[status] + other.counts[status] for status in ChildStatus},
            cost_usd=self.cost_usd + other.cost_usd,
            tokens=self.tokens + other.tokens,
            iterations=self.iterations + other.iterations,
            restarts=self.restarts + other.restarts,
            supervisors=self.supervisors + other.supervisors,
            members=self.members + other.members,
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        rows = [(status.value, number) for status, number in self.counts.items() if number]
        spent = f"{self.tokens:,} tokens, ${self.cost_usd}, {self.restarts} restarts"
        title = f"{self.children} children, {self.percent:.0f} % completed: {spent}"
        return as_table(("status", "children"), rows, title)

    @classmethod
    def of(cls, facts: SupervisedAgent, *, forgotten: bool = False) -> "AgentProgress":
        """Return the part of one child."""
        usage = facts.usage
        return cls(
            counts={**dict.fromkeys(ChildStatus, 0), facts.status: 1},
            cost_usd=usage.cost_usd,
            tokens=usage.tokens,
            iterations=usage.iterations,
            restarts=usage.restarts,
            supervisors=0,
            members=() if forgotten else (facts,),
        )
