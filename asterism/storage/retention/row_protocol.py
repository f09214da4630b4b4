"""What housekeeping needs of a database, beyond what a saver offers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class StoredWrite:
    """One stored write of a task."""

    namespace: str
    checkpoint_id: str
    task_id: str
    task_path: str
    index: int
    channel: str
    value: Any


class Rows(Protocol):
    """The rows of a database."""

    def threads(self, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Return threads in the order of their ids, each with its latest checkpoint's id."""
        ...

    def latest_threads(self, limit: int) -> Sequence[str]:
        """Return the ids of the threads that were written last, the latest first."""
        ...

    def latest(self, thread: str) -> str | None:
        """Return the id of the latest checkpoint of a thread."""
        ...

    def is_awaited(self, thread: str) -> bool:
        """Whether work for the thread stands in the queue."""
        ...

    def threads_of(self, user: str, keys: Sequence[str]) -> Sequence[str]:
        """Return the threads with a checkpoint whose metadata names a user."""
        ...

    def writes(self, thread: str) -> Sequence[StoredWrite]:
        """Return the writes of a thread, those of a task in their order."""
        ...

    def drop(self, thread: str, namespace: str, checkpoints: Collection[str]) -> None:
        """Delete some checkpoints of a thread, and what they alone need."""
        ...

    def delete(self, thread: str) -> None:
        """Delete everything that is stored of a thread."""
        ...

    def shrink(self, *, full: bool) -> None:
        """Give room back; `full` writes all anew and keeps others out meanwhile."""
        ...

    def size(self) -> int:
        """Return how many bytes the database takes."""
        ...
