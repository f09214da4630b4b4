"""Supervision across workers: quotas, pause, kill, progress and events of runs elsewhere."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asterism import EventBus
from asterism.apps.workers.event_relay import ROOM, event_to_json
from asterism.apps.workers.job import JobCommand
from asterism.apps.workers.queue import enqueue, open_queue
from asterism.apps.workers.status import queue_status
from asterism.apps.workers.supervisor import QueueSupervisor, open_supervisor
from asterism.apps.workers.worker import JobResult, Worker
from asterism.errors import ChildStateError, ConfigurationError, UnknownChildError
from asterism.events import Event, WorkflowEventType
from asterism.storage.postgres.saver import open_saver
from asterism.storage.serializers import serializer
from asterism.supervision import ChildStatus, SupervisorConfig
from tests.asterism.apps.workers.teams import ROUTE
from tests.processes import CLI, Process

TEAMS = "tests.asterism.apps.workers.teams"
TEAM, PLAIN, FAILING = (f"{TEAMS}:{name}" for name in ("team", "plain", "failing"))
GRAPHS = (TEAM, PLAIN, FAILING)
TURNS = len(ROUTE) + 1


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASTERISM_TEST_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("ASTERISM_TEST_PAUSE", "0.02")
    return tmp_path / "log"


def effects(log: Path) -> Counter[str]:
    return Counter(log.read_text().split() if log.exists() else [])


async def until(what: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while True:
            found = what()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


async def put(url: str, graph: str = TEAM, **options: Any) -> str:
    return (await enqueue(url, graph, "Go", model="offline", **options)).thread


@asynccontextmanager
async def working(
    url: str, on_done: Callable[[JobResult], None] = lambda done: None, **config: Any
) -> AsyncIterator[list[JobResult]]:
    """A worker beside; its end is checked by `finish`."""
    done: list[JobResult] = []

    def note(each: JobResult) -> None:
        done.append(each)
        on_done(each)

    async with open_queue(url) as queue:
        with open_saver(url, serde=serializer(), lease=10) as saver:
            kept = SupervisorConfig(**config)
            worker = Worker(saver, queue, graphs=GRAPHS, config=kept, on_done=note, lease=10)
            running = asyncio.ensure_future(worker.run(4))
            try:
                yield done
            finally:
                worker.stop()
                await asyncio.wait_for(running, 30)


async def test_a_run_is_paused_and_resumed_from_elsewhere(postgres: str, log: Path) -> None:
    async with open_supervisor(postgres) as supervisor:
        thread = await put(postgres)
        assert (await supervisor.child(thread)).status is ChildStatus.PENDING
        async with working(postgres) as done:
            await until(log.exists)
            await supervisor.pause_child(thread, "lunch")
            await until(lambda: bool(done))
            assert [each.outcome for each in done] == ["paused"]
            found = await supervisor.settled(thread)
            assert (found.status, found.reason) == (ChildStatus.PAUSED, "lunch")
            before = effects(log)
            assert 0 < before.total() < TURNS
            await asyncio.sleep(0.1)
            assert effects(log) == before
            with open_saver(postgres, serde=serializer()) as saver:
                seen = queue_status(saver)
            assert seen.counts == {"paused": 1}
            assert [(job.thread, job.why) for job in seen.paused] == [(thread, "lunch")]
            await supervisor.resume_child(thread)
            assert (await _ended(supervisor, thread)) is ChildStatus.COMPLETED
    assert effects(log).total() == len(effects(log)) == TURNS


async def _ended(supervisor: QueueSupervisor, thread: str) -> ChildStatus:
    async def ended() -> bool:
        status = (await supervisor.child(thread)).status
        return status not in (ChildStatus.PENDING, ChildStatus.RUNNING, ChildStatus.PAUSED)

    await until(ended)
    return (await supervisor.child(thread)).status


async def test_a_pause_holds_before_a_run_and_for_what_follows_on_its_thread(
    postgres: str,
) -> None:
    async with open_supervisor(postgres) as supervisor:
        thread = await put(postgres, PLAIN)
        await supervisor.pause_child(thread)
        await put(postgres, PLAIN, thread=thread)
        other = await put(postgres, PLAIN)
        async with working(postgres) as done:
            await until(lambda: bool(done))
            await asyncio.sleep(0.1)
            assert [each.thread for each in done] == [other]
            await supervisor.resume_child(thread)
            await until(lambda: len(done) == 3)


async def test_a_run_that_was_told_to_pause_rests_when_its_worker_is_lost(postgres: str) -> None:
    """The order stands with the job; whoever takes it up obeys."""
    async with open_queue(postgres) as queue, open_supervisor(postgres) as supervisor:
        thread = await put(postgres, PLAIN)
        lost = await queue.app.job_manager.register_worker()
        job = await queue.app.job_manager.fetch_job(["asterism"], lost)
        assert job is not None
        await supervisor.pause_child(thread)
        await queue.app.job_manager.retry_job(job)
        async with working(postgres) as done:
            await until(lambda: bool(done))
            assert [each.outcome for each in done] == ["paused"]


async def test_a_pause_that_is_taken_back_before_it_is_obeyed_stops_nothing_for_long(
    postgres: str, log: Path
) -> None:
    async with open_supervisor(postgres) as supervisor:
        thread = await put(postgres)
        async with working(postgres) as done:
            await until(log.exists)
            await supervisor.pause_child(thread)
            await supervisor.resume_child(thread)
            assert (await _ended(supervisor, thread)) is ChildStatus.COMPLETED
            await until(lambda: done[-1:] == [JobResult(thread=thread, outcome="completed")])


@pytest.mark.parametrize("when", ["at work", "in the queue", "paused"])
async def test_a_run_is_killed_from_elsewhere(
    when: str, postgres: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTERISM_TEST_PAUSE", "0.1")
    bus, killed = EventBus(), asyncio.Event()
    bus.on("killed", lambda event: killed.set())
    async with open_supervisor(postgres, bus=bus) as supervisor:
        thread = await put(postgres)
        if when == "in the queue":
            await supervisor.kill_child(thread, "too late")
        async with working(postgres) as done:
            if when != "in the queue":
                await until(log.exists)
            if when == "paused":
                await supervisor.pause_child(thread)
                await until(lambda: bool(done))
            if when != "in the queue":
                await supervisor.kill_child(thread, "too late")
            await asyncio.wait_for(killed.wait(), 30)
            await until(lambda: done[-1:] == [JobResult(thread=thread, outcome="killed")])
        found = await supervisor.child(thread)
        assert (found.status, found.reason) == (ChildStatus.KILLED, "too late")
        assert effects(log).total() < TURNS
        with pytest.raises(ChildStateError, match="so it cannot be paused"):
            await supervisor.pause_child(thread)
        progress = await supervisor.aggregate_progress()
        assert (progress.counts[ChildStatus.KILLED], progress.children) == (1, 1)


async def test_a_kill_that_comes_while_a_pause_is_written_down_is_obeyed(
    postgres: str, log: Path
) -> None:
    thread = await put(postgres)

    async def kill() -> None:
        async with open_supervisor(postgres) as supervisor:
            await supervisor.kill_child(thread, "too late")

    def at_the_last_moment(done: JobResult) -> None:  # the job is still with its worker
        if done.outcome == "paused":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, kill()).result(30)

    async with open_supervisor(postgres) as supervisor:
        async with working(postgres, at_the_last_moment) as done:
            await until(log.exists)
            await supervisor.pause_child(thread)
            await until(lambda: done[-1:] == [JobResult(thread=thread, outcome="killed")])
        assert (await supervisor.child(thread)).status is ChildStatus.KILLED


async def test_a_quota_stops_a_run_and_a_raised_one_lets_it_go_on(postgres: str, log: Path) -> None:
    thread = await put(postgres, quotas={"max_iterations": 3})
    async with (
        open_supervisor(postgres) as supervisor,
        working(postgres, auto_kill_on_quota=False) as done,
    ):
        await until(lambda: bool(done))
        found = await supervisor.child(thread)
        assert found.status is ChildStatus.PAUSED
        assert found.reason.startswith("max_iterations: ")
        assert found.usage.percentages["max_iterations"] is not None
        assert [each.outcome for each in done] == ["paused"]
        await supervisor.raise_quota(thread, max_iterations=99)
        assert (await _ended(supervisor, thread)) is ChildStatus.COMPLETED
        usage = (await supervisor.child(thread)).usage
        assert usage.iterations >= len(ROUTE)  # what it used before the rest counts
        assert usage.quota.max_iterations == 99
        with pytest.raises(ConfigurationError, match="There is no quota 'max_joy'"):
            await supervisor.raise_quota(thread, max_joy=1)
    assert effects(log).total() == len(effects(log)) == TURNS


async def test_a_quota_kills_where_nobody_is_to_be_asked(postgres: str, log: Path) -> None:
    thread = await put(postgres, quotas={"max_iterations": 3})
    async with open_supervisor(postgres) as supervisor, working(postgres) as done:
        await until(lambda: bool(done))
        assert [each.outcome for each in done] == ["killed"]
        assert (await supervisor.child(thread)).status is ChildStatus.KILLED
    assert effects(log).total() < TURNS


async def test_what_a_failing_run_has_used_is_kept_over_its_tries(postgres: str) -> None:
    quotas = {"max_retries": 2, "retry_delay": 0.01}
    bus, told = EventBus(), list[Event]()
    bus.on(None, told.append)
    async with open_supervisor(postgres, bus=bus) as supervisor:
        thread = await put(postgres, FAILING, quotas=quotas)
        async with working(postgres) as done:
            await until(lambda: len(done) == 3)
        assert [each.outcome for each in done] == ["retry", "retry", "failed"]
        found = await supervisor.child(thread)
        assert found.status is ChildStatus.FAILED
        assert found.reason.endswith("it was tried 3 times")
        await until(lambda: any(event.type == "failed" for event in told))
    kinds = [event.type.value for event in told if event.source == thread]
    steps = ("spawned", "started", "paused", "resumed", "failed")
    assert [kind for kind in kinds if kind in steps] == [
        "spawned", "started", "paused", "resumed", "paused", "resumed", "failed",
    ]  # fmt: skip


async def test_a_thread_without_work_cannot_be_steered(postgres: str) -> None:
    async with open_supervisor(postgres) as supervisor:
        for steer in (supervisor.pause_child, supervisor.resume_child, supervisor.kill_child):
            with pytest.raises(ChildStateError, match="runs or waits in the queue"):
                await steer("nobody")
        with pytest.raises(ChildStateError, match="cannot be given other quotas"):
            await supervisor.raise_quota("nobody", max_tokens=1)
        with pytest.raises(UnknownChildError, match="Nothing was ever queued"):
            await supervisor.child("nobody")


async def test_runs_of_another_process_are_heard_seen_and_steered(postgres: str, log: Path) -> None:
    bus, told = EventBus(), list[Event]()
    bus.on(None, told.append)
    async with open_supervisor(postgres, bus=bus) as supervisor:
        threads = [await put(postgres) for _ in range(3)]
        environment = {"ASTERISM_TEST_PAUSE": "0.05"}
        named = ("--graph", TEAM)
        worker = Process(CLI, "worker", "--db", postgres, *named, environment=environment)
        try:
            await until(lambda: sum(event.type == "task_completed" for event in told) >= 3)
            await supervisor.pause_child(threads[0])
            await supervisor.kill_child(threads[1])
            assert (await supervisor.settled(threads[0])).status is ChildStatus.PAUSED
            assert (await supervisor.settled(threads[1])).status is ChildStatus.KILLED
            assert (await supervisor.settled(threads[2])).status is ChildStatus.COMPLETED
            progress = await supervisor.aggregate_progress()
            counts = {status.value: count for status, count in progress.counts.items() if count}
            assert counts == {"paused": 1, "killed": 1, "completed": 1}
            assert progress.iterations >= len(ROUTE)
            await supervisor.resume_child(threads[0])
            assert await _ended(supervisor, threads[0]) is ChildStatus.COMPLETED
            await until(lambda: sum(event.type == "run_ended" for event in told) >= 3)
        finally:
            worker.terminate()
            assert worker.wait(60) == 0
    assert {event.type.value for event in told if event.source == threads[1]} >= {
        "spawned", "started", "run_started", "routed", "task_started", "killed",
    }  # fmt: skip
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))


def test_an_event_has_room_in_a_notice() -> None:
    bus = EventBus()
    event = bus.emit(WorkflowEventType.ROUTED, "t", {"long": "ä" * 9_000, "short": "kept"})
    line = event_to_json(event)
    assert len(line.encode()) <= ROOM
    assert '"short": "kept"' in line


def test_an_order_is_plain_data() -> None:
    order = JobCommand(kind="pause", reason="x", asks="max_tokens")
    assert JobCommand.model_validate(order.model_dump(mode="json")) == order
