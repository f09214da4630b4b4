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

import psycopg

from asterism import Participant, SupervisorDecision, SupervisorView, SupervisorWorkflowBuilder
from benchmarks.stars import ANSWER

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
    from asterism.workers.queue import open_queue
    from asterism.workers.work import Work

    async with open_queue(url) as queue:
        for number in range(threads):
            name = f"b{number}"
            graph = "benchmarks.workers:team"
            await queue.put(Work(key=name, thread=name, graph=graph, model="offline", request="Go"))


def count(connection: Any, status: str) -> int:
    query = "SELECT count(*) FROM procrastinate_jobs WHERE status = %s::procrastinate_job_status"
    return int(connection.execute(query, (status,)).fetchone()[0])


def measure(url: str, workers: int, threads: int, concurrency: int, wait: float) -> float:
    """Return the turns per second."""
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
            begun = time.perf_counter()
            while count(connection, "succeeded") < threads:
                time.sleep(0.02)
            return threads * TURNS / (time.perf_counter() - begun)
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
    found: dict[tuple[float, int], list[float]] = {}
    durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    with serving(**durable) as server:
        for number in range(arguments.rounds):
            for wait in (0.0, 0.2):
                for workers in (1, 2, 4):
                    url = server.create()
                    speed = measure(url, workers, arguments.threads, 25, wait)
                    found.setdefault((wait, workers), []).append(speed)
                    server.drop(url)
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
        print("| a turn waits | workers | turns a second |")
        print("| ---: | ---: | ---: |")
        for (wait, workers), speeds in found.items():
            print(f"| {wait * 1e3:.0f} ms | {workers} | {statistics.median(speeds):.0f} |")


if __name__ == "__main__":
    main()
