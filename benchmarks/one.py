"""One measurement in one process: prints JSON.

`python -m benchmarks.one CONTENDER WORKLOAD '{"turns": 10, ...}'`
"""

import asyncio
import gc
import json
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from benchmarks.work import SMALL, UNIT, Contender, Tasks, fan_of, plan_of, size_of

THREAD = "t"


class Clock:
    """The CPU and wall time since it was made."""

    def __init__(self) -> None:
        gc.collect()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> dict[str, float]:
        return {
            "cpu": (time.process_time() - self._cpu) * 1e3,
            "wall": (time.perf_counter() - self._wall) * 1e3,
        }


def _store(contender: Contender, path: Path | None) -> AbstractAsyncContextManager[Any]:
    return contender.opened(path) if path else nullcontext(None)


def _check(found: int, wanted: int) -> None:
    if found != wanted:
        raise AssertionError(f"{found} answers, not {wanted}")


async def _warm(contender: Contender) -> None:
    """Load the code that runs, which is the matter of another measurement."""
    _check(await contender.talk(contender.build(None, participants=SMALL, turns=3), "warm"), 3)


async def turns(
    contender: Contender, path: Path | None, *, turns: int, participants: int = SMALL
) -> dict[str, float]:
    """Hold one conversation; figures are per turn."""
    await _warm(contender)
    async with _store(contender, path) as store:
        team = contender.build(store, participants=participants, turns=turns)
        clock = Clock()
        found = await contender.talk(team, THREAD)
        taken = clock.read()
    _check(found, turns)
    return {key: value / turns for key, value in taken.items()}


async def ready(contender: Contender, path: Path | None) -> dict[str, float]:
    """Do what `turns` and `chat` do before their clocks start."""
    await _warm(contender)
    async with _store(contender, path) as store:
        contender.build(store, participants=SMALL, turns=1)
        Clock()  # collects garbage, which takes as long as there is code
    return {}


async def chat(
    contender: Contender, path: Path | None, *, messages: int, participants: int = SMALL
) -> dict[str, float]:
    """Send messages on one thread, each of which takes one turn; figures are per message.

    What is not stored is kept in memory.
    """
    from langgraph.checkpoint.memory import InMemorySaver

    await _warm(contender)
    async with _store(contender, path) as store:
        store = store or InMemorySaver()
        team = contender.build(store, participants=participants, turns=1)
        clock = Clock()
        found = [await contender.talk(team, THREAD) for _ in range(messages)]
        taken = clock.read()
    _check(found[-1], messages)
    return {key: value / messages for key, value in taken.items()}


async def many(
    contender: Contender, path: Path | None, *, conversations: int, turns: int
) -> dict[str, float]:
    """Hold many conversations at once; figures are per turn."""
    await _warm(contender)
    threads = [f"{THREAD}{place}" for place in range(conversations)]
    async with _store(contender, path) as store:
        team = contender.build(store, participants=SMALL, turns=turns)
        clock = Clock()
        if hasattr(contender, "many"):
            found = await contender.many(team, threads)
        else:
            found = await asyncio.gather(*(contender.talk(team, name) for name in threads))
        taken = clock.read()
    _check(sum(found), turns * conversations)
    return {key: value / turns / conversations for key, value in taken.items()}


async def fan(contender: Contender, path: Path | None, *, participants: int) -> dict[str, float]:
    """Let all participants work at once; figures are of the time beyond theirs."""
    taken = await _all(contender, path, fan_of(participants))
    return {**taken, "over": taken["wall"] - UNIT * 1e3}


async def plan(contender: Contender, path: Path | None) -> dict[str, float]:
    """Let twelve participants work, some after others."""
    return await _all(contender, path, plan_of())


async def _all(contender: Contender, path: Path | None, tasks: Tasks) -> dict[str, float]:
    team = contender.build_fan(None, tasks)
    _check(await contender.fan(team, "warm"), len(tasks))  # loads code
    async with _store(contender, path) as store:
        team = contender.build_fan(store, tasks)
        clock = Clock()
        found = await contender.fan(team, THREAD)
        taken = clock.read()
    _check(found, len(tasks))
    return taken


async def build(contender: Contender, path: Path | None, *, participants: int) -> dict[str, float]:
    """Build a team; what it needs is loaded already."""
    await _warm(contender)
    clock = Clock()
    team = contender.build(None, participants=participants, turns=1)
    taken = clock.read()
    _check(await contender.talk(team, THREAD), 1)
    return taken


async def start(contender: Contender, path: Path | None, *, participants: int) -> dict[str, float]:
    """Import, build and take one turn; figures are those of the whole process."""
    team = contender.build(None, participants=participants, turns=1)
    _check(await contender.talk(team, THREAD), 1)
    since = time.clock_gettime(time.CLOCK_BOOTTIME) - _born()
    return {"cpu": time.process_time() * 1e3, "wall": since * 1e3}


def _born() -> float:
    """Return when this process began, in seconds since the machine did."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / 100


async def pause(contender: Contender, path: Path | None, *, turns: int) -> dict[str, float]:
    """Take all turns but the last, and stop."""
    async with _store(contender, path) as store:
        team = contender.build(store, participants=SMALL, turns=turns + 1, stops_at=turns)
        clock = Clock()
        found = await contender.talk(team, THREAD)
        taken = clock.read()
    _check(found, turns)
    return taken


async def resume(contender: Contender, path: Path | None, *, turns: int) -> dict[str, float]:
    """Open what another process has stored, and take the last turn."""
    await _warm(contender)
    clock = Clock()
    async with _store(contender, path) as store:
        team = contender.build(store, participants=SMALL, turns=turns + 1, stops_at=turns)
        found = await contender.go_on(team, THREAD)
        taken = clock.read()
    _check(found, turns + 1)
    return taken


Workload = Callable[..., Awaitable[dict[str, float]]]
WORKLOADS: dict[str, Workload] = {
    work.__name__: work
    for work in (ready, turns, chat, many, fan, plan, build, start, pause, resume)
}


def measure(
    name: str, workload: str, *, stored: bool = False, folder: str | None = None, **sizes: int
) -> dict[str, Any]:
    """Measure once; a folder that is given keeps what is stored."""
    contender = cast(Contender, import_module(f"benchmarks.contenders.{name}"))
    with tempfile.TemporaryDirectory() as own:
        place = Path(folder or own)
        path = place / "threads.db" if stored else None
        found: dict[str, Any] = dict(asyncio.run(WORKLOADS[workload](contender, path, **sizes)))
        found["bytes"] = size_of(place)
    found["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found["versions"] = {package: version(package) for package in contender.VERSIONS}
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(measure(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))))
