"""Turns per second of 1, 2 and 4 workers on one Postgres server, all on this machine.

A round queues threads of a few turns each, whose participants answer at once or after a wait
that stands for a model's, and measures from the first effect to the last. With `--here`, the
threads run in this process instead, beside the same star by hand on LangGraph's own saver, and
the commits of the database are counted.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
import warnings
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import psycopg

from asterism import Participant, SupervisorDecision, SupervisorView, SupervisorWorkflowBuilder
from benchmarks.work import ANSWER

TURNS = 10


def team(model: Any) -> SupervisorWorkflowBuilder:
    """Ten turns of two participants."""
    wait = float(os.environ["BENCH_WAIT"])

    async def answer(messages: list[Any]) -> str:
        await asyncio.sleep(wait)
        return ANSWER

    async def decide(view: SupervisorView) -> SupervisorDecision:
        if view.iterations >= TURNS:
            return SupervisorDecision(next_agent=None)
        name = ("p0", "p1")[view.iterations % 2]
        return SupervisorDecision(next_agent=name, instruction=f"Part {view.iterations}")

    parts = {name: Participant(runs=answer, description="Answers.") for name in ("p0", "p1")}
    return (
        SupervisorWorkflowBuilder("Bench", max_iterations=TURNS + 1, finish="forward")
        .participants(**parts)
        .with_manager(decide)
    )


async def fill(url: str, threads: int) -> None:
    from asterism.apps.workers.job import JobArguments
    from asterism.apps.workers.queue import open_queue

    async with open_queue(url) as queue:
        for number in range(threads):
            name = f"b{number}"
            graph = "benchmarks.workers:team"
            await queue.put(
                JobArguments(key=name, thread=name, graph=graph, model="offline", request="Go")
            )


def count(connection: Any, status: str) -> int:
    query = "SELECT count(*) FROM procrastinate_jobs WHERE status = %s::procrastinate_job_status"
    return int(connection.execute(query, (status,)).fetchone()[0])


def cpu(process: psutil.Process) -> float:
    """The CPU seconds of a process, and of those that it has started."""
    try:
        parts, children = process.cpu_times()[:4], process.children()
    except psutil.NoSuchProcess:  # what has ended is counted with who started it
        return 0.0
    return float(sum(parts)) + sum(cpu(child) for child in children)


def measure(
    server: Any, url: str, workers: int, threads: int, concurrency: int, wait: float
) -> tuple[float, float, float]:
    """Return the turns per second, the CPU ms of a turn, and the database's share of it."""
    command = [sys.executable, "-m", "asterism", "worker", "--db", url]
    command += ["--concurrency", str(concurrency)]
    environment = {**os.environ, "BENCH_WAIT": str(wait)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [subprocess.Popen(command, env=environment, **quiet) for _ in range(workers)]  # type: ignore[call-overload]
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            registered = "SELECT count(*) FROM procrastinate_workers"
            while connection.execute(registered).fetchone()[0] < workers:  # type: ignore[index]
                time.sleep(0.05)
            asyncio.run(fill(url, workers))  # each builds its graph first
            while count(connection, "succeeded") < workers:
                time.sleep(0.05)
            connection.execute("DELETE FROM procrastinate_jobs")
            connection.execute("TRUNCATE checkpoints, checkpoint_blobs, checkpoint_writes")
            asyncio.run(fill(url, threads))
            begun, database = time.perf_counter(), psutil.Process(server.pid)
            everybody = [database, *(psutil.Process(each.pid) for each in started)]
            before = [cpu(each) for each in everybody]
            while count(connection, "succeeded") < threads:
                time.sleep(0.02)
            took = time.perf_counter() - begun
            used = [cpu(each) - old for each, old in zip(everybody, before, strict=True)]
            turns = threads * TURNS
            return turns / took, sum(used) / turns * 1e3, used[0] / sum(used)
    finally:
        for each in started:
            each.terminate()
        for each in started:
            each.wait(60)


@asynccontextmanager
async def opened_by_hand(url: str) -> AsyncIterator[Any]:
    """LangGraph's own async saver, over a pool of eight connections."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg_pool import AsyncConnectionPool

    from asterism.storage.postgres.connection import settings

    async with AsyncConnectionPool[Any](url, kwargs=settings(), min_size=8, max_size=8) as pool:
        yield AsyncPostgresSaver(pool)


def commits(url: str) -> int:
    """How often transactions were committed in a database."""
    time.sleep(1.1)  # it counts them once a second
    query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    with psycopg.connect(url, autocommit=True) as connection:
        return int(connection.execute(query).fetchone()[0])  # type: ignore[index]


async def measure_here(url: str, star: Any, opening: Any, threads: int) -> tuple[float, ...]:
    """Return turns a second, CPU ms of this process a turn, and commits a turn."""
    gate = asyncio.Semaphore(25)

    async def talk(team: Any, name: str) -> None:
        async with gate:
            assert await star.talk(team, name) == TURNS

    async with opening(url) as saver:
        team = star.build(saver, participants=2, turns=TURNS)
        await talk(team, "first")
        before, used, begun = commits(url), time.process_time(), time.perf_counter()
        await asyncio.gather(*(talk(team, f"t{number}") for number in range(threads)))
        took, used = time.perf_counter() - begun, time.process_time() - used
        turns = threads * TURNS
        return turns / took, used / turns * 1e3, (commits(url) - before) / turns


def compare_here(server: Any, rounds: int, threads: int) -> None:
    """Print the medians of rounds in which both take turns."""
    from asterism import aopen_checkpointer
    from benchmarks.contenders import by_hand, ours

    sides = {"by hand": (by_hand, opened_by_hand), "Asterism": (ours, aopen_checkpointer)}
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (star, opening) in sides.items():
            url = server.create()
            found[name].append(asyncio.run(measure_here(url, star, opening, threads)))
            server.drop(url)
    print("| | turns a second | CPU ms a turn | commits a turn |")
    print("| --- | ---: | ---: | ---: |")
    for name, figures in found.items():
        speed, used, commit = map(statistics.median, zip(*figures, strict=True))
        print(f"| {name} | {speed:.0f} | {used:.1f} | {commit:.1f} |")
    pairs = zip(found["Asterism"], found["by hand"], strict=True)
    print(f"turns a second, within a round: {statistics.median(a[0] / b[0] for a, b in pairs):.1f}")


def main() -> None:
    warnings.simplefilter("ignore")
    from tests.databases import serving

    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=100)
    parser.add_argument("--here", action="store_true", help="in this process, without workers")
    arguments = parser.parse_args()
    found: dict[tuple[float, int], list[tuple[float, float, float]]] = {}
    durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    with serving(**durable) as server:
        if arguments.here:
            compare_here(server, arguments.rounds, arguments.threads)
            return
        for number in range(arguments.rounds):
            for wait in (0.0, 0.2):
                for workers in (1, 2, 4):
                    url = server.create()
                    figures = measure(server, url, workers, arguments.threads, 25, wait)
                    found.setdefault((wait, workers), []).append(figures)
                    server.drop(url)
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
        print("| a turn waits | workers | turns a second | CPU ms a turn | of it, the database |")
        print("| ---: | ---: | ---: | ---: | ---: |")
        for (wait, workers), figures in found.items():
            speed, used, share = map(statistics.median, zip(*figures, strict=True))
            shown = f"{speed:.0f} | {used:.1f} | {share * 100:.0f} %"
            print(f"| {wait * 1e3:.0f} ms | {workers} | {shown} |")


if __name__ == "__main__":
    main()
