"""Children outlive their process: paused or killed in one, they go on in another."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asterism.errors import ChildPausedError
from asterism.storage.open import aopen_checkpointer
from asterism.supervision import AgentQuota, AgentSupervisor
from tests.asterism.supervision.helpers import Log, Told, chain, until
from tests.processes import forks

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

STEPS = 6


def noted(folder: Path) -> list[str]:
    return (folder / "log").read_text().split() if (folder / "log").exists() else []


def build(folder: Path, saver: Any, hold: int | None) -> Any:
    """A graph that writes to a log what it does, and waits at a step for a file to appear."""

    def step(place: int) -> Any:
        def work(state: Log) -> Log:
            while place == hold and not (folder / "free").exists():
                time.sleep(0.01)
            with (folder / "log").open("a") as log:
                log.write(f"{place}\n")
            return {"done": [str(place)]}

        return work

    return chain(*[step(place) for place in range(STEPS)], saver=saver)


async def spawned(folder: Path, parent: AgentSupervisor, saver: Any) -> str:
    quota = AgentQuota(max_duration_seconds=1000, max_iterations=100, heartbeat_interval=0.01)
    graph = build(folder, saver, hold=2)
    return await parent.spawn("one", {"done": []}, graph, quota, {"room": 7}, thread_id="t")


async def _paused(folder: Path) -> None:
    async with aopen_checkpointer(f"sqlite:///{folder / 'a.db'}") as saver:
        parent = AgentSupervisor()
        child = await spawned(folder, parent, saver)
        await until(lambda: parent.child(child).doing == "n2")
        pausing = asyncio.create_task(parent.pause_child(child))
        await asyncio.sleep(0.05)
        (folder / "free").touch()
        assert await pausing is True


async def _killed(folder: Path) -> None:
    async with aopen_checkpointer(f"sqlite:///{folder / 'a.db'}") as saver:
        parent = AgentSupervisor()
        await spawned(folder, parent, saver)
        await until(lambda: noted(folder) == ["0", "1"])
        await asyncio.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)


async def _terminated(folder: Path) -> None:
    async with aopen_checkpointer(f"sqlite:///{folder / 'a.db'}") as saver:
        parent = AgentSupervisor()
        parent.install_sigterm(timeout=30)
        child = await spawned(folder, parent, saver)
        try:
            await parent.await_child(child)
        except ChildPausedError as error:
            (folder / "said").write_text(str(error))


async def _stubborn(folder: Path) -> None:
    """A child that hangs in a thread: a second signal ends it, and nothing waits for it."""
    async with aopen_checkpointer(f"sqlite:///{folder / 'a.db'}") as saver:
        told = Told()
        parent = AgentSupervisor(on_event=told)
        parent.install_sigterm(timeout=60)
        child = await spawned(folder, parent, saver)
        try:
            await parent.await_child(child)
        finally:
            (folder / "said").write_text(str(told.facts("killed")))


def in_process(work: Any, folder: Path) -> None:
    asyncio.run(work(folder))


def start(work: Any, folder: Path) -> Any:
    process = forks.Process(target=in_process, args=(work, folder))
    process.start()
    return process


def signalled(process: Any, folder: Path, times: int = 1) -> None:
    """Send SIGTERM once the child is at its third step."""
    deadline = time.monotonic() + 30
    while noted(folder) != ["0", "1"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for _ in range(times):
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGTERM)


async def goes_on_here(folder: Path) -> AgentSupervisor:
    """Adopt the child, bring it to its end, and check that nothing was repeated."""
    (folder / "free").touch()
    async with aopen_checkpointer(f"sqlite:///{folder / 'a.db'}") as saver:
        parent = AgentSupervisor()
        child = await parent.adopt("t", build(folder, saver, hold=None))
        found = parent.child(child)
        assert (found.name, found.metadata) == ("one", {"room": 7})
        assert found.usage.quota.max_duration_seconds == 1000
        assert 0 < found.usage.elapsed_seconds < 60
        assert found.usage.iterations >= 1
        await parent.resume_child(child)
        result = await parent.await_child(child)
        assert result == {"done": [str(place) for place in range(STEPS)]}
    return parent


async def test_a_child_is_paused_in_one_process_and_goes_on_in_another(tmp_path: Path) -> None:
    process = start(_paused, tmp_path)
    process.join(60)
    assert process.exitcode == 0
    assert noted(tmp_path) == ["0", "1", "2"]
    await goes_on_here(tmp_path)
    assert noted(tmp_path) == [str(place) for place in range(STEPS)]


async def test_a_child_whose_process_was_killed_goes_on_in_another(tmp_path: Path) -> None:
    process = start(_killed, tmp_path)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    await goes_on_here(tmp_path)
    assert Counter(noted(tmp_path)) == {str(place): 1 for place in range(STEPS)}


async def test_a_process_that_is_told_to_end_pauses_its_children(tmp_path: Path) -> None:
    process = start(_terminated, tmp_path)
    signalled(process, tmp_path)
    time.sleep(0.2)
    assert process.is_alive()  # it waits for the step to be done
    (tmp_path / "free").touch()
    process.join(60)
    assert process.exitcode == 0
    assert "Another one can adopt it: adopt('t', graph)" in (tmp_path / "said").read_text()
    assert noted(tmp_path) == ["0", "1", "2"]
    await goes_on_here(tmp_path)
    assert noted(tmp_path) == [str(place) for place in range(STEPS)]


async def test_a_second_signal_ends_what_hangs_and_the_process_with_it(tmp_path: Path) -> None:
    process = start(_stubborn, tmp_path)
    began = time.monotonic()
    signalled(process, tmp_path, times=2)
    process.join(60)
    assert time.monotonic() - began < 30
    assert process.exitcode == 1  # of the ChildKilledError
    said = (tmp_path / "said").read_text()
    assert "the supervisor was shut down" in said
    assert "'abandoned': True" in said
    await goes_on_here(tmp_path)
    assert noted(tmp_path) == [str(place) for place in range(STEPS)]
