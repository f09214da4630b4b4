"""What comes of the tasks of a batch."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class BatchOutcome:
    """What came of one task."""

    index: int
    """The place of the task, from 0."""
    thread_id: str
    """The thread that it ran on; the config of `resume` and `get_state` takes it."""
    status: str
    """The status of the workflow. For a graph without one: `"completed"`, `"waiting"` for a
    person, or `"running"` where it stopped with work left, as at a breakpoint. `"failed"`
    where it raised."""
    values: Any = None
    """The output of the graph as it is stored, or None where it raised."""
    error: str | None = None
    """The error that was raised, or why the workflow has failed, without secrets."""
    reused: bool = False
    """Whether nothing ran now: it was finished before, or still waits for a person."""


@dataclass(frozen=True, kw_only=True)
class BatchProgress:
    """How far a batch is."""

    done: int
    """How many tasks have an outcome."""
    total: int
    """How many tasks there are."""
    outcome: BatchOutcome
    """The newest one."""
