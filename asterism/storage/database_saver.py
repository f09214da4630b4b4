"""What the savers of databases share: rows that are checked, values bound to their places."""

import asyncio
from abc import abstractmethod
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from functools import partial
from itertools import islice
from typing import Any, ClassVar, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)

from asterism.core.checkpoints import (
    checkpoint_key,
    readable,
    reading,
    storing,
    thread_of,
    validate_checkpoint,
    validate_write,
)
from asterism.core.history_cache import CheckpointLineage, HistoryCache, Place
from asterism.core.steering import SteeringMessage, load_steering
from asterism.storage.serializers import (
    StrictEncryptedSerializer,
    bind_writes,
    decrypt_checkpoint,
    decrypt_value,
    digest,
    sealing,
)

T = TypeVar("T")

PAGE = 200
"""How many checkpoints are listed with one query."""


_ADD = (
    "INSERT INTO asterism_steering (thread_id, id, kind, value) VALUES (?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
_READ = "SELECT id, kind, value FROM asterism_steering WHERE thread_id = ? ORDER BY number"
_DROP = "DELETE FROM asterism_steering WHERE thread_id = ? AND id = ?"


class DatabaseSaver(BaseCheckpointSaver[str]):
    """A saver that lets LangGraph's own one work, and checks what it reads.

    Each call returns only when it is committed, so `durability="sync"` means what it says.
    """

    by_checkpoint: ClassVar[bool]
    """Whether encrypted values are bound to their checkpoint, or to their thread and task."""

    @abstractmethod
    def _run(self, config: RunnableConfig, call: Callable[[Any], T]) -> T:
        """Make a call of LangGraph's saver for the thread of a config."""

    @abstractmethod
    async def _group(self, config: Any, call: Callable[[], T], *, short: bool = True) -> T:
        """Make a call of this saver together with what else is waiting."""

    @abstractmethod
    def _places(
        self, filter: dict[str, Any] | None, before: RunnableConfig | None
    ) -> Iterable[RunnableConfig]:
        """Find checkpoints of all threads, the latest first."""

    @abstractmethod
    def _lineage(
        self, stock: Any, place: Place, target: str, channels: Sequence[str]
    ) -> tuple[HistoryCache, CheckpointLineage]:
        """Return what is known of a place, and what reads the rest."""

    @abstractmethod
    def _execute(self, stock: Any, statement: str, values: Sequence[Any]) -> Sequence[Any]:
        """Execute a statement with its values at its question marks, and return its rows."""

    @abstractmethod
    def forget(self, thread_id: str) -> None:
        """Read the histories of a thread again: something stored was changed."""

    # ---- reading: what is damaged is told, with its thread

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Get a checkpoint."""
        with reading(thread_of(config)):
            found = self._run(config, lambda stock: stock.get_tuple(config))
        return None if found is None else self._validate(found)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Get a checkpoint; see `get_tuple`."""
        with reading(thread_of(config)):
            return await self._group(config, lambda: self.get_tuple(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints, the latest first; of all threads, those that are not damaged."""
        if config is None:
            yield from islice(readable(self._places(filter, before), self.get_tuple), limit)
            return
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(limit, PAGE)
            query = partial(_list, config, filter=filter, before=before, limit=size)
            with reading(thread_of(config)):
                page = [self._validate(row) for row in self._run(config, query)]
            if len(page) < size:
                yield from page
                return
            last = _id(page[-1])  # what copies in a thread share must not be cut apart
            whole = [row for row in page if _id(row) != last] or page
            yield from whole
            before = whole[-1].config
            limit = None if limit is None else limit - len(whole)

    async def alist(self, *args: Any, **kwargs: Any) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints; see `list`."""
        rows = self.list(*args, **kwargs)
        while page := await asyncio.to_thread(lambda: [*islice(rows, PAGE)]):
            for row in page:
                yield row

    def _validate(self, found: CheckpointTuple) -> CheckpointTuple:
        return validate_checkpoint(
            decrypt_checkpoint(self.serde, found, by_checkpoint=self.by_checkpoint)
        )

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what makes up growing channels; what was read before is not read again."""
        with reading(thread_of(config)):
            return self._run(config, partial(self._read_histories, config, channels))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what makes up growing channels; see `get_delta_channel_history`."""
        call = partial(self.get_delta_channel_history, config=config, channels=channels)
        with reading(thread_of(config)):
            return await self._group(config, call)

    def _read_histories(
        self, config: RunnableConfig, channels: Sequence[str], stock: Any
    ) -> Mapping[str, DeltaChannelHistory]:
        place, target = place_of(config), get_checkpoint_id(config)
        if not target and (found := stock.get_tuple(config)) is not None:
            target = _id(found)
        if not target or not channels:
            return {channel: DeltaChannelHistory(writes=[]) for channel in channels}
        known, lineage = self._lineage(stock, place, target, channels)
        return known.read(place, target, channels, lineage)

    def decode_writes(
        self, place: Place, rows: Iterable[Sequence[Any]]
    ) -> Mapping[str, Sequence[PendingWrite]]:
        """Return the writes of a place by checkpoint, in their order.

        Args:
            place: Where they were found.
            rows: Of each the checkpoint, the path of the task, the task, the index, the channel,
                the format and the value.
        """
        found: defaultdict[str, list[PendingWrite]] = defaultdict(list)
        for step, _, task, _, channel, kind, value in sorted(
            rows, key=lambda row: writes_sort_key(*row[1:4])
        ):
            where = (*place, step) if self.by_checkpoint else place
            read = self.serde.loads_typed((kind, value))
            read = decrypt_value(self.serde, read, "write", *where, task, channel)
            found[step].append((task, channel, validate_write(channel, read)))
        return found

    # ---- storing: what is not stored is told, with its thread

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint."""
        place = ["blob", *place_of(config)]
        if self.by_checkpoint and isinstance(self.serde, StrictEncryptedSerializer):
            facts = digest(get_checkpoint_metadata(config, metadata))
            place = ["checkpoint", *place_of(config), checkpoint["id"], facts]
        with storing(config), sealing(*place):
            stored: RunnableConfig = self._run(
                config, lambda stock: stock.put(config, checkpoint, metadata, new_versions)
            )
        return stored

    async def aput(self, config: RunnableConfig, *args: Any, **kwargs: Any) -> RunnableConfig:
        """Store a checkpoint; see `put`."""
        with storing(config):
            return await self._group(config, lambda: self.put(config, *args, **kwargs))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task."""
        bound = bind_writes(self.serde, writes)
        own = (get_checkpoint_id(config) or "",) if self.by_checkpoint else ()
        with storing(config), sealing("write", *place_of(config), *own, task_id):
            self._run(config, lambda stock: stock.put_writes(config, bound, task_id, task_path))

    async def aput_writes(self, config: RunnableConfig, *args: Any, **kwargs: Any) -> None:
        """Store the writes of a task; see `put_writes`."""
        with storing(config):
            await self._group(config, lambda: self.put_writes(config, *args, **kwargs))

    def delete_thread(self, thread_id: str) -> None:
        """Delete all that is stored of a thread."""

        def call(stock: Any) -> None:
            self.forget(thread_id)
            stock.delete_thread(thread_id)
            self._execute(stock, "DELETE FROM asterism_steering WHERE thread_id = ?", (thread_id,))

        self._run(checkpoint_key(thread_id), call)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread; see `delete_thread`."""
        call = partial(self.delete_thread, thread_id)
        await self._group(checkpoint_key(thread_id), call, short=False)

    # ---- steering messages: rows beside the checkpoints, which anybody may add

    def steering(
        self, thread_id: str, add: SteeringMessage | None = None, drop: Collection[str] = ()
    ) -> Sequence[SteeringMessage]:
        """Add and delete steering messages, and return those of a thread in order."""
        row: tuple[Any, ...] = ()
        if add is not None:
            with sealing("steering", thread_id, add.id):
                row = (thread_id, add.id, *self.serde.dumps_typed(add.dump()))

        def call(stock: Any) -> Sequence[Any]:
            if row:
                self._execute(stock, _ADD, row)
            for name in drop:
                self._execute(stock, _DROP, (thread_id, name))
            return self._execute(stock, _READ, (thread_id,))

        found: list[SteeringMessage] = []
        with reading(thread_id):
            for name, kind, value in self._run(checkpoint_key(thread_id), call):
                stored = self.serde.loads_typed((kind, bytes(value)))
                stored = decrypt_value(self.serde, stored, "steering", thread_id, name)
                found.append(load_steering(name, stored))
        return found

    async def asteering(self, thread_id: str, *args: Any) -> Sequence[SteeringMessage]:
        """Add, delete and return steering messages; see `steering`."""
        return await self._group(
            checkpoint_key(thread_id), partial(self.steering, thread_id, *args)
        )


def _list(config: RunnableConfig, stock: Any, **how: Any) -> Sequence[CheckpointTuple]:
    return [*stock.list(config, **how)]


def place_of(config: RunnableConfig) -> Place:
    """Return the thread and the namespace that a config names."""
    named = config.get("configurable") or {}
    return str(named["thread_id"]), str(named.get("checkpoint_ns", ""))


def _id(row: CheckpointTuple) -> str:
    return str((row.config.get("configurable") or {})["checkpoint_id"])
