"""A Postgres saver for sync and async runs, whose leases fence what it writes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
)
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from asterism.core.checkpoints import (
    checked_seed,
    checkpoint_key,
    is_of_database,
    readable,
    reading,
    storing,
    thread_of,
    validate_checkpoint,
    validate_write,
)
from asterism.core.thread_lease import Release
from asterism.errors import StorageError
from asterism.storage.postgres.connection import Address, settings
from asterism.storage.postgres.lease_connections import (
    LANES,
    LEASE,
    LeaseConnectionPool,
    retry_until_connected,
)
from asterism.storage.postgres.schema import check
from asterism.storage.serializers import bind_writes, decrypt_checkpoint, decrypt_value, sealing

T = TypeVar("T")

READERS = 4
"""How many connections of a process read what no run of it drives."""
PAGE = 200
"""How many checkpoints are listed with one query."""


class LeasedPostgresSaver(BaseCheckpointSaver[str]):
    """LangGraph's `PostgresSaver`, same tables, over a pool and the lanes of leases.

    What is stored for a thread whose lease is held here goes over the session that holds it.
    A database that restarts is waited for. Async methods run in threads of the saver.
    """

    def __init__(self, address: Address, *, serde: SerializerProtocol, lease: float) -> None:
        super().__init__(serde=serde)
        self.address = address
        self.pool: ConnectionPool[Any] = ConnectionPool(
            address.conninfo, kwargs=settings(), min_size=1, max_size=READERS, open=False
        )
        self._lanes = LeaseConnectionPool(address, lease)
        self._threads = ThreadPoolExecutor(LANES + READERS, thread_name_prefix="postgres-saver")

    def close(self) -> None:
        """Give everything back."""
        self._threads.shutdown(wait=True)
        self._lanes.close()
        self.pool.close()

    def take_lease(self, thread_id: str) -> Release | None:
        """Take the lease of a thread, against every process on the database."""
        with self.address.faults():
            return retry_until_connected(partial(self._lanes.take, thread_id))

    async def atake_lease(self, thread_id: str) -> Release | None:
        """Take the lease of a thread without holding up the event loop."""
        taking = asyncio.ensure_future(self._aside(self.take_lease, thread_id))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(_give_back)
            raise

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return the version that follows `current`."""
        return PostgresSaver.get_next_version(cast(PostgresSaver, self), current, channel)

    # ---- sync

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Get a checkpoint."""
        with reading(thread_of(config)):
            found = self._with(config, lambda stock: stock.get_tuple(config))
        return None if found is None else self._whole(found)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """List checkpoints, the latest first; of all threads, those that are not damaged."""
        some = False
        while limit is None or limit > 0:
            size = PAGE if limit is None else min(limit, PAGE)
            try:
                page = self._page(config, filter, before, size)
            except StorageError as error:
                if config is not None or is_of_database(error):
                    raise
                rows = readable(self._places(filter, before), self.get_tuple, found=some)
                yield from islice(rows, limit)
                return
            if len(page) < size:
                yield from page
                return
            last = _id(page[-1])  # what copies of a thread share must not be cut apart
            whole = [row for row in page if _id(row) != last] or page
            yield from whole
            some = True
            before = whole[-1].config
            limit = None if limit is None else limit - len(whole)

    def _page(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        size: int,
    ) -> Sequence[CheckpointTuple]:
        with reading(thread_of(config)):
            found = self._with(
                config,
                lambda stock: [*stock.list(config, filter=filter, before=before, limit=size)],
            )
        return [self._whole(row) for row in found]

    def _places(
        self, filter: dict[str, Any] | None, before: RunnableConfig | None
    ) -> Sequence[RunnableConfig]:
        """Find checkpoints of all threads, the latest first."""
        query = (
            "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints "
            "WHERE (%s::jsonb IS NULL OR metadata @> %s) "
            "AND (%s::text IS NULL OR checkpoint_id < %s) "
            "ORDER BY checkpoint_id DESC"
        )
        end = None if before is None else get_checkpoint_id(before)
        wanted = Jsonb(filter) if filter else None
        values = (wanted, wanted, end, end)
        rows = self.steadily(lambda connection: connection.execute(query, values).fetchall())
        return [checkpoint_key(*row.values()) for row in rows]

    def _whole(self, found: CheckpointTuple) -> CheckpointTuple:
        return validate_checkpoint(decrypt_checkpoint(self.serde, found, by_checkpoint=False))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint."""
        with storing(config), sealing("blob", *_place(config)):
            return self._with(
                config, lambda stock: stock.put(config, checkpoint, metadata, new_versions)
            )

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task."""
        written = bind_writes(self.serde, writes)
        with storing(config), sealing("write", *_place(config), task_id):
            self._with(config, lambda stock: stock.put_writes(config, written, task_id, task_path))

    def delete_thread(self, thread_id: str) -> None:
        """Delete everything that is stored of a thread."""
        place: RunnableConfig = {"configurable": {"thread_id": thread_id}}
        self._with(place, lambda stock: stock.delete_thread(thread_id))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what makes up growing channels."""
        with reading(thread_of(config)):
            found = self._with(
                config,
                lambda stock: stock.get_delta_channel_history(config=config, channels=channels),
            )
            return {name: self._history(name, each, config) for name, each in found.items()}

    def _history(
        self, channel: str, found: DeltaChannelHistory, config: RunnableConfig
    ) -> DeltaChannelHistory:
        """Return a history that is decrypted, where it can be one."""
        place, serde = _place(config), self.serde
        made = DeltaChannelHistory(writes=[])
        for task, name, value in found["writes"]:
            read = decrypt_value(serde, value, "write", *place, task, name)
            made["writes"].append((task, name, validate_write(channel, read)))
        if "seed" in found:
            made["seed"] = checked_seed(
                channel, decrypt_value(serde, found["seed"], "blob", *place)
            )
        return made

    # ---- async, each one call in a thread

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Get a checkpoint; see `get_tuple`."""
        return await self._aside(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List checkpoints; see `list`."""
        rows = self.list(config, filter=filter, before=before, limit=limit)
        following: Callable[[], CheckpointTuple | None] = partial(next, rows, None)
        while (row := await self._aside(following)) is not None:
            yield row

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; see `put`."""
        return await self._aside(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the writes of a task; see `put_writes`."""
        await self._aside(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete everything that is stored of a thread; see `delete_thread`."""
        await self._aside(self.delete_thread, thread_id)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Read what makes up growing channels; see `get_delta_channel_history`."""
        call = partial(self.get_delta_channel_history, config=config, channels=channels)
        return await self._aside(call)

    # ---- connections

    @contextmanager
    def connection(self, thread_id: str | None = None) -> Generator[Any]:
        """Lend a connection: the one with the lease of a thread, or any."""
        lane = None if thread_id is None else self._lanes.lane(thread_id)
        with self.pool.connection() if lane is None else lane.use(str(thread_id)) as found:
            yield found

    def steadily(self, call: Callable[[Any], T], thread_id: str | None = None) -> T:
        """Make a call that may be repeated with a connection, and wait where there is none."""

        def once() -> T:
            with self.connection(thread_id) as connection:
                return call(connection)

        with self.address.faults():
            return retry_until_connected(once)

    def _with(self, config: RunnableConfig | None, call: Callable[[PostgresSaver], T]) -> T:
        """Let LangGraph's saver do something over the right connection."""
        place = (config or {}).get("configurable") or {}
        thread = str(place["thread_id"]) if "thread_id" in place else None
        return self.steadily(
            lambda connection: call(PostgresSaver(connection, serde=self.serde)), thread
        )

    async def _aside(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)


def _place(config: RunnableConfig) -> tuple[str, str]:
    named = config.get("configurable") or {}
    return str(named["thread_id"]), str(named.get("checkpoint_ns", ""))


def _id(row: CheckpointTuple) -> str:
    return str((row.config.get("configurable") or {})["checkpoint_id"])


def _give_back(taking: "asyncio.Future[Release | None]") -> None:
    if not taking.cancelled() and taking.exception() is None and (release := taking.result()):
        release()


@contextmanager
def open_saver(
    url: str, *, serde: SerializerProtocol, lease: float = LEASE
) -> Generator[LeasedPostgresSaver]:
    """Open a saver on a database that was migrated.

    Args:
        url: `postgresql://user:password@host:5432/name`.
        serde: How values are written and read.
        lease: Seconds of silence after which this process has lost its threads.

    Raises:
        StorageError: The database cannot be used, or was not migrated.
    """
    address = Address(url)
    with address.faults(), address.connect() as connection:  # at once: a pool would wait
        check(connection, address)
    saver = LeasedPostgresSaver(address, serde=serde, lease=lease)
    try:
        saver.pool.open()
        yield saver
    finally:
        saver.close()
