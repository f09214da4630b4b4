"""Turns per second of 1, 2 and 4 workers on one Postgres server, all on this machine.

A round queues threads of a few turns each, whose participants answer at once or after a wait
that stands for a model's, and measures from the first effect to the last.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import time
import warnings
from argparse import ArgumentParser
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


def main() -> None:
    warnings.simplefilter("ignore")
    from tests.databases import serving

    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=100)
    arguments = parser.parse_args()
    found: dict[tuple[float, int], list[tuple[float, float, float]]] = {}
    durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    with serving(**durable) as server:
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
