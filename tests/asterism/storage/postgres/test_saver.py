"""The Postgres saver: prepared once, fenced by its leases, patient with a restart."""

import asyncio
import itertools
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from psycopg.conninfo import conninfo_to_dict

from asterism import Participant, SupervisorWorkflowBuilder, open_checkpointer
from asterism.core.run_types import WorkflowInput
from asterism.core.thread_lease import take_lease
from asterism.errors import AbandonedError, ConfigurationError, StorageError, ThreadBusyError
from asterism.storage import database_saver as saver_module
from asterism.storage.open import migrate
from asterism.storage.postgres import lease_connections
from asterism.storage.postgres.lease_connections import LANES, retry_until_connected
from asterism.storage.postgres.saver import LeasedPostgresSaver, open_saver
from asterism.storage.serializers import serializer
from tests.databases import Server, serving
from tests.teams import Turns, follow, said, star

REQUEST: WorkflowInput = {"messages": [("user", "Plan it")]}
PLACE: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
LEASE = 0.3


@pytest.fixture
def leased(postgres: str) -> Iterator[LeasedPostgresSaver]:
    """A saver whose leases last a fraction of a second."""
    with open_saver(postgres, serde=serializer(), lease=LEASE) as opened:
        yield opened


def store(saver: Any, step: int) -> None:
    metadata = {"source": "loop", "step": step, "parents": {}}
    saver.put(PLACE, empty_checkpoint(), metadata, {})


def silence(saver: LeasedPostgresSaver) -> None:
    """Stop showing that the process lives, as a stopped process does."""
    saver._lanes._stopped.set()
    saver._lanes._beats.join()


def end_sessions(url: str) -> None:
    """Cut all connections, as a network or a server does."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def locks(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        (count,) = row.fetchone() or (0,)
    return int(count)


def taken(saver: LeasedPostgresSaver) -> Callable[[], None]:
    """Take the lease of a thread as soon as it is free."""
    for _ in range(600):
        if release := take_lease(saver, "t"):
            return release
        threading.Event().wait(0.05)
    raise AssertionError("the lease is still held")


# ---- preparing


def test_a_database_that_was_not_prepared_names_the_command(server: Server) -> None:
    url = server.create(migrated=False)
    with pytest.raises(StorageError, match="Run once: asterism migrate"), open_checkpointer(url):
        pass
    migrate(url)
    for _ in range(2):
        with open_checkpointer(url) as saver:
            assert list(saver.list(None)) == []
    server.drop(url)


def test_many_can_prepare_a_database_at_once(server: Server) -> None:
    url = server.create(migrated=False)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(migrate, [url] * 6))
    with open_checkpointer(url) as one, open_checkpointer(url) as two:
        store(one, 1)
        assert two.get_tuple(PLACE) is not None
    server.drop(url)


def test_a_database_of_a_newer_version_is_left_alone(postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute("UPDATE asterism SET value = '2' WHERE key = 'format'")
    for use in (migrate, lambda url: open_checkpointer(url).__enter__()):
        with pytest.raises(StorageError, match="has the format 2; this version of Asterism reads"):
            use(postgres)


SECRET = "hunter2horse"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:1/db",
        f"postgres://me:{SECRET}@/db?host=/nowhere",
        f"postgresql://me:{SECRET}/x@127.0.0.1/db",
        f"postgresql://me:{SECRET}[@127.0.0.1/db",
        f"postgresql://127.0.0.1:1/db?user=me&password={SECRET}",
        f"postgresql://127.0.0.1/db?pasword={SECRET}",
    ],
)
def test_a_password_is_never_shown(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for use in (migrate, lambda url: open_checkpointer(url).__enter__()):
        with pytest.raises(StorageError) as caught:
            use(url)
        seen: BaseException | None = caught.value
        while seen is not None:
            assert SECRET not in f"{seen} {seen!r}"
            seen = seen.__cause__
    assert SECRET not in caplog.text


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with (
        pytest.raises(ConfigurationError, match=r"pip install 'asterism-agents\[postgres\]'"),
        open_checkpointer("postgresql://x/y"),
    ):
        pass


# ---- leases that fence


def test_a_lost_session_goes_on_where_nobody_else_was(leased: LeasedPostgresSaver) -> None:
    release = take_lease(leased, "t")
    assert release is not None
    store(leased, 1)
    end_sessions(leased.address.conninfo)
    store(leased, 2)
    saved = leased.get_tuple(PLACE)
    assert saved is not None and saved.metadata.get("step") == 2
    assert locks(leased.address.conninfo) == 1
    release()
    assert locks(leased.address.conninfo) == 0


@pytest.mark.parametrize("finished", [False, True], ids=["and drives", "and is done"])
def test_whoever_was_silent_cannot_write_once_somebody_else_drives(
    leased: LeasedPostgresSaver, finished: bool
) -> None:
    url = leased.address.conninfo
    release = take_lease(leased, "t")
    assert release is not None
    store(leased, 1)
    silence(leased)
    with open_saver(f"postgresql://?{_query(url)}", serde=serializer()) as other:
        took = taken(other)
        store(other, 7)
        if finished:
            took()
        with pytest.raises(AbandonedError, match="somebody else has driven it since"):
            store(leased, 2)
        with pytest.raises(AbandonedError):
            leased.put_writes(_at(other), [("a", 1)], "x")
        saved = other.get_tuple(PLACE)
        assert saved is not None and saved.metadata.get("step") == 7
        release()
        assert (take_lease(leased, "t") is not None) == finished


def _query(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    return "&".join(f"{key}={parts[key]}" for key in ("host", "dbname", "user"))


def _at(saver: LeasedPostgresSaver) -> RunnableConfig:
    saved = saver.get_tuple(PLACE)
    assert saved is not None
    return saved.config


def test_a_run_that_lives_keeps_its_lease_through_silence_between_steps(
    leased: LeasedPostgresSaver,
) -> None:
    release = take_lease(leased, "t")
    assert release is not None
    threading.Event().wait(LEASE * 4)
    with open_saver(f"postgresql://?{_query(leased.address.conninfo)}", serde=serializer()) as two:
        assert take_lease(two, "t") is None
    release()


async def test_a_lease_that_nobody_waits_for_is_given_back(leased: LeasedPostgresSaver) -> None:
    taking = asyncio.ensure_future(leased.atake_lease("t"))
    await asyncio.sleep(0)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    for _ in range(600):
        if release := await leased.atake_lease("t"):
            release()
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the lease is still held")


def test_two_savers_share_no_lease(postgres: str, thread: RunnableConfig) -> None:
    begun, go = threading.Event(), threading.Event()

    def wait(messages: Any) -> str:
        begun.set()
        assert go.wait(60)
        return "done"

    builder = SupervisorWorkflowBuilder("Held", finish="forward", on_busy="refuse")
    builder.participants(p=Participant(runs=wait, description="Waits."))
    builder.with_manager(follow(["p"]))
    with (
        open_checkpointer(postgres) as one,
        open_checkpointer(postgres) as two,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(builder.build(checkpointer=one).invoke, REQUEST, thread)
        assert begun.wait(60)
        with pytest.raises(ThreadBusyError):
            builder.build(checkpointer=two).invoke(REQUEST, thread)
        go.set()
        assert said(first.result()) == ["done"]


# ---- lists, restarts


def test_lists_are_whole_where_they_take_several_queries(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saver_module, "PAGE", 3)
    with open_checkpointer(postgres) as saver:
        builder = star(Turns(), ["venue", "food"])
        for name in ("a", "b"):
            place: RunnableConfig = {"configurable": {"thread_id": name}}
            builder.build(checkpointer=saver).invoke(REQUEST, place)
        with psycopg.connect(postgres) as connection:  # a copy has the ids of the first
            connection.execute(
                "INSERT INTO checkpoints SELECT 'c', checkpoint_ns, checkpoint_id, "
                "parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints "
                "WHERE thread_id = 'a'"
            )
            row = connection.execute("SELECT count(*) FROM checkpoints").fetchone()
            count = row[0] if row else 0
        found = [(r.config.get("configurable") or {})["checkpoint_id"] for r in saver.list(None)]
        assert len(found) == count > 12
        assert found == sorted(found, reverse=True)
        assert len(list(saver.list(None, limit=7))) == 7
        assert len(list(saver.list({"configurable": {"thread_id": "a"}}, limit=2))) == 2


# ---- calls that wait for one lane


class Held:
    """Threads whose leases share one lane, which is busy until `calls` are waiting."""

    def __init__(self, saver: LeasedPostgresSaver, count: int) -> None:
        self.saver = saver
        lane = saver._lanes._lanes[0]
        names = (f"t{number}" for number in itertools.count())
        self.threads = [*itertools.islice((n for n in names if hash(n) % LANES == 0), count)]
        for name in self.threads:
            assert saver.take_lease(name)
            assert saver._lanes.lane(name) is lane
        self.lane = lane

    async def put(self, thread: str, name: Any) -> None:
        checkpoint: Any = {**empty_checkpoint(), "id": name}
        place: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        await self.saver.aput(place, checkpoint, {"source": "loop", "step": 0, "parents": {}}, {})

    async def together(self, *calls: Any) -> list[Any]:
        with self.lane._lock:
            waiting = [asyncio.ensure_future(call) for call in calls]
            await asyncio.sleep(0)
        return await asyncio.gather(*waiting, return_exceptions=True)

    def transactions(self) -> dict[str, set[str]]:
        """Return the threads that each transaction stored something of."""
        found: dict[str, set[str]] = {}
        with psycopg.connect(self.saver.address.conninfo) as connection:
            for number, name in connection.execute("SELECT xmin::text, thread_id FROM checkpoints"):
                found.setdefault(number, set()).add(name)
        return found


@pytest.fixture
def held(postgres: str) -> Iterator[Held]:
    with open_saver(postgres, serde=serializer()) as saver:
        yield Held(saver, 6)


async def test_calls_that_wait_for_a_lane_share_a_transaction(held: Held) -> None:
    assert await held.together(*(held.put(name, "1") for name in held.threads)) == [None] * 6
    found = held.transactions()
    assert len(found) <= 2  # the first call may have begun alone
    assert set.union(*found.values()) == {*held.threads}


async def test_a_call_that_fails_fails_alone(held: Held) -> None:
    outcomes = await held.together(
        *(held.put(name, None if place == 3 else "1") for place, name in enumerate(held.threads))
    )
    assert [type(outcome) for outcome in outcomes].count(type(None)) == 5
    assert isinstance(outcomes[3], StorageError)
    assert set.union(*held.transactions().values()) == {*held.threads} - {held.threads[3]}


async def test_each_call_of_a_group_is_fenced(held: Held) -> None:
    lost = held.threads[2]
    del held.lane.held[lost]  # as where somebody else has taken it since
    outcomes = await held.together(*(held.put(name, "1") for name in held.threads))
    assert isinstance(outcomes[2], AbandonedError)
    assert set.union(*held.transactions().values()) == {*held.threads} - {lost}


async def test_a_group_whose_connection_is_lost_is_stored_once_it_is_back(held: Held) -> None:
    end_sessions(held.saver.address.conninfo)
    assert await held.together(*(held.put(name, "1") for name in held.threads)) == [None] * 6
    assert set.union(*held.transactions().values()) == {*held.threads}


async def test_a_group_waits_once_for_a_database_that_stays_away(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def gone() -> None:
        tries.append(1)
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(lease_connections.retry_until_connected, "__defaults__", (0.0,))
    monkeypatch.setattr(held.lane, "_connect", gone)
    outcomes = await held.together(*(held.put(name, "1") for name in held.threads))
    assert {str(outcome) for outcome in outcomes} == {
        f"The database {held.saver.address.shown!r} cannot be used: gone. "
        f"A step of the thread {name!r} is not stored."
        for name in held.threads
    }
    assert len(tries) <= 4  # the first call alone, and the others together


@pytest.mark.parametrize("leased", [True, False], ids=["driven", "not driven"])
async def test_a_saver_that_is_closed_says_so_at_once(postgres: str, leased: bool) -> None:
    with open_saver(postgres, serde=serializer()) as saver:
        if leased:
            assert saver.take_lease("t")
    calls: list[Callable[[], Any]] = [
        lambda: saver.get_tuple(PLACE),
        lambda: saver.take_lease("t"),
        lambda: saver.aget_tuple(PLACE),
        lambda: saver.atake_lease("t"),
    ]
    for call in calls:
        with pytest.raises(StorageError, match=r"Keep open_checkpointer\(\) open"):
            found = call()
            await found


def test_runs_wait_while_the_database_restarts() -> None:
    with serving(fsync="on", synchronous_commit="on") as own:
        url = own.create()
        stop = threading.Event()
        with open_checkpointer(url) as saver:
            workflow = star(Turns(), ["venue", "food"] * 6).build(checkpointer=saver)

            def run(number: int) -> int:
                rounds = 0
                while not stop.is_set() or not rounds:
                    place: RunnableConfig = {"configurable": {"thread_id": f"{number}/{rounds}"}}
                    assert workflow.invoke(REQUEST, place)["status"] == "completed"
                    rounds += 1
                return rounds

            with ThreadPoolExecutor(4) as pool:
                runs = [pool.submit(run, number) for number in range(4)]
                for _ in range(2):
                    threading.Event().wait(0.5)
                    own.restart()
                stop.set()
                finished = sum(each.result() for each in runs)
            for number in range(4):
                place = workflow.get_state({"configurable": {"thread_id": f"{number}/0"}})
                reports = [r["participant"] for r in place.values["reports"]]
                assert reports == ["venue", "food"] * 6
        assert finished >= 4


def test_a_database_that_stays_away_is_an_error_in_the_end() -> None:
    tries: list[int] = []

    def call() -> None:
        tries.append(1)
        raise psycopg.OperationalError("gone")

    with pytest.raises(psycopg.OperationalError):
        retry_until_connected(call, patience=0.1)
    assert len(tries) >= 3
