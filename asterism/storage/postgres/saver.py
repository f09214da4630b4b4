"""A Postgres saver for sync and async runs, whose leases fence what it writes."""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import get_checkpoint_id
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import ProgrammingError
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from asterism.core.checkpoints import checkpoint_key, thread_of
from asterism.core.history_cache import CheckpointLineage, HistoryCache, Place
from asterism.core.thread_lease import Release
from asterism.storage.database_saver import PAGE, DatabaseSaver
from asterism.storage.postgres.connection import Address, settings
from asterism.storage.postgres.lease_connections import (
    LEASE,
    LeaseConnection,
    LeaseConnectionPool,
    in_pipeline,
    retry_until_connected,
)
from asterism.storage.postgres.schema import check
from asterism.storage.postgres.steps import PostgresLineage

T = TypeVar("T")

READERS = 4
"""How many connections of a process read what no run of it drives."""

_PLACES = """
SELECT checkpoint_id, thread_id, checkpoint_ns FROM checkpoints
WHERE (%(filter)s::jsonb IS NULL OR metadata @> %(filter)s)
AND (%(before)s::text IS NULL OR checkpoint_id < %(before)s)
AND (%(last)s::text[] IS NULL OR (checkpoint_id, thread_id, checkpoint_ns)
    < ((%(last)s::text[])[1], (%(last)s::text[])[2], (%(last)s::text[])[3]))
ORDER BY checkpoint_id DESC, thread_id DESC, checkpoint_ns DESC LIMIT %(size)s
"""


class LeasedPostgresSaver(DatabaseSaver):
    """LangGraph's `PostgresSaver`, same tables, over a pool and the lanes of leases.

    What is stored for a thread whose lease is held here goes over the session that holds it,
    together with what else waits for that session. A database that restarts is waited for.
    """

    by_checkpoint = False

    def __init__(self, address: Address, *, serde: SerializerProtocol, lease: float) -> None:
        super().__init__(serde=serde)
        self.address = address
        self.pool: ConnectionPool[Any] = ConnectionPool(
            address.conninfo, kwargs=settings(), min_size=1, max_size=READERS, open=False
        )
        self._lanes = LeaseConnectionPool(address, lease)
        self._threads = ThreadPoolExecutor(2 * READERS, thread_name_prefix="postgres-saver")

    def close(self) -> None:
        """Give everything back."""
        self._threads.shutdown(wait=True)
        self._lanes.close()
        self.pool.close()

    def take_lease(self, thread_id: str) -> Release | None:
        """Take the lease of a thread, against every process on the database."""
        self._check_open()
        with self.address.faults():
            return retry_until_connected(partial(self._lanes.take, thread_id))

    async def atake_lease(self, thread_id: str) -> Release | None:
        """Take the lease of a thread without holding up the event loop."""
        self._check_open()
        taking = asyncio.ensure_future(self._aside(self.take_lease, thread_id))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(_give_back)
            raise

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return the version that follows `current`."""
        return PostgresSaver.get_next_version(cast(PostgresSaver, self), current, channel)

    # ---- what LangGraph's saver is asked

    def _run(self, config: RunnableConfig, call: Callable[[Any], T]) -> T:
        thread = str(thread_of(config))
        if (lane := self._lane(thread)) is None:
            return self.steadily(lambda connection: self._read_aside(connection, call))

        def call_leased() -> T:
            return call(_Stock(lane.connection_for(thread), self.serde, lane.histories))

        if lane.is_committing():
            return call_leased()
        with self.address.faults():
            (found,) = lane.commit([call_leased])
        return cast(T, found)

    async def _group(self, config: Any, call: Callable[[], T], *, short: bool = True) -> T:
        if (lane := self._lane(str(thread_of(config)))) is None:
            return await self._aside(call)
        with self.address.faults():
            return await lane.run(call)

    def _lane(self, thread: str) -> LeaseConnection | None:
        self._check_open()
        return self._lanes.lane(thread)

    def _check_open(self) -> None:
        if self.pool.closed:
            raise self.address.error(ProgrammingError("Cannot operate on a closed database"))

    def _read_aside(self, connection: Any, call: Callable[[Any], T]) -> T:
        stock = _Stock(connection, self.serde, HistoryCache())
        (found,) = in_pipeline(connection, [lambda: call(stock)])
        return cast(T, found)

    def _execute(self, stock: Any, statement: str, values: Sequence[Any]) -> Sequence[Any]:
        cursor = stock.conn.execute(statement.replace("?", "%s"), values)
        if not statement.startswith("SELECT"):  # in a pipeline, its end is not waited for
            return []
        return [tuple(row.values()) for row in cursor.fetchall()]

    def _places(
        self, filter: dict[str, Any] | None, before: RunnableConfig | None
    ) -> Iterator[RunnableConfig]:
        wanted: dict[str, Any] = {
            "filter": Jsonb(filter) if filter else None,
            "before": None if before is None else get_checkpoint_id(before),
            "last": None,
            "size": PAGE,
        }
        rows: Sequence[dict[str, str]] = [dict[str, str]()] * PAGE
        while len(rows) == PAGE:
            rows = self.steadily(lambda found: found.execute(_PLACES, wanted).fetchall())
            for row in rows:
                wanted["last"] = checkpoint, thread, space = [*row.values()]
                yield checkpoint_key(thread, space, checkpoint)

    def _lineage(
        self, stock: Any, place: Place, target: str, channels: Sequence[str]
    ) -> tuple[HistoryCache, CheckpointLineage]:
        return stock.histories, PostgresLineage(self, stock.conn, place, target, channels)

    def forget(self, thread_id: str) -> None:
        """Read the histories of a thread again: something stored was changed."""
        if (lane := self._lanes.lane(thread_id)) is not None:
            lane.forget(thread_id)

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

    async def _aside(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)


class _Unsynced:
    """A pipeline that is ended by whoever began it."""

    def sync(self) -> None:
        pass


class _Stock(PostgresSaver):
    """LangGraph's saver in a pipeline that several calls share."""

    def __init__(self, connection: Any, serde: SerializerProtocol, known: HistoryCache) -> None:
        super().__init__(connection, cast(Any, _Unsynced()), serde)
        self.histories = known


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
