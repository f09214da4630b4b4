"""What housekeeping needs of a database, beyond what a saver offers."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asterism.core.checkpoints import reading
from asterism.storage.database_saver import DatabaseSaver
from asterism.storage.serializers import decrypt_value


@dataclass(frozen=True)
class StoredWrite:
    """One stored write of a task."""

    namespace: str
    checkpoint_id: str
    task_id: str
    task_path: str
    index: int
    channel: str
    value: Any


class Rows(ABC):
    """The rows of a database; what is read in the same way everywhere stands here."""

    only_readable = ""
    """A further condition on the threads that can be read."""
    writes_table = "writes"
    value_column = "value"

    def __init__(self, saver: DatabaseSaver) -> None:
        self._serde = saver.serde
        self._by_checkpoint = saver.by_checkpoint

    def threads(self, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Return threads in the order of their ids, each with its latest checkpoint's id."""
        return self.read(
            "SELECT thread_id, max(checkpoint_id) AS latest FROM checkpoints "
            f"WHERE thread_id > ? {self.only_readable} "
            "GROUP BY thread_id ORDER BY thread_id LIMIT ?",
            (after, limit),
        )

    def latest_threads(self, limit: int) -> Sequence[str]:
        """Return the ids of the threads that were written last, the latest first."""
        rows = self.read(
            f"SELECT thread_id FROM checkpoints WHERE checkpoint_ns = '' {self.only_readable} "
            "GROUP BY thread_id ORDER BY max(checkpoint_id) DESC LIMIT ?",
            (limit,),
        )
        return [thread for (thread,) in rows]

    def latest(self, thread: str) -> str | None:
        """Return the id of the latest checkpoint of a thread."""
        query = "SELECT max(checkpoint_id) AS latest FROM checkpoints WHERE thread_id = ?"
        found: str | None = self.read(query, (thread,))[0][0]
        return found

    def writes(self, thread: str) -> Sequence[StoredWrite]:
        """Return the writes of a thread, those of a task in their order."""
        rows = self.read(
            "SELECT checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, "
            f"{self.value_column} FROM {self.writes_table} WHERE thread_id = ? "
            "ORDER BY checkpoint_ns, checkpoint_id, task_path, task_id, idx",
            (thread,),
        )
        with reading(thread):
            return [self._write(thread, row) for row in rows]

    def _write(self, thread: str, row: Sequence[Any]) -> StoredWrite:
        *names, kind, value = row
        stored = memoryview(value).tobytes()  # a damaged row may hold a number
        write = StoredWrite(*[*names, self._serde.loads_typed((kind, stored))])
        own = [write.checkpoint_id] if self._by_checkpoint else []
        where = thread, write.namespace, *own, write.task_id, write.channel
        return replace(write, value=decrypt_value(self._serde, write.value, "write", *where))

    @abstractmethod
    def read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a query finds; its values stand at its question marks."""

    @abstractmethod
    def is_awaited(self, thread: str) -> bool:
        """Whether work for the thread stands in the queue."""

    @abstractmethod
    def threads_of(self, user: str, keys: Sequence[str]) -> Sequence[str]:
        """Return the threads with a checkpoint whose metadata names a user."""

    @abstractmethod
    def drop(self, thread: str, namespace: str, checkpoints: Collection[str]) -> None:
        """Delete some checkpoints of a thread, and what they alone need."""

    @abstractmethod
    def delete(self, thread: str) -> None:
        """Delete everything that is stored of a thread."""

    @abstractmethod
    def shrink(self, *, full: bool) -> None:
        """Give room back; `full` writes all anew and keeps others out meanwhile."""

    @abstractmethod
    def size(self) -> int:
        """Return how many bytes the database takes."""
