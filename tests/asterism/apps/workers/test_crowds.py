"""Many threads, several workers: one is killed, one is stopped and woken, the database restarts.

`make torture` plays 10 rounds with 200 threads each; here, one round with 40.
"""

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from procrastinate import PsycopgConnector

from asterism import aopen_checkpointer, open_checkpointer
from asterism.apps.workers.job import JobArguments
from asterism.apps.workers.job_runs import MOST_TRIES
from asterism.apps.workers.queue import enqueue, open_queue
from asterism.apps.workers.worker import run_worker
from asterism.graphs.catalog import open_graph
from tests.asterism.apps.workers.teams import ROUTE
from tests.databases import Server, serving
from tests.graphs.test_memory import is_valid
from tests.processes import CLI, Process, asterism

TEAMS = "tests.asterism.apps.workers.teams"
TEAM, DEADLY, ASKING = f"{TEAMS}:team", f"{TEAMS}:deadly", f"{TEAMS}:asking"
ROUNDS = int(os.environ.get("ASTERISM_ROUNDS", "1"))
THREADS = 200 if "ASTERISM_ROUNDS" in os.environ else 40
CONCURRENCY = 8
LEASE = 2
TURNS = len(ROUTE) + 1
"""The effects of a run: each function's, and both of the inner workflow."""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGSTOP")


@dataclass
class Crowd:
    """Workers of a database, and what is known of their runs."""

    url: str
    folder: Path
    threads: list[str] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)
    finished: dict[str, dict[str, str]] = field(default_factory=dict)
    """By thread, the reports that were stored when somebody looked."""
    counted: Counter[str] = field(default_factory=Counter)
    """How often their visits had had effects then."""

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self, *options: str) -> Process:
        worker = Process(
            *(CLI, "worker", "--db", self.url, "--graph", TEAM),
            *("--concurrency", str(CONCURRENCY), "--lease", str(LEASE), *options),
            environment={"ASTERISM_TEST_LOG": str(self.log), "ASTERISM_TEST_PAUSE": "0.02"},
        )
        self.workers.append(worker)
        return worker

    async def fill(self, threads: int) -> None:
        async with open_queue(self.url) as queue:
            for number in range(threads):
                name = f"t{number}"
                work = JobArguments(
                    key=name, thread=name, graph=TEAM, model="offline", request="Go"
                )
                assert (await queue.put(work)).new
                self.threads.append(name)

    def effects(self) -> Counter[str]:
        return Counter(self.log.read_text().split() if self.log.exists() else [])

    def counts(self) -> dict[str, int]:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY status"
            )
            return dict(rows.fetchall())

    def running(self, of: int) -> int:
        """How many jobs stand at the worker that registered as number `of`."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(
                "SELECT count(*) FROM procrastinate_jobs WHERE worker_id = %s AND status = 'doing'",
                (of,),
            ).fetchone()
            return int(row[0]) if row else 0

    def look(self, woken: frozenset[str] = frozenset()) -> None:
        """Check that what was finished stays and is not repeated; note what is finished now.

        Args:
            woken: What was finished when a worker was stopped that has been woken since. The
                turns that it was in the middle of run on in it; their effects are its last.
        """
        effects = self.effects()
        again = {key for key, count in self.counted.items() if effects[key] != count}
        if woken:
            assert len(again) <= CONCURRENCY
            again &= woken
        assert not again, f"{again} ran again after they were finished"
        with open_checkpointer(self.url) as saver:
            graph = open_graph(TEAM, model="offline", checkpointer=saver)
            for name in self.threads:
                values = graph.get_state({"configurable": {"thread_id": name}}).values or {}
                now = {r["id"]: r["text"] for r in values.get("reports") or ()}
                before = self.finished.get(name, {})
                assert {key: now.get(key) for key in before} == before, f"{name} lost a turn"
                self.finished[name] = now
        effects = self.effects()  # anew: what was stored meanwhile has had its effects by now
        stored = {handoff for reports in self.finished.values() for handoff in reports}
        self.counted = Counter(
            {key: count for key, count in effects.items() if key.split("/")[1] in stored}
        )

    def check_end(self, disturbances: int) -> int:
        """Check every run; return how many turns ran twice, which were under way then."""
        effects = self.effects()
        with open_checkpointer(self.url) as saver:
            graph = open_graph(TEAM, model="offline", checkpointer=saver)
            for name in self.threads:
                self.check_thread(saver, graph, name, effects)
        again = sum(count - 1 for count in effects.values())
        assert again <= disturbances * CONCURRENCY
        assert len(effects) == len(self.threads) * TURNS
        return again

    def check_thread(self, saver: Any, graph: Any, name: str, effects: Counter[str]) -> None:
        place: Any = {"configurable": {"thread_id": name}}
        values = graph.get_state(place).values
        assert values["status"] == "completed", name
        reports = values["reports"]
        assert [(r["participant"], r["status"]) for r in reports] == [(p, "ok") for p in ROUTE]
        for report in reports:
            if report["participant"] != "pair":
                assert report["text"] == f"{report['participant']} did {report['id']}"
                assert any(key.startswith(f"{name}/{report['id']}/") for key in effects)
        assert [m.type for m in values["messages"]].count("human") == 1
        for participant in ("one", "two"):
            inside = {"configurable": {"thread_id": name, "checkpoint_ns": participant}}
            memory = graph.get_state(inside).values["messages"]
            asked = [m.id for m in memory if m.type == "human"]
            assert len(asked) == len(set(asked)) == ROUTE.count(participant)
            assert is_valid(memory)
        parents = Counter(
            (row.parent_config or {}).get("configurable", {}).get("checkpoint_id")
            for row in saver.list({"configurable": {"thread_id": name, "checkpoint_ns": ""}})
        )
        assert set(parents.values()) == {1}, f"{name} has two histories"

    def told(self) -> str:
        """The last lines that workers wrote."""
        return "\n".join(
            (worker.out.read_text() + worker.err.read_text())[-800:] for worker in self.workers
        )


@contextmanager
def crowd(url: str, folder: Path) -> Iterator[Crowd]:
    folder.mkdir()
    gathered = Crowd(url, folder)
    try:
        yield gathered
    finally:
        for worker in gathered.workers:
            worker.send_signal(signal.SIGCONT)
            worker.kill()
            worker.wait()


def until(what: Callable[[], bool], gathered: Crowd, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"{gathered.counts()} {gathered.told()}"
        time.sleep(0.05)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_worker_is_killed_and_one_is_stopped_and_woken(
    number: int, server: Server, tmp_path: Path
) -> None:
    url = server.create()
    with crowd(url, tmp_path / "round") as gathered:
        for place in range(3):  # one after the other, so that the second has the number 2
            gathered.start()
            until(lambda place=place: registered(url) > place, gathered)  # type: ignore[misc]
        asyncio.run(gathered.fill(THREADS))
        killed, stopped, last = gathered.workers
        part = THREADS * TURNS * (2 + number % 5) // 10
        until(lambda: sum(gathered.effects().values()) > part, gathered)
        killed.kill()
        killed.wait()
        assert gathered.running(2) > 0
        stopped.send_signal(signal.SIGSTOP)
        gathered.look()
        finished = frozenset(gathered.counted)
        until(lambda: gathered.running(2) == 0, gathered)  # they go on elsewhere
        gathered.look()
        stopped.send_signal(signal.SIGCONT)
        until(lambda: gathered.counts() == {"succeeded": THREADS}, gathered)
        gathered.look(woken=finished)
        for worker in (stopped, last):
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0, gathered.told()
        again = gathered.check_end(disturbances=2)
    server.drop(url)
    logging.getLogger(__name__).warning(
        f"{THREADS} threads, {THREADS * TURNS} turns, 1 worker killed, 1 stopped and woken: "
        f"nothing lost, nothing finished repeated, {again} turns under way ran twice"
    )


def test_the_runs_of_a_killed_worker_go_on_long_before_its_lease_ends(
    server: Server, tmp_path: Path
) -> None:
    url = server.create()
    with crowd(url, tmp_path / "round") as gathered:
        gathered.start("--lease", "600")
        asyncio.run(gathered.fill(4))
        until(lambda: gathered.running(1) > 0, gathered)
        gathered.start("--lease", "600")
        until(lambda: registered(url) == 2, gathered)
        gathered.workers[0].kill()
        until(lambda: gathered.counts() == {"succeeded": 4}, gathered, seconds=60)
        gathered.check_end(disturbances=1)
    server.drop(url)


def registered(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM procrastinate_workers").fetchone()
        return int(row[0]) if row else 0


def test_runs_wait_while_the_database_restarts(tmp_path: Path) -> None:
    threads = 8
    with (
        serving(fsync="on", synchronous_commit="on") as own,
        crowd(own.create(), tmp_path / "round") as gathered,
    ):
        asyncio.run(gathered.fill(threads))
        gathered.start()
        for part in (0.2, 0.6):
            wanted = threads * TURNS * part
            until(lambda wanted=wanted: sum(gathered.effects().values()) > wanted, gathered)  # type: ignore[misc]
            own.restart()
        gathered.look()
        until(lambda: gathered.counts() == {"succeeded": threads}, gathered)
        for worker in gathered.workers:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(60) == 0, gathered.told()
        assert gathered.check_end(disturbances=0) == 0


async def test_work_that_kills_its_workers_fails_in_the_end(postgres: str) -> None:
    queued = await enqueue(postgres, DEADLY, "Go", model="offline")
    dead = asterism("worker", "--db", postgres, "--graph", DEADLY)
    assert dead.returncode == 9
    with psycopg.connect(postgres) as connection:
        connection.execute("UPDATE procrastinate_jobs SET attempts = %s", (MOST_TRIES,))
        connection.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - '1h'::interval"
        )
    async with open_queue(postgres) as queue:
        assert await queue.rescue(1, MOST_TRIES) == 1
        assert await queue.rescue(1, MOST_TRIES) == 0
    await run_worker(postgres, wait=False, graphs=[DEADLY])
    with psycopg.connect(postgres) as connection:
        row = connection.execute("SELECT lock, status::text FROM procrastinate_jobs").fetchone()
    assert row == (queued.thread, "failed")


async def test_the_end_of_a_job_belongs_to_whoever_runs_it(postgres: str) -> None:
    """A worker that was silent for too long comes back and says that it has failed."""
    async with open_queue(postgres) as queue:
        work = JobArguments(key="k", thread="t", graph=TEAM, model="offline", request="Go")
        await queue.put(work)
        jobs = queue.app.job_manager
        first, second = await jobs.register_worker(), await jobs.register_worker()
        slow = await jobs.fetch_job(["asterism"], first)
        assert slow is not None
        await jobs.retry_job(slow)
        fresh = await jobs.fetch_job(["asterism"], second)
        assert fresh is not None and fresh.id == slow.id
        from procrastinate.jobs import Status

        await jobs.finish_job(slow, Status.FAILED, False)
        await jobs.retry_job(slow)
        await queue.set_job_facts(slow, error="late")
        assert await jobs.get_job_status_async(int(fresh.id or 0)) is Status.DOING
        await jobs.finish_job(fresh, Status.SUCCEEDED, False)
        assert await jobs.get_job_status_async(int(fresh.id or 0)) is Status.SUCCEEDED


async def test_a_worker_that_is_stopped_between_two_words_keeps_no_lock(postgres: str) -> None:
    async with open_queue(postgres) as stopped, open_queue(postgres) as other:
        await stopped.put(
            JobArguments(key="k", thread="t", graph=TEAM, model="offline", request="Go")
        )
        jobs = stopped.app.job_manager
        await jobs.fetch_job(["asterism"], await jobs.register_worker())
        pool = cast(PsycopgConnector, stopped.app.connector).pool
        async with pool.connection() as connection:
            await connection.execute("SELECT * FROM procrastinate_jobs FOR UPDATE")
            await connection.execute("UPDATE procrastinate_workers SET last_heartbeat = 'epoch'")
            assert await asyncio.wait_for(other.rescue(1, MOST_TRIES), 10) == 1


async def test_an_encrypted_database_is_worked_on_with_its_key(postgres: str) -> None:
    key = b"0123456789abcdef"
    graph = ASKING
    queued = await enqueue(postgres, graph, "swordfish", model="offline")
    await run_worker(postgres, wait=False, key=key, graphs=[ASKING])
    async with aopen_checkpointer(postgres, key=key) as saver:
        opened = open_graph(graph, model="offline", checkpointer=saver)
        found = await opened.aget_state({"configurable": {"thread_id": queued.thread}})
        assert found.values["status"] == "waiting"
