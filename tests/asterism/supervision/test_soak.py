"""Many children with random hangs, crashes, kills, pauses and restarts: nothing is left behind.

`make torture` lets it run for five minutes with 1,000 children; here, for five seconds.
"""

import asyncio
import gc
import logging
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asterism.errors import ChildStateError, NothingPendingError
from asterism.events import Event, SupervisionEventType
from asterism.storage.open import aopen_checkpointer
from asterism.supervision import AgentQuota, AgentSupervisor, SupervisorConfig
from asterism.supervision.status import ENDED, ChildStatus, next_status
from asterism.testing import ScriptedChatModel
from tests.asterism.supervision.helpers import MOVES, Log, chain, until

SECONDS = float(os.environ.get("ASTERISM_SOAK", "5"))
CHILDREN = max(60, round(1000 * SECONDS / 300))
PROC = Path("/proc/self")
KINDS = (
    "works",
    "works",
    "slow",
    "crashes",
    "always crashes",
    "hangs",
    "hangs in a thread",
    "calls",
)
FATES = ("lives", "lives", "lives", "is killed", "rests", "rests and is killed")

pytestmark = pytest.mark.skipif(not PROC.exists(), reason="reads /proc")


class Tally:
    """Follows each child by its events; an illegal transition raises, and is a failure."""

    def __init__(self) -> None:
        self.status: dict[str, ChildStatus] = {}
        self.counts: Counter[str] = Counter()
        self.moves = 0
        self.restarts = 0

    def __call__(self, event: Event) -> None:
        kind = event.type
        self.restarts += kind is SupervisionEventType.STARTED and event.facts["attempt"] > 1
        assert isinstance(kind, SupervisionEventType)
        self.counts[kind.value] += 1
        if kind is SupervisionEventType.SPAWNED:
            assert event.source not in self.status
            self.status[event.source] = ChildStatus.PENDING
        elif kind in MOVES:
            self.status[event.source] = next_status(self.status[event.source], kind, event.source)
            self.moves += 1
        else:
            assert self.status[event.source] not in ENDED


def node(chance: random.Random, kind: str) -> Any:
    """A node of some kind; the random ones crash or hang now and then."""

    async def works(state: Log) -> Log:
        await asyncio.sleep(chance.uniform(0, 0.02))
        return {"done": [kind]}

    async def slow(state: Log) -> Log:
        await asyncio.sleep(chance.uniform(0.1, 0.4))
        return {"done": [kind]}

    async def crashes(state: Log) -> Log:
        if kind == "always crashes" or chance.random() < 0.5:
            raise RuntimeError("out of order")
        return {"done": [kind]}

    async def hangs(state: Log) -> Log:
        await asyncio.sleep(60 if chance.random() < 0.5 else 0)
        return {"done": [kind]}

    def hangs_in_a_thread(state: Log) -> Log:
        time.sleep(chance.uniform(0.5, 1.5) if chance.random() < 0.5 else 0)
        return {"done": [kind]}

    async def calls(state: Log) -> Log:
        model = ScriptedChatModel(script=["a few words"] * 5)
        for _ in range(5):
            await model.ainvoke("say something")
        return {"done": [kind]}

    return {
        "works": works,
        "slow": slow,
        "crashes": crashes,
        "always crashes": crashes,
        "hangs": hangs,
        "hangs in a thread": hangs_in_a_thread,
        "calls": calls,
    }[kind]


async def live(parent: AgentSupervisor, chance: random.Random, saver: Any) -> None:
    """Spawn a child, let its fate be done, and wait for its end."""
    nodes = [node(chance, chance.choice(KINDS)) for _ in range(chance.randint(1, 5))]
    quota = AgentQuota(
        max_duration_seconds=chance.choice([None, 1.0]),
        max_tokens=chance.choice([None, 30]),
        heartbeat_timeout=0.3,
        heartbeat_interval=0.1,
        max_retries=chance.randint(0, 3),
        retry_delay=chance.choice([0, 0.05]),
    )
    child = await parent.spawn("c", {"done": []}, chain(*nodes, saver=saver), quota)
    fate = chance.choice(FATES)
    await asyncio.sleep(chance.uniform(0, 0.3))
    try:
        if fate == "is killed":
            await parent.kill_child(child)
        elif fate.startswith("rests"):
            await parent.pause_child(child)
            await asyncio.sleep(chance.uniform(0, 0.1))
            if fate == "rests":
                await parent.resume_child(child)
            else:
                await parent.kill_child(child)
    except (ChildStateError, NothingPendingError):
        pass  # it had ended before
    await asyncio.gather(parent.await_child(child), return_exceptions=True)


def memory() -> int:
    """The bytes that this process has in memory."""
    gc.collect()
    pages = int((PROC / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def files() -> int:
    return len([*(PROC / "fd").iterdir()])


def slope(points: list[tuple[float, float]]) -> float:
    """How much the second value grows with the first, by least squares."""
    x_mean = sum(x for x, _ in points) / len(points)
    y_mean = sum(y for _, y in points) / len(points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    return sum((x - x_mean) * (y - y_mean) for x, y in points) / spread


async def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transitions = 0

    def counted(*args: Any) -> ChildStatus:
        nonlocal transitions
        to = next_status(*args)
        transitions += 1
        return to

    monkeypatch.setattr("asterism.supervision.child.next_status", counted)
    chance = random.Random(7)
    tally = Tally()
    config = SupervisorConfig(max_remembered=50, max_restarts=100_000, grace=0.05)
    parent = AgentSupervisor(config, tally)
    points: list[tuple[float, float]] = []
    before = (asyncio.all_tasks(), threading.active_count())
    async with aopen_checkpointer(f"sqlite:///{tmp_path / 'soak.db'}") as saver:
        lives: set[asyncio.Task[None]] = set()
        await live(parent, chance, saver)
        opened = files()
        for place in range(CHILDREN - 1):
            task = asyncio.create_task(live(parent, chance, saver))
            lives.add(task)
            task.add_done_callback(lives.discard)
            await asyncio.sleep(SECONDS / CHILDREN)
            if place % (CHILDREN // 50) == 0:
                points.append((place, memory()))
        await asyncio.gather(*lives)
        await parent.shutdown()
        await until(lambda: not [t for t in threading.enumerate() if t.name == "child"])
        assert files() == opened
    await until(lambda: asyncio.all_tasks() == before[0])  # those that were cancelled end soon
    assert threading.active_count() == before[1]
    assert parent.bus.failures() == []
    assert len(tally.status) == CHILDREN
    assert set(tally.status.values()) <= set(ENDED)
    assert tally.moves == transitions
    progress = parent.aggregate_progress()
    assert progress.counts == {s: [*tally.status.values()].count(s) for s in ChildStatus}
    assert progress.restarts == tally.restarts
    warm = points[len(points) // 3 :]
    grown = slope(warm)
    logging.getLogger(__name__).warning(
        "%d children in %.0f s: %s; %.0f bytes of memory more per child, %.1f MB in all",
        CHILDREN,
        SECONDS,
        dict(tally.counts),
        grown,
        (warm[-1][1] - warm[0][1]) / 1e6,
    )
    assert grown * CHILDREN < 30e6
