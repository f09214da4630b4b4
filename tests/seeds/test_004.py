"""A supervision tree, as its users write it: loops, quotas, children, events and progress."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from asterism import (
    AgentQuota,
    AgentSupervisor,
    Event,
    EventBus,
    SupervisionEvent,
    SupervisionEventType,
    SupervisorConfig,
)
from asterism.errors import ChildFailedError, ConfigurationError, UnknownChildError

NO_WAIT = AgentQuota(retry_delay=0)


@dataclass
class Answer:
    """What a loop returns."""

    output: str
    cost_usd: float = 0.25
    tokens_used: dict[str, int] = field(default_factory=lambda: {"input": 30, "output": 12})


class Loop:
    """A loop that goes round, and tells after each round."""

    on_iteration: Any = None

    def __init__(self, rounds: int = 3) -> None:
        self.rounds = rounds
        self.sessions: list[str | None] = []
        self.wait = asyncio.Event()
        self.wait.set()
        self.heard: list[int] = []

    async def run(self, task: str, session_id: str | None = None) -> Answer:
        self.sessions.append(session_id)
        for number in range(1, self.rounds + 1):
            await self.wait.wait()
            await self.on_iteration(number, [])
        return Answer(f"{task}: done")


class Bare:
    def run(self, task: str) -> str:
        return f"{task}: bare"


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.001)


# ---- loops


@pytest.mark.parametrize("made", [True, False], ids=["loop_factory", "agent_loop"])
async def test_a_loop_is_a_child_and_its_output_the_result(made: bool) -> None:
    loop = Loop()
    events: list[Event] = []
    async with AgentSupervisor(on_event=events.append) as tree:
        given: dict[str, Any] = {"loop_factory": lambda: loop} if made else {"agent_loop": loop}
        child_id = await tree.spawn(name="analyzer", task="Sum up", **given)
        assert await tree.await_child(child_id) == "Sum up: done"
    child = tree.child(child_id)
    assert child.result == "Sum up: done"
    assert loop.sessions == [child_id]
    usage = child.usage
    assert (usage.iterations, usage.tokens_used, usage.cost_usd) == (3, 42, Decimal("0.25"))
    told = [event.facts["doing"] for event in events if event.type == "progress"]
    assert told[:3] == ["round 1", "round 2", "round 3"]


async def test_a_sync_run_without_a_session_is_a_loop_too() -> None:
    async with AgentSupervisor() as tree:
        assert await tree.await_child(await tree.spawn("a", "Go", agent_loop=Bare())) == "Go: bare"


async def test_a_loop_keeps_its_own_hook_and_begins_again_after_a_failure() -> None:
    class Failing(Loop):
        async def run(self, task: str, session_id: str | None = None) -> Answer:
            if not self.sessions:
                self.sessions.append(session_id)
                raise ConnectionError("down")
            return await super().run(task, session_id)

    loop = Failing(2)
    loop.on_iteration = lambda number, results: loop.heard.append(number)
    async with AgentSupervisor() as tree:
        child = await tree.spawn("a", "Go", agent_loop=loop, quotas=NO_WAIT)
        await tree.await_child(child)
    assert loop.heard == [1, 2]
    assert loop.sessions == [child, child]
    assert tree.usage(child).restarts == 1
    assert tree.usage(child).last_restart > 0


async def test_a_loop_pauses_where_it_tells_of_a_round_and_ends_at_its_quota() -> None:
    loop = Loop(5)
    loop.wait.clear()
    async with AgentSupervisor() as tree:
        child = await tree.spawn("a", "Go", agent_loop=loop)
        await until(lambda: bool(loop.sessions))
        pausing = asyncio.create_task(tree.pause_child(child))
        await asyncio.sleep(0)
        loop.wait.set()
        assert await pausing is True
        await tree.resume_child(child)
        assert await tree.await_child(child) == "Go: done"
        greedy = await tree.spawn(
            "b", "Go", agent_loop=Loop(50), quotas=AgentQuota(max_iterations=4)
        )
        with pytest.raises(Exception, match="max_iterations: 5 of 4"):
            await tree.await_child(greedy)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs one of graph, loop_factory and agent_loop"),
        ({"agent_loop": Bare(), "loop_factory": Bare}, "needs one of"),
        ({"agent_loop": 7}, r"The loop is 7\. Allowed: an object with run\(task\)"),
        ({"loop_factory": 7}, "loop_factory is 7"),
        ({"agent_loop": Bare(), "on_heartbeat": print}, "Allowed: an async function"),
    ],
    ids=["nothing", "two", "no loop", "no factory", "a sync heartbeat"],
)
async def test_what_cannot_be_a_child_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        await AgentSupervisor().spawn("a", "Go", **given)


async def test_a_factory_of_no_loop_fails_with_its_words() -> None:
    async with AgentSupervisor() as tree:
        child = await tree.spawn("a", "Go", loop_factory=lambda: 7)
        with pytest.raises(ChildFailedError, match=r"Allowed: an object with run\(task\)"):
            await tree.await_child(child)


async def test_on_heartbeat_is_the_sign_of_life_of_a_silent_loop() -> None:
    loop = Loop()
    loop.wait.clear()
    beats: list[int] = []

    async def beat() -> None:
        beats.append(1)
        if len(beats) == 2:
            raise ConnectionError("down")  # no sign of life, and no harm
        if len(beats) > 4:
            loop.wait.set()

    quota = AgentQuota(heartbeat_interval=0.05, heartbeat_timeout=5)
    async with AgentSupervisor() as tree:
        child = await tree.spawn("a", "Go", agent_loop=loop, quotas=quota, on_heartbeat=beat)
        assert await tree.await_child(child) == "Go: done"
    assert tree.usage(child).heartbeats_received >= 4
    assert tree.usage(child).last_heartbeat > 0


# ---- quotas, children, progress


def test_a_duration_has_two_names() -> None:
    quota = AgentQuota(max_duration=600, max_cost_usd=2.0)
    assert quota.max_duration_seconds == 600
    assert quota == AgentQuota(max_duration_seconds=600, max_cost_usd=2.0)
    assert quota.raised(max_duration_seconds=700).max_duration_seconds == 700
    assert "max_duration" not in quota.as_json()
    with pytest.raises(ConfigurationError, match="max_duration_seconds is 0; it must be"):
        AgentQuota(max_duration=0)


async def test_what_is_spawned_is_its_id() -> None:
    async with AgentSupervisor() as tree:
        child = await tree.spawn(name="data_analyzer", task="Go", loop_factory=Bare)
        assert await tree.await_child(child.id, timeout=600) == "Go: bare"
        assert (type(child.id), child.id) == (str, child)
        assert json.loads(json.dumps(child)) == child


@pytest.mark.parametrize("third", [Loop, Loop()], ids=["a factory", "a loop"])
async def test_a_loop_without_its_name_says_how_it_is_given(third: Any) -> None:
    async with AgentSupervisor() as tree:
        with pytest.raises(ConfigurationError, match=r"loop_factory=\.\.\., or agent_loop="):
            await tree.spawn("a", "Go", third)


async def test_orders_say_whether_they_did_something() -> None:
    loop = Loop()
    loop.wait.clear()
    async with AgentSupervisor() as tree:
        child = await tree.spawn("a", "Go", agent_loop=loop)
        await until(lambda: bool(loop.sessions))
        assert await tree.resume_child(child) is False  # it is at work
        loop.wait.set()
        assert await tree.pause_child(child) is True
        assert await tree.pause_child(child) is True  # it rests already
        assert await tree.resume_child(child) is True
        await tree.await_child(child)
        for order in (tree.pause_child, tree.resume_child, tree.kill_child):
            assert await order(child) is False
            with pytest.raises(UnknownChildError):
                await order("nobody")


def test_a_quota_bounds_a_child_by_default() -> None:
    quota = AgentQuota()
    assert (quota.max_duration_seconds, quota.max_cost_usd) == (3600.0, 10)
    assert (quota.max_tokens, quota.max_iterations) == (1_000_000, 500)
    stored: dict[str, Any] = {**AgentQuota().as_json(), "max_cost_usd": Decimal(10)}
    assert AgentQuota(**stored).needs_prices is False


async def test_a_child_tells_what_it_is_and_what_it_took() -> None:
    async with AgentSupervisor() as tree:
        child_id = await tree.spawn("a", "Go", agent_loop=Loop(), metadata={"room": 7})
        await tree.await_child(child_id)
    child = await tree.get_child(child_id)
    assert child is not None
    assert await tree.list_children() == tree.children() == [child]
    assert (child.is_alive, child.quotas) == (False, child.usage.quota)
    assert 0 < child.started_at <= child.finished_at
    assert child.duration_seconds == child.finished_at - child.started_at
    plain = json.loads(json.dumps(child.to_dict()))
    assert (plain["status"], plain["metadata"], plain["error"]) == ("completed", {"room": 7}, "")
    assert plain["usage"]["tokens_used"] == 42
    assert plain["usage"]["cost_percent"] == child.usage.cost_percent == 2.5
    assert 0 < child.usage.duration_percent < 100


async def test_progress_is_a_mapping_that_may_be_awaited() -> None:
    loop = Loop()
    loop.wait.clear()
    async with AgentSupervisor() as tree:
        done = await tree.spawn("done", "Go", agent_loop=Loop())
        await tree.await_child(done)
        hung = await tree.spawn("hung", "Go", agent_loop=loop)
        await until(lambda: tree.status(hung) == "running")
        assert await tree.kill_child(hung, "it hangs") is True
        assert await tree.kill_child(hung) is False
        assert await tree.kill_child(done) is False
    progress = await tree.aggregate_progress()
    assert progress == tree.aggregate_progress()
    plain = json.loads(json.dumps(dict(progress)))
    assert [child["name"] for child in plain.pop("children")] == ["done", "hung"]
    assert plain == {
        "total_children": 2,
        "completed": 1,
        "failed": 1,
        "running": 0,
        "total_cost_usd": 0.25,
        "total_tokens": 42,
        "percent_complete": 50.0,
    }


async def test_an_unknown_child_is_a_missing_key() -> None:
    tree = AgentSupervisor()
    assert await tree.get_child("nobody") is None
    with pytest.raises(KeyError, match="There is no child 'nobody'") as caught:
        await tree.await_child("nobody")
    assert isinstance(caught.value, UnknownChildError)
    assert str(caught.value).startswith("There is")


# ---- events and settings


async def test_events_name_their_child_and_say_what_happened() -> None:
    events: list[SupervisionEvent] = []

    def note(event: Event) -> None:
        assert isinstance(event, SupervisionEvent)
        events.append(event)

    async with AgentSupervisor(on_event=note) as tree:
        child = await tree.spawn("a", "Go", agent_loop=Loop(4), quotas=AgentQuota(max_iterations=4))
        await tree.await_child(child)
    assert {event.child_id for event in events} == {child}
    assert {event.child_name for event in events} == {"a"}
    (warning,) = [e for e in events if e.type is SupervisionEventType.QUOTA_WARNING]
    assert warning.message == "max_iterations: 4 of 4 are used"
    assert json.loads(json.dumps(warning.to_dict()))["data"] == dict(warning.data)
    assert warning.timestamp == warning.at.timestamp()


def test_a_child_whose_loop_is_shut_down_is_cancelled() -> None:
    types: list[str] = []

    async def run() -> None:
        loop = Loop()
        loop.wait.clear()
        tree = AgentSupervisor(on_event=lambda event: types.append(event.type.value))
        await tree.spawn("a", "Go", agent_loop=loop)
        await until(lambda: bool(loop.sessions))

    asyncio.run(run())
    assert types[-1] == "cancelled"


async def test_the_settings_of_the_history_hold() -> None:
    for config, kept in (
        (SupervisorConfig(event_history_size=2), 2),
        (SupervisorConfig(log_events=False), 0),
    ):
        async with AgentSupervisor(config) as tree:
            await tree.await_child(await tree.spawn("a", "Go", agent_loop=Bare()))
        assert len(tree.bus.history()) == kept
    bus = EventBus()
    assert AgentSupervisor(bus=bus).bus is bus


async def test_a_supervisor_looks_at_least_so_often() -> None:
    config = SupervisorConfig(monitor_interval=0.01)
    quota = AgentQuota(max_duration_seconds=None, heartbeat_timeout=None)
    loop = Loop()
    loop.wait.clear()
    async with AgentSupervisor(config) as tree:
        child = await tree.spawn("a", "Go", agent_loop=loop, quotas=quota)
        watch: Any = tree._family.living()[0].watch  # pyright: ignore[reportPrivateUsage]
        await until(lambda: watch._timer is not None)
        first = watch._timer
        await until(lambda: watch._timer is not first)
        await tree.kill_child(child)
    with pytest.raises(ConfigurationError, match="monitor_interval is 0"):
        SupervisorConfig(monitor_interval=0)
