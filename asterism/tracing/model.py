"""What a trace is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pydantic_core import to_jsonable_python

from asterism.core.text_tables import CELL, Bundle, as_table, nested_table
from asterism.pictures.words import fit_text


@dataclass(frozen=True, kw_only=True)
class TraceEvent:
    """Something that happened."""

    at: datetime
    type: str
    """A type of event of the bus; or `decision`, `interaction` or `error`, told by a program."""
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TraceDecision:
    """Somebody decided what happens next."""

    at: datetime
    by: str
    """The path of the supervisor; empty where a program told of it."""
    decision: str
    """Who works next, the ids of the tasks that begin, or a program's words."""
    reason: str = ""
    instruction: str = ""
    """What whoever works next is told."""


@dataclass(frozen=True, kw_only=True)
class TraceInteraction:
    """Somebody sent something to somebody."""

    at: datetime
    sender: str
    """A path: `supervisor`, `venue`, `team/venue`; or `user`."""
    recipient: str
    content: str = ""


@dataclass(frozen=True, kw_only=True)
class TraceError:
    """Something failed."""

    at: datetime
    type: str
    """The kind of failure of a task, or the name of the error."""
    message: str
    source: str = ""
    """Who failed."""


@dataclass(frozen=True, kw_only=True)
class TraceCall:
    """A call of a model or a tool; recorded at the level `detailed`."""

    at: datetime
    """When it was over."""
    by: str
    """The path of who made it."""
    name: str
    tool: bool
    seconds: float
    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Those of them that the provider had in its cache."""
    output_tokens: int = 0
    estimated: bool = False
    """Whether the tokens are an estimate, because the answer told none."""
    cost_usd: str | None = None
    """A decimal number of dollars; None: not known."""
    error: str | None = None
    """The name of the error that it failed with."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What is known of one run, of one supervised child, or of one task of a program."""

    id: str
    name: str
    """Of the workflow, the child or the program."""
    thread_id: str
    status: str
    """`running`, `waiting`, or how it ended: `completed`, `limit`, `stalled`, `failed`,
    `cancelled`. A process that died leaves `running` behind, until the run goes on."""
    reason: str
    started_at: datetime
    ended_at: datetime | None
    """None: it has not ended."""
    duration: float | None
    """Seconds at work, without the waiting for people. None: it has not ended."""
    events: tuple[TraceEvent, ...]
    """Everything that was recorded, oldest first; the rest is read from it."""
    decisions: tuple[TraceDecision, ...]
    interactions: tuple[TraceInteraction, ...]
    errors: tuple[TraceError, ...]
    calls: tuple[TraceCall, ...]
    versions: Mapping[str, str]
    """Hashes of what the workflow was made of: `prompts`, `instructions`, `team`."""
    facts: Mapping[str, Any]
    """What a program told at the start."""
    dropped: int
    """How many events are missing, for want of room."""

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.ended_at is not None

    def as_json(self) -> dict[str, Any]:
        """Return the trace as plain JSON values."""
        plain: dict[str, Any] = to_jsonable_python(asdict(self))
        return plain

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        took = "" if self.duration is None else f" in {self.duration:.3f} s"
        reason = f": {self.reason}" if self.reason else ""
        sent = [(i.sender, i.recipient, fit_text(i.content, CELL)) for i in self.interactions]
        head = fit_text(f"{self.name}: {self.status}{took}{reason}", CELL * 2)
        parts = [as_table(("from", "to", "what"), sent, head)]
        if self.errors:
            rows = [(e.source, e.type, fit_text(e.message, CELL)) for e in self.errors]
            parts.append(as_table(("who", "error", "message"), rows))
        if self.calls:
            calls = [(c.by, c.name, f"{c.seconds:.3f} s", c.error or "") for c in self.calls]
            parts.append(as_table(("who", "called", "took", "error"), calls))
        return nested_table(*parts)
