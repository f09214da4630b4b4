"""Children: spawned, awaited, paused, killed, restarted; and nobody harmed by another's end."""

import asyncio
import threading
import time
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.types import interrupt

from asterism import Participant, SupervisorDecision, SupervisorView, SupervisorWorkflowBuilder
from asterism.errors import (
    AnswerError,
    ChildFailedError,
    ChildKilledError,
    ChildPausedError,
    ChildStateError,
    ChildTimeoutError,
    ConfigurationError,
    InvalidRequestError,
    NothingPendingError,
    SpawnRefusedError,
    ThreadBusyError,
    UnknownChildError,
)
from asterism.events import EventBus, WorkflowEventType
from asterism.storage.open import open_checkpointer
from asterism.supervision import (
    AgentProgress,
    AgentQuota,
    AgentSupervisor,
    ChildStatus,
    SupervisorConfig,
)
from tests.asterism.supervision.helpers import (
    Crashing,
    Log,
    TimedLoop,
    Told,
    chain,
    does,
    timed,
    until,
    waits,
    working,
)
from tests.teams import Turns, star

GO: dict[str, Any] = {"done": []}
QUICK = AgentQuota(retry_delay=0)


def supervisor(told: Told | None = None, **config: Any) -> AgentSupervisor:
    return AgentSupervisor(SupervisorConfig(**config), on_event=told)


async def test_a_child_runs_its_graph_and_its_output_comes_back() -> None:
    told = Told()
    async with supervisor(told) as parent:
        child = await parent.spawn("one", GO, chain(does("a"), does("b")), metadata={"room": 7})
        assert parent.status(child) is ChildStatus.PENDING
        assert await parent.await_child(child) == {"done": ["a", "b"]}
    assert told.types() == ["spawned", "started", "completed"]
    assert told.facts("spawned")["metadata"] == {"room": 7}
    facts = parent.child(child)
    assert (facts.name, facts.status, facts.attempt) == ("one", ChildStatus.COMPLETED, 1)
    assert (facts.usage.restarts, facts.usage.heartbeats) == (0, 4)
    assert await parent.await_child(child) == {"done": ["a", "b"]}  # as often as one likes


async def test_the_thread_of_a_child_is_that_of_a_normal_run() -> None:
    saver = InMemorySaver()
    graph = chain(does("a"), saver=saver)
    async with supervisor() as parent:
        child = await parent.spawn("one", GO, graph, thread_id="t")
        await parent.await_child(child)
        again = await parent.spawn("two", GO, graph, thread_id="t")
        assert await parent.await_child(again) == {"done": ["a", "a"]}
    found = graph.get_state({"configurable": {"thread_id": "t"}})
    assert found.values == {"done": ["a", "a"]}
    history = [*graph.get_state_history({"configurable": {"thread_id": "t"}})]
    assert len(history) == 6  # what the supervisor keeps for itself is no part of it


async def test_a_workflow_is_a_child_as_any_graph(saver: Any) -> None:
    turns = Turns()
    workflow = star(turns, ["a", "b", None]).build(checkpointer=saver)
    told = Told()
    async with supervisor(told) as parent:
        child = await parent.spawn("trip", "Plan a trip", workflow)
        result = await parent.await_child(child)
    assert result["status"] == "completed"
    assert turns.taken == {"a": 1, "b": 1}
    assert told.types() == ["spawned", "started", "completed"]
    assert parent.usage(child).iterations == 3  # the supervisor's decisions


async def test_an_entrypoint_is_a_child_as_any_graph() -> None:
    @task
    async def double(number: int) -> int:
        return 2 * number

    @entrypoint(checkpointer=InMemorySaver())
    async def run(given: dict[str, int]) -> int:
        return await double(given["n"])

    async with supervisor() as parent:
        child = await parent.spawn("one", {"n": 4}, run)
        assert await parent.await_child(child) == 8


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"name": ""}, ConfigurationError, "name is ''"),
        ({"name": 7}, ConfigurationError, "name is 7"),
        ({"task": "  "}, InvalidRequestError, "The task is '  '"),
        ({"task": 7}, InvalidRequestError, "The task is 7"),
        ({"graph": "event_planning"}, ConfigurationError, "graph is 'event_planning'"),
        ({"quotas": {"max_tokens": 5}}, ConfigurationError, "quotas is {'max_tokens': 5}"),
        ({"thread_id": "a\nb"}, ConfigurationError, "thread_id is 'a"),
        ({"config": {"configurable": {"thread_id": "t"}}}, ConfigurationError, "'thread_id', whi"),
    ],
)
async def test_what_cannot_be_a_child_is_refused(
    arguments: dict[str, Any], error: type[Exception], match: str
) -> None:
    told = Told()
    parent = supervisor(told)
    given: dict[str, Any] = {"name": "one", "task": GO, "graph": chain(does("a")), **arguments}
    name, task, graph = given.pop("name"), given.pop("task"), given.pop("graph")
    with pytest.raises(error, match=match):
        await parent.spawn(name, task, graph, **given)
    assert told.events == []
    assert parent.children() == []


async def test_a_graph_without_a_checkpointer_is_kept_in_memory_and_cannot_be_adopted() -> None:
    builder: Any = chain(does("a"), Crashing(1)).builder  # type: ignore[attr-defined]  # its own
    async with supervisor() as parent:
        child = await parent.spawn("one", GO, builder.compile(), AgentQuota(retry_delay=0))
        assert await parent.await_child(child) == {"done": ["a", "crashed"]}
        for graph in (builder.compile(), builder.compile(checkpointer=False)):
            with pytest.raises(ConfigurationError, match="has no checkpointer, so a child of it"):
                await parent.adopt(child, graph)
        with pytest.raises(ConfigurationError, match="has no checkpointer, so a child of it"):
            await parent.spawn("two", GO, builder.compile(checkpointer=False))


async def test_there_are_only_so_many_living_children() -> None:
    async with supervisor(max_children=2) as parent:
        first = await parent.spawn("one", GO, chain(waits))
        second = await parent.spawn("two", GO, chain(does("a"), waits))
        await until(working(parent, second))
        with pytest.raises(SpawnRefusedError, match="2 children live, as many as there may be"):
            await parent.spawn("three", GO, chain(waits))
        await parent.kill_child(first)
        third = await parent.spawn("three", GO, chain(does("a")))
        assert await parent.await_child(third) == {"done": ["a"]}
        await parent.kill_child(second)


async def test_an_unknown_child_is_an_error() -> None:
    with pytest.raises(UnknownChildError, match="no child 'x'; there are none that live"):
        supervisor().status("x")


# ---- crashes and restarts


async def test_a_crashed_child_goes_on_from_its_last_checkpoint() -> None:
    first, crashing, last = Crashing(0, "a"), Crashing(2, "b"), Crashing(0, "c")
    told = Told()
    async with supervisor(told) as parent:
        child = await parent.spawn("one", GO, chain(first, crashing, last), QUICK)
        assert await parent.await_child(child) == {"done": ["a", "b", "c"]}
    assert (first.runs, crashing.runs, last.runs) == (1, 3, 1)
    assert told.types() == ["spawned", "started", "started", "started", "completed"]
    assert told.facts("started", 1) == {
        "name": "one",
        "attempt": 2,
        "reason": "RuntimeError: out of order",
    }
    assert parent.usage(child).restarts == 2


async def test_a_child_that_keeps_crashing_fails_with_its_error() -> None:
    told = Told()
    quota = AgentQuota(retry_delay=0, max_retries=1)
    async with supervisor(told) as parent:
        child = await parent.spawn("one", GO, chain(Crashing(9)), quota)
        with pytest.raises(ChildFailedError, match="it was restarted 1 times, as often") as caught:
            await parent.await_child(child)
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert caught.value.child_id == child
    assert told.types() == ["spawned", "started", "started", "failed"]


async def test_what_another_try_does_not_cure_fails_at_once() -> None:
    async def misconfigured(state: Log) -> Log:
        raise ConfigurationError("no such model")

    told = Told()
    async with supervisor(told) as parent:
        child = await parent.spawn("one", GO, chain(misconfigured))
        with pytest.raises(ChildFailedError, match="no such model"):
            await parent.await_child(child)
    assert told.types() == ["spawned", "started", "failed"]


async def test_a_node_that_cancels_itself_is_a_crash_and_not_an_end() -> None:
    async def cancels(state: Log) -> Log:
        raise asyncio.CancelledError

    quota = AgentQuota(retry_delay=0, max_retries=0)
    async with supervisor() as parent:
        child = await parent.spawn("one", GO, chain(cancels), quota)
        with pytest.raises(ChildFailedError):
            await parent.await_child(child)


def test_a_child_rests_before_it_is_restarted() -> None:
    starts: list[float] = []

    async def run(loop: TimedLoop) -> None:
        async def crashes(state: Log) -> Log:
            starts.append(loop.time())
            await asyncio.sleep(5 if len(starts) == 2 else 0)
            if len(starts) < 4:
                raise RuntimeError("out of order")
            return {}

        quota = AgentQuota(retry_delay=2, cooldown_period=6)
        parent = AgentSupervisor(clock=loop.time)
        child = await parent.spawn("one", GO, chain(crashes), quota)
        await parent.await_child(child)
        assert parent.usage(child).elapsed_seconds == pytest.approx(6 + 7 + 6, abs=0.1)

    timed(run)
    assert starts == pytest.approx([0, 6, 13, 19], abs=0.1)


def test_a_child_that_rests_is_not_started_earlier_because_of_another() -> None:
    starts: dict[str, list[float]] = {"patient": [], "hasty": []}

    async def run(loop: TimedLoop) -> None:
        def crashes(name: str) -> Any:
            async def node(state: Log) -> Log:
                starts[name].append(loop.time())
                await asyncio.sleep(1)
                if len(starts[name]) < 3:
                    raise RuntimeError("out of order")
                return {}

            return node

        config = SupervisorConfig(restart_strategy="one_for_all")
        parent = AgentSupervisor(config, clock=loop.time)
        for name, delay in (("patient", 50), ("hasty", 0)):
            quota = AgentQuota(retry_delay=delay)
            await parent.spawn(name, GO, chain(crashes(name)), quota)
        await parent.settled()

    timed(run)
    assert starts["patient"] == pytest.approx([0, 51, 102], abs=0.1)


async def test_a_workflow_that_ended_at_its_limit_can_be_adopted_and_goes_on() -> None:
    saver = InMemorySaver()
    turns = Turns()
    short = star(turns, ["a", "b", "a", None], max_iterations=2).build(checkpointer=saver)
    longer = star(turns, ["a", "b", "a", None], max_iterations=9).build(checkpointer=saver)
    async with supervisor() as parent:
        child = await parent.spawn("one", "Go", short, thread_id="t")
        with pytest.raises(ChildFailedError, match="it ended as 'limit'"):
            await parent.await_child(child)
        again = await parent.adopt("t", longer)
        await parent.resume_child(again)
        assert (await parent.await_child(again))["status"] == "completed"
    assert turns.taken == {"a": 2, "b": 1}


def test_too_many_restarts_in_a_window_end_the_child() -> None:
    told = Told()

    async def run(loop: TimedLoop) -> AgentSupervisor:
        config = SupervisorConfig(max_restarts=3, restart_window=10)
        parent = AgentSupervisor(config, told, clock=loop.time)
        quota = AgentQuota(retry_delay=1, max_retries=99)
        slow = await parent.spawn("slow", GO, chain(Crashing(5)), AgentQuota(retry_delay=6))
        fast = await parent.spawn("fast", GO, chain(Crashing(99)), quota)
        with pytest.raises(ChildFailedError, match="so the supervisor gave up"):
            await parent.await_child(fast)
        assert parent.status(slow) is ChildStatus.RUNNING
        await parent.kill_child(slow)
        return parent

    parent = timed(run)
    assert parent.aggregate_progress().restarts == 2  # the third rests for 6 s


@pytest.mark.parametrize(
    ("strategy", "attempts"),
    [
        ("one_for_one", {"a": 1, "b": 2, "c": 1}),
        ("one_for_all", {"a": 2, "b": 2, "c": 2}),
        ("rest_for_one", {"a": 1, "b": 2, "c": 2}),
    ],
)
async def test_who_is_restarted_with_a_child(strategy: str, attempts: dict[str, int]) -> None:
    told = Told()
    async with supervisor(told, restart_strategy=strategy) as parent:
        before = {name: Crashing(0, name) for name in "abc"}
        ready: set[str] = set()

        def waiting(name: str) -> Any:
            async def wait(state: Log) -> Log:
                ready.add(name)
                await free.wait()
                return {}

            return wait

        async def crashes(state: Log) -> Log:
            if not crashed:
                await until(lambda: ready == {"a", "c"})
                crashed.append(True)
                raise RuntimeError("out of order")
            await free.wait()
            return {}

        crashed: list[bool] = []
        free = asyncio.Event()
        ids: dict[str, str] = {}
        for name in "abc":
            work = crashes if name == "b" else waiting(name)
            ids[name] = await parent.spawn(name, GO, chain(before[name], work), QUICK)
        await until(lambda: {n: parent.child(i).attempt for n, i in ids.items()} == attempts)
        free.set()
        for name, child in ids.items():
            assert await parent.await_child(child) == {"done": [name]}
    assert {name: crash.runs for name, crash in before.items()} == {"a": 1, "b": 1, "c": 1}
    assert parent.aggregate_progress().restarts == sum(attempts.values()) - 3
    for name, child in ids.items():
        if name != "b" and attempts[name] == 2:
            reasons = [e.facts.get("reason") for e in told.events if e.source == child]
            assert "'b' was restarted: RuntimeError: out of order" in reasons


async def test_the_death_of_a_child_harms_no_other() -> None:
    async with supervisor() as parent:
        good = [await parent.spawn(f"good {i}", GO, chain(does("a"), does("b"))) for i in range(5)]
        bad = await parent.spawn("bad", GO, chain(Crashing(9)), AgentQuota(max_retries=0))
        silly = await parent.spawn("silly", GO, chain(waits))
        await until(working(parent, silly))
        await parent.kill_child(silly)
        for child in good:
            assert await parent.await_child(child) == {"done": ["a", "b"]}
        with pytest.raises(ChildFailedError):
            await parent.await_child(bad)


# ---- killing


async def test_a_killed_child_is_killed_at_once_and_what_it_stored_stays() -> None:
    saver = InMemorySaver()
    told = Told()
    ended: list[str] = []

    async def clears_up(state: Log) -> Log:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleared up")
        return {}

    async with supervisor(told) as parent:
        graph = chain(does("a"), clears_up, saver=saver)
        child = await parent.spawn("one", GO, graph, thread_id="t")
        await until(lambda: parent.child(child).doing == "n1")
        began = time.monotonic()
        await parent.kill_child(child, "no longer wanted")
        assert time.monotonic() - began < 10
        with pytest.raises(ChildKilledError, match="was killed: no longer wanted") as caught:
            await parent.await_child(child)
        assert caught.value.reason == "no longer wanted"
    assert ended == ["cleared up"]
    found = graph.get_state({"configurable": {"thread_id": "t"}})
    assert (found.values, found.next) == ({"done": ["a"]}, ("n1",))
    assert told.types() == ["spawned", "started", "killed"]
    assert "abandoned" not in told.facts("killed")


async def test_a_child_can_be_killed_before_it_has_begun_and_while_it_rests() -> None:
    told = Told()
    async with supervisor(told) as parent:
        pending = await parent.spawn("pending", GO, chain(does("a")))
        await parent.kill_child(pending)
        resting = await parent.spawn("resting", GO, chain(does("a"), waits))
        assert await parent.pause_child(resting) is True
        await parent.kill_child(resting)
        cooling = await parent.spawn("cooling", GO, chain(Crashing(9)), AgentQuota(retry_delay=60))
        await until(lambda: "out of order" in parent.child(cooling).reason)
        await parent.kill_child(cooling)
    assert told.types(pending) == ["spawned", "killed"]
    assert told.types(resting) == ["spawned", "paused", "killed"]
    assert told.types(cooling) == ["spawned", "started", "killed"]


async def test_who_has_ended_can_do_nothing_more() -> None:
    async with supervisor() as parent:
        child = await parent.spawn("one", GO, chain(does("a")))
        await parent.await_child(child)
        for order in (parent.kill_child, parent.pause_child, parent.resume_child):
            assert await order(child) is False
        with pytest.raises(ChildStateError, match="is completed, so it is not"):
            await parent.raise_quota(child, max_tokens=5)


async def test_two_who_kill_one_child_both_succeed() -> None:
    told = Told()
    async with supervisor(told) as parent:
        child = await parent.spawn("one", GO, chain(waits))
        await until(working(parent, child))
        await asyncio.gather(parent.kill_child(child, "a"), parent.kill_child(child, "b"))
    assert told.types() == ["spawned", "started", "killed"]


async def test_a_child_that_does_not_let_itself_be_cancelled_is_abandoned() -> None:
    saver = InMemorySaver()
    told = Told()
    free = asyncio.Event()

    async def stubborn(state: Log) -> Log:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue
        return {"done": ["late"]}

    async with supervisor(told, grace=0.05) as parent:
        graph = chain(does("a"), stubborn, saver=saver)
        child = await parent.spawn("one", GO, graph, thread_id="t")
        await until(lambda: parent.child(child).doing == "n1")
        await parent.kill_child(child)
        assert told.facts("killed")["abandoned"] is True
        assert parent.child(child).abandoned
        free.set()
        await asyncio.sleep(0.05)
    found = graph.get_state({"configurable": {"thread_id": "t"}})
    assert found.values == {"done": ["a"]}


async def test_a_sync_child_that_hangs_is_abandoned_and_holds_nobody_up() -> None:
    free = threading.Event()
    told = Told()
    before = threading.active_count()

    def hangs(state: Log) -> Log:
        free.wait(30)
        return {"done": ["late"]}

    def quick(state: Log) -> Log:
        return {"done": [threading.current_thread().name]}

    async with supervisor(told, on_hang="stop", grace=0.05) as parent:
        quota = AgentQuota(heartbeat_timeout=1.5)
        graph = chain(hangs)
        hung = [await parent.spawn(f"hung {i}", GO, graph, quota) for i in range(40)]
        for child in hung:
            with pytest.raises(ChildKilledError, match=r"no sign of life for 1\.5"):
                await parent.await_child(child)
            assert parent.child(child).abandoned
        assert told.count("heartbeat_lost") == told.count("killed") == 40
        assert await asyncio.to_thread(lambda: 7) == 7  # the others' threads are free
        well = await parent.spawn("well", GO, chain(quick))
        assert await parent.await_child(well) == {"done": ["child"]}
    free.set()
    await until(lambda: threading.active_count() <= before + 1)  # that of to_thread stays


async def test_what_an_abandoned_run_stores_calls_or_uses_is_refused() -> None:
    free, entered = threading.Event(), threading.Event()
    saver = InMemorySaver()
    effects: list[str] = []
    refused: list[str] = []
    inner = chain(does("stored late"), saver=True)

    def hangs_once(state: Log) -> Log:
        if entered.is_set():
            return {"done": ["second try"]}
        entered.set()
        free.wait(30)
        try:
            inner.invoke(GO)
            effects.append("stored")
        except Exception as error:
            refused.append(type(error).__name__)
            raise
        return {"done": ["first try"]}

    quota = AgentQuota(heartbeat_timeout=0.2, retry_delay=0)
    async with supervisor(grace=0.05) as parent:
        child = await parent.spawn("one", GO, chain(hangs_once, saver=saver), quota)
        assert await parent.await_child(child) == {"done": ["second try"]}
        free.set()
        await until(lambda: bool(refused))
    assert (effects, refused) == ([], ["AbandonedError"])


async def test_a_child_that_blocks_its_own_loop_harms_nobody_when_it_is_isolated() -> None:
    free = threading.Event()
    told = Told()

    async def blocks(state: Log) -> Log:
        free.wait(30)  # in an async node: nothing else runs in its loop
        return {"done": ["late"]}

    async def beats(state: Log) -> Log:
        for _ in range(20):
            await asyncio.sleep(0.02)
        return {"done": [threading.current_thread().name]}

    config = {"on_hang": "stop", "grace": 0.05, "isolation": "thread"}
    async with supervisor(told, **config) as parent:
        quota = AgentQuota(heartbeat_timeout=0.2)
        hung = await parent.spawn("hung", GO, chain(does("a"), blocks), quota)
        well = await parent.spawn("well", GO, chain(beats))
        with pytest.raises(ChildKilledError, match="no sign of life"):
            await parent.await_child(hung)
        assert await parent.await_child(well) == {"done": ["child"]}
        resting = await parent.spawn("resting", GO, chain(does("a"), waits, does("b")))
        await until(lambda: parent.child(resting).doing == "n1")
        await parent.kill_child(resting)
        crashing = await parent.spawn("crashing", GO, chain(does("a"), Crashing(1)), QUICK)
        assert await parent.await_child(crashing) == {"done": ["a", "crashed"]}
    assert told.types(hung) == ["spawned", "started", "heartbeat_lost", "killed"]
    assert told.types(resting) == ["spawned", "started", "killed"]
    assert parent.child(hung).abandoned
    assert not parent.child(resting).abandoned
    free.set()
    await until(lambda: not [t for t in threading.enumerate() if t.name == "child"])


async def test_children_are_not_taken_for_silent_when_the_loop_was_held_up() -> None:
    told = Told()

    async def beats(state: Log) -> Log:
        write = get_stream_writer()
        for _ in range(30):
            await asyncio.sleep(0.02)
            write("still at it")
        return {"done": ["a"]}

    async def blocks(state: Log) -> Log:
        await asyncio.sleep(0.1)
        time.sleep(2)
        return {"done": ["b"]}

    async with supervisor(told) as parent:
        quota = AgentQuota(heartbeat_timeout=1.2)
        children = [await parent.spawn("c", GO, chain(work), quota) for work in (beats, blocks)]
        for child in children:
            await parent.await_child(child)
    assert told.count("heartbeat_lost") == 0
    assert told.count("started") == 2


# ---- children in children


async def test_a_child_that_was_spawned_in_a_child_dies_with_it_and_not_otherwise() -> None:
    below = supervisor()
    spawned: list[str] = []

    async def spawns(state: Log) -> Log:
        spawned.append(await below.spawn("inner", GO, chain(does("a"), waits)))
        return {"done": ["spawned"]}

    async with supervisor() as parent:
        first = await parent.spawn("first", GO, chain(spawns))
        await parent.await_child(first)
        second = await parent.spawn("second", GO, chain(spawns, waits))
        await until(lambda: parent.child(second).doing == "n1")
        await until(lambda: below.child(spawned[1]).doing == "n1")
        await parent.kill_child(second)
        await until(lambda: below.status(spawned[1]) is ChildStatus.KILLED)
        assert below.child(spawned[1]).reason == "the child around it was stopped"
        assert below.status(spawned[0]) is ChildStatus.RUNNING
    await below.shutdown(0)


async def test_a_child_of_a_sync_node_is_found_and_counted_too() -> None:
    def spawns(state: Log) -> Log:
        async def run() -> Any:
            async with AgentSupervisor() as below:
                return await below.await_child(await below.spawn("inner", GO, chain(waits)))

        return asyncio.run(run())  # type: ignore[no-any-return]  # never returns

    async with supervisor(on_hang="stop") as parent:
        child = await parent.spawn("one", GO, chain(spawns), AgentQuota(heartbeat_timeout=0.2))
        with pytest.raises(ChildKilledError, match="no sign of life"):
            await parent.await_child(child)
    await until(lambda: not [t for t in threading.enumerate() if t.name == "child"])


# ---- silence


def test_a_silent_child_is_restarted_and_goes_on() -> None:
    told = Told()

    async def run(loop: TimedLoop) -> Any:
        hung: list[bool] = []

        async def hangs_once(state: Log) -> Log:
            if not hung:
                hung.append(True)
                await asyncio.Event().wait()
            return {"done": ["b"]}

        parent = AgentSupervisor(None, told, clock=loop.time)
        quota = AgentQuota(heartbeat_timeout=30)
        child = await parent.spawn("one", GO, chain(does("a"), hangs_once), quota)
        result = await parent.await_child(child)
        assert parent.usage(child).elapsed_seconds == pytest.approx(31, abs=0.1)
        return result

    assert timed(run) == {"done": ["a", "b"]}
    assert told.types() == ["spawned", "started", "heartbeat_lost", "started", "completed"]
    assert told.facts("heartbeat_lost")["doing"] == "n1"
    assert told.facts("started", 1)["reason"] == "no sign of life for 30 s"


def test_a_child_that_never_beats_is_found() -> None:
    class Stuck(InMemorySaver):
        async def aget_tuple(self, config: Any) -> Any:
            if not (config["configurable"].get("checkpoint_ns") or "").startswith("asterism"):
                await asyncio.Event().wait()
            return None

    told = Told()

    async def run(loop: TimedLoop) -> None:
        parent = AgentSupervisor(SupervisorConfig(on_hang="stop"), told, clock=loop.time)
        child = await parent.spawn("one", GO, chain(does("a"), saver=Stuck()))
        with pytest.raises(ChildKilledError, match="no sign of life for 300 s"):
            await parent.await_child(child)

    timed(run)
    assert told.types(beats=True) == ["spawned", "started", "heartbeat_lost", "killed"]


def test_heartbeats_are_the_childs_own_progress_and_told_now_and_then() -> None:
    told = Told()

    async def run(loop: TimedLoop) -> Any:
        async def writes(state: Log) -> Log:
            write = get_stream_writer()
            for _ in range(100):
                await asyncio.sleep(1)
                write("still at it")
            return {}

        parent = AgentSupervisor(None, told, clock=loop.time)
        quota = AgentQuota(heartbeat_interval=10, heartbeat_timeout=5)
        child = await parent.spawn("one", GO, chain(writes), quota)
        await parent.await_child(child)
        return parent.usage(child).heartbeats

    assert timed(run) == 102  # the begin and the end of the node, and what it wrote
    assert told.count("heartbeat") == 11
    assert told.count("heartbeat_lost") == 0


# ---- pausing


async def test_a_paused_child_goes_on_and_repeats_nothing() -> None:
    works = [Crashing(0, str(i)) for i in range(4)]
    told = Told()
    gate, reached = asyncio.Event(), asyncio.Event()

    async def gated(state: Log) -> Log:
        reached.set()
        await gate.wait()
        return {"done": ["gated"]}

    async with supervisor(told) as parent:
        child = await parent.spawn("one", GO, chain(works[0], works[1], gated, works[2], works[3]))
        await reached.wait()
        pausing = asyncio.create_task(parent.pause_child(child))
        await asyncio.sleep(0.01)
        assert parent.status(child) is ChildStatus.RUNNING  # up to the step boundary
        gate.set()
        assert await pausing is True
        assert [work.runs for work in works] == [1, 1, 0, 0]
        assert await parent.pause_child(child) is True
        resumed = (parent.resume_child(child), parent.resume_child(child))
        assert sorted(await asyncio.gather(*resumed)) == [False, True]
        assert await parent.await_child(child) == {"done": ["0", "1", "gated", "2", "3"]}
    assert [work.runs for work in works] == [1, 1, 1, 1]
    assert told.types() == ["spawned", "started", "paused", "resumed", "completed"]


async def test_a_child_that_ends_before_it_can_rest_has_ended() -> None:
    reached = asyncio.Event()

    async def last(state: Log) -> Log:
        reached.set()
        await asyncio.sleep(0.02)
        return {"done": ["b"]}

    async with supervisor() as parent:
        child = await parent.spawn("one", GO, chain(does("a"), last))
        await reached.wait()
        assert await parent.pause_child(child) is False


def test_a_hung_child_that_is_to_rest_rests_when_it_is_found() -> None:
    told = Told()

    async def run(loop: TimedLoop) -> None:
        parent = AgentSupervisor(None, told, clock=loop.time)
        child = await parent.spawn("one", GO, chain(does("a"), waits))
        while parent.child(child).doing != "n1":
            await asyncio.sleep(0.1)
        assert await parent.pause_child(child) is True
        await parent.kill_child(child)

    timed(run)
    assert told.types() == ["spawned", "started", "heartbeat_lost", "paused", "killed"]


def test_time_that_a_child_rests_does_not_count() -> None:
    async def run(loop: TimedLoop) -> None:
        async def slow(state: Log) -> Log:
            await asyncio.sleep(5)
            return {"done": ["x"]}

        parent = AgentSupervisor(clock=loop.time)
        child = await parent.spawn(
            "one", GO, chain(slow, slow), AgentQuota(max_duration_seconds=15)
        )
        await asyncio.sleep(1)
        await parent.pause_child(child)
        await asyncio.sleep(1000)
        assert parent.usage(child).elapsed_seconds == pytest.approx(5, abs=0.01)
        await parent.resume_child(child)
        await parent.await_child(child)
        assert parent.usage(child).elapsed_seconds == pytest.approx(10, abs=0.01)
        assert parent.usage(child).percentages["max_duration_seconds"] == pytest.approx(66.7, abs=1)

    timed(run)


async def test_a_child_that_asks_a_person_rests_until_it_is_answered() -> None:
    def asks(state: Log) -> Log:
        return {"done": [interrupt({"prompt": "Which one?"})]}

    told = Told()
    async with supervisor(told) as parent:
        child = await parent.spawn("one", GO, chain(does("a"), asks))
        await until(lambda: parent.status(child) is ChildStatus.PAUSED)
        (question,) = parent.child(child).questions
        assert question["prompt"] == "Which one?"
        assert told.facts("paused")["questions"] == [dict(question)]
        with pytest.raises(AnswerError, match="waits for a person: 'Which one"):
            await parent.resume_child(child)
        with pytest.raises(AnswerError, match="is empty"):
            await parent.resume_child(child, "")
        assert parent.status(child) is ChildStatus.PAUSED
        await parent.resume_child(child, {question["id"]: "the blue one"})
        assert await parent.await_child(child) == {"done": ["a", "the blue one"]}
    assert told.types() == ["spawned", "started", "paused", "resumed", "completed"]


async def test_a_child_at_a_breakpoint_rests_and_goes_on() -> None:
    async with supervisor() as parent:
        graph = chain(does("a"), does("b"), interrupt_before=["n1"])
        child = await parent.spawn("one", GO, graph)
        await until(lambda: parent.status(child) is ChildStatus.PAUSED)
        assert parent.child(child).reason == "it stopped at a breakpoint"
        with pytest.raises(NothingPendingError):
            await parent.resume_child(child, "an answer to nothing")
        await parent.resume_child(child)
        assert await parent.await_child(child) == {"done": ["a", "b"]}


# ---- waiting


async def test_a_child_that_is_not_over_in_time_is_killed_and_it_is_said() -> None:
    told = Told()
    async with supervisor(told) as parent:
        child = await parent.spawn("one", GO, chain(waits))
        with pytest.raises(ChildTimeoutError, match=r"it was not over within 0\.05 s") as caught:
            await parent.await_child(child, timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        assert parent.status(child) is ChildStatus.KILLED
    assert told.facts("killed")["reason"] == "it was not over within 0.05 s"


async def test_whoever_stops_waiting_harms_no_child() -> None:
    gate = asyncio.Event()

    async def gated(state: Log) -> Log:
        await gate.wait()
        return {"done": ["a"]}

    async with supervisor() as parent:
        child = await parent.spawn("one", GO, chain(gated))
        waiting = asyncio.create_task(parent.await_child(child))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        gate.set()
        assert await parent.await_child(child) == {"done": ["a"]}


# ---- how a workflow ends


async def test_a_workflow_that_ends_at_its_own_limit_has_failed() -> None:
    workflow = star(Turns(), ["a"] * 9, max_iterations=2).build(checkpointer=InMemorySaver())
    async with supervisor() as parent:
        child = await parent.spawn("one", "Go", workflow)
        with pytest.raises(ChildFailedError, match="it ended as 'limit'"):
            await parent.await_child(child)
        assert parent.child(child).attempt == 1


async def test_a_workflow_whose_decider_failed_is_restarted_and_goes_on() -> None:
    turns = Turns()
    failed: list[bool] = []

    def decide(view: SupervisorView) -> SupervisorDecision:
        if view.iterations == 1 and not failed:
            failed.append(True)
            raise RuntimeError("no connection")
        name = ["a", "b", None][view.iterations]
        return SupervisorDecision(next_agent=name, instruction=name and "work")

    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(a=turns.participant("a"), b=turns.participant("b"))
        .with_manager(decide)
        .build(checkpointer=InMemorySaver())
    )
    async with supervisor() as parent:
        child = await parent.spawn("one", "Go", workflow, QUICK)
        assert (await parent.await_child(child))["status"] == "completed"
        assert parent.usage(child).restarts == 1
    assert turns.taken == {"a": 1, "b": 1}


async def test_a_participant_that_asks_lets_the_child_rest() -> None:
    workflow = (
        SupervisorWorkflowBuilder("Test", finish="forward")
        .participants(asker=Participant(runs=lambda m: interrupt("Which?"), description="Asks."))
        .with_manager(lambda v: SupervisorDecision(next_agent=None if v.iterations else "asker"))
        .build(checkpointer=InMemorySaver())
    )
    async with supervisor() as parent:
        child = await parent.spawn("one", "Go", workflow)
        await until(lambda: parent.status(child) is ChildStatus.PAUSED)
        await parent.resume_child(child, "blue")
        result = await parent.await_child(child)
    assert [report["text"] for report in result["reports"]] == ["blue"]


# ---- events


async def test_on_event_is_told_of_its_own_children_alone_and_may_fail() -> None:
    bus = EventBus()
    told, other = Told(), Told()

    async def fails(event: Any) -> None:
        raise RuntimeError("no")

    mine = AgentSupervisor(None, told, bus=bus)
    theirs = AgentSupervisor(None, other, bus=bus)
    bus.on(None, fails)
    bus.emit(WorkflowEventType.ROUTED, "elsewhere")
    for parent in (mine, theirs):
        child = await parent.spawn("one", GO, chain(does("a")))
        await parent.await_child(child)
    await mine.shutdown()
    assert told.types() == other.types() == ["spawned", "started", "completed"]
    assert {e.source for e in told.events}.isdisjoint(e.source for e in other.events)
    (failure,) = bus.failures()
    assert (failure.error, failure.times) == ("RuntimeError: no", 11)
    assert [e.sequence for e in bus.history()] == list(range(1, 12))


async def test_an_async_on_event_has_heard_everything_after_a_shutdown() -> None:
    heard: list[str] = []

    async def note(event: Any) -> None:
        await asyncio.sleep(0)
        heard.append(event.type.value)

    parent = AgentSupervisor(on_event=note)
    await parent.await_child(await parent.spawn("one", GO, chain(does("a"))))
    await parent.shutdown()
    steps = ["progress"] * heard.count("progress")
    assert heard == ["spawned", "started", "heartbeat", *steps, "completed"]


# ---- the tree


async def test_a_tree_of_supervisors_adds_up() -> None:
    told = Told()
    top, left, deep = supervisor(told), supervisor(), supervisor()
    top.attach("left", left)
    left.attach("deep", deep)
    ids = {
        parent: [await parent.spawn("ok", GO, chain(does("a"))) for _ in range(count)]
        for parent, count in ((top, 1), (left, 2), (deep, 3))
    }
    hung = await deep.spawn("hung", GO, chain(waits))
    resting = await left.spawn("resting", GO, chain(does("a"), waits))
    assert await left.pause_child(resting) is True
    for parent, children in ids.items():
        for child in children:
            await parent.await_child(child)
    found = top.aggregate_progress()
    assert {str(k): v for k, v in found.counts.items() if v} == {
        "running": 1,
        "paused": 1,
        "completed": 6,
    }
    assert (found.supervisors, found.children, found.percent) == (3, 8, 75.0)
    below = left.aggregate_progress()
    assert (
        below
        + AgentProgress(
            counts={**found.counts, **dict.fromkeys(ChildStatus, 0), ChildStatus.COMPLETED: 1},
            iterations=1,
        )
        == found
    )
    await top.shutdown(0.05)
    assert deep.status(hung) is ChildStatus.KILLED
    assert left.status(resting) is ChildStatus.PAUSED
    assert top.aggregate_progress().percent == 75.0
    for parent in (top, left, deep):
        with pytest.raises(SpawnRefusedError, match="is shut down"):
            await parent.spawn("late", GO, chain(does("a")))
    assert told.count("spawned") == 8  # the events of the whole tree
    assert top.aggregate_progress().percent == 75.0


async def test_no_children_are_nothing_done() -> None:
    assert supervisor().aggregate_progress() == AgentProgress()
    assert AgentProgress().percent == 0


async def test_a_tree_has_no_circles_and_no_two_roots() -> None:
    top, left, other = supervisor(), supervisor(), supervisor()
    top.attach("left", left)
    for parent, name, child in (
        (top, "left", other),
        (left, "top", top),
        (top, "itself", top),
        (other, "left", left),
    ):
        with pytest.raises(ConfigurationError, match="attached"):
            parent.attach(name, child)


def test_when_a_supervisor_gives_up_the_one_above_grants_another_try() -> None:
    told = Told()

    async def run(loop: TimedLoop) -> tuple[int, int]:
        config = SupervisorConfig(max_restarts=1, restart_window=1000)
        top = AgentSupervisor(config, told, clock=loop.time)
        low = AgentSupervisor(config, clock=loop.time)
        top.attach("low", low)
        quota = AgentQuota(max_retries=99)
        steady = await low.spawn("steady", GO, chain(waits), AgentQuota(heartbeat_timeout=None))
        child = await low.spawn("one", GO, chain(Crashing(99)), quota)
        with pytest.raises(ChildFailedError, match="gave up"):
            await low.await_child(child)
        await low.kill_child(steady)
        return low.usage(child).restarts, low.usage(steady).restarts

    # one restart of its own, one granted from above (with everybody there), one more of its own
    assert timed(run) == (3, 1)


# ---- the end


async def test_a_shutdown_lets_children_finish_or_pauses_them_or_kills_them() -> None:
    gate = asyncio.Event()

    async def gated(state: Log) -> Log:
        await gate.wait()
        return {"done": ["a"]}

    told = Told()
    parent = supervisor(told)
    finishing = await parent.spawn("finishing", GO, chain(gated))
    hung = await parent.spawn("hung", GO, chain(waits))
    await until(working(parent, hung))
    asyncio.get_running_loop().call_later(0.05, gate.set)
    progress = await parent.shutdown(0.3)
    assert told.types(finishing)[-1] == "completed"
    assert told.types(hung)[-1] == "killed"
    assert (progress.percent, progress["failed"]) == (50, 1)
    await parent.shutdown()  # as often as one likes


async def test_a_shutdown_that_pauses_leaves_everybody_resumable() -> None:
    gate = asyncio.Event()

    async def gated(state: Log) -> Log:
        await gate.wait()
        return {"done": ["a"]}

    parent = supervisor()
    pending = await parent.spawn("pending", GO, chain(gated, does("b")))
    running = await parent.spawn("running", GO, chain(gated, does("b")))
    await until(working(parent, running))
    waiting = asyncio.create_task(parent.await_child(running))
    asyncio.get_running_loop().call_later(0.02, gate.set)
    await parent.shutdown(5, pause=True)
    for child in (pending, running):
        assert parent.status(child) is ChildStatus.PAUSED
    with pytest.raises(ChildPausedError, match=f"adopt\\('{running}', graph\\)"):
        await waiting
    with pytest.raises(ChildPausedError):
        await parent.await_child(pending)


class Slow(InMemorySaver):
    """Takes its time to store what a supervisor keeps beside the checkpoints."""

    async def aput(self, config: Any, *rest: Any) -> Any:
        if config["configurable"]["checkpoint_ns"].startswith("asterism"):
            await asyncio.sleep(0.2)
        return await super().aput(config, *rest)


@pytest.mark.parametrize("timeout", [0, 5])
async def test_a_child_that_has_just_come_to_rest_is_left_in_peace(timeout: float) -> None:
    told = Told()
    parent = supervisor(told)
    graph = chain(does("a"), does("b"), interrupt_before=["n1"], saver=Slow())
    child = await parent.spawn("one", GO, graph)
    await until(lambda: parent.status(child) is ChildStatus.PAUSED)
    await parent.shutdown(timeout, pause=True)
    assert told.types() == ["spawned", "started", "paused"]
    other = supervisor()
    await other.adopt(child, graph)  # its thread is free


async def test_a_child_that_has_just_come_to_rest_can_be_killed_or_resumed() -> None:
    graph = chain(does("a"), does("b"), interrupt_before=["n1"], saver=Slow())
    async with supervisor() as parent:
        for order in (parent.kill_child, parent.resume_child):
            child = await parent.spawn("one", GO, graph)
            while parent.status(child) is not ChildStatus.PAUSED:
                await asyncio.sleep(0.005)
            await order(child)
            assert parent.status(child) is not ChildStatus.PAUSED


async def test_a_child_that_a_handler_spawns_is_no_child_of_a_child() -> None:
    told = Told()
    spawned: list[asyncio.Task[str]] = []

    def handler(event: Any) -> None:
        told(event)
        if event.type.value == "heartbeat" and not spawned:
            work = parent.spawn("other", GO, chain(waits, saver=InMemorySaver()))
            spawned.append(asyncio.create_task(work))

    parent = AgentSupervisor(on_event=handler)
    child = await parent.spawn("one", GO, chain(does("a"), waits))
    await until(lambda: parent.child(child).doing == "n1" and bool(spawned))
    await parent.kill_child(child)
    other = await spawned[0]
    await asyncio.sleep(0.05)
    assert parent.status(other) is ChildStatus.RUNNING
    await parent.shutdown(0)


async def test_an_error_in_the_block_kills_who_is_at_work() -> None:
    told = Told()
    with pytest.raises(KeyError):
        async with supervisor(told) as parent:
            child = await parent.spawn("one", GO, chain(waits))
            await until(working(parent, child))
            raise KeyError
    assert told.types() == ["spawned", "started", "killed"]


def test_the_end_of_the_loop_is_the_end_of_its_children() -> None:
    told = Told()

    async def run() -> None:
        parent = supervisor(told)
        child = await parent.spawn("one", GO, chain(waits))
        await until(working(parent, child))

    asyncio.run(run())
    assert told.types() == ["spawned", "started", "cancelled"]
    assert told.facts("cancelled")["reason"] == "its event loop was shut down"


async def test_no_task_or_thread_is_left() -> None:
    before = asyncio.all_tasks()
    parent = supervisor(grace=0.5)

    def blocks(state: Log) -> Log:
        time.sleep(0.1)
        return {}

    async with parent:
        await parent.spawn("a", GO, chain(does("a")))
        killed = await parent.spawn("b", GO, chain(blocks))
        await until(working(parent, killed))
        await parent.kill_child(killed)
        assert not parent.child(killed).abandoned  # it was over within the grace
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    await until(lambda: not [t for t in threading.enumerate() if t.name == "child"])


async def test_children_that_ended_long_ago_are_only_counted() -> None:
    async with supervisor(max_remembered=2) as parent:
        ids = []
        for _ in range(5):
            ids.append(await parent.spawn("one", GO, chain(does("a"))))
            await parent.await_child(ids[-1])
        assert [child.id for child in parent.children()] == ids[3:]
        with pytest.raises(UnknownChildError):
            parent.child(ids[0])
        assert parent.aggregate_progress().counts[ChildStatus.COMPLETED] == 5
        assert parent.aggregate_progress().iterations == 5


# ---- threads


async def test_one_thread_has_one_child_at_a_time(tmp_path: Any) -> None:
    with open_checkpointer(f"sqlite:///{tmp_path / 'a.db'}") as saver:
        graph = chain(waits, saver=saver)
        async with supervisor() as parent, supervisor() as other:
            child = await parent.spawn("one", GO, graph, thread_id="t")
            await until(working(parent, child))
            for attempt in (other.spawn("two", GO, graph, thread_id="t"), other.adopt("t", graph)):
                with pytest.raises(ThreadBusyError, match="at work on the thread 't' already"):
                    await attempt
            await parent.kill_child(child)
            with pytest.raises(ConfigurationError, match="holds unfinished work"):
                await other.spawn("two", GO, graph, thread_id="t")
            again = await other.adopt("t", graph)
            assert other.status(again) is ChildStatus.PAUSED


async def test_only_unfinished_threads_can_be_adopted() -> None:
    graph = chain(does("a"))
    async with supervisor() as parent:
        with pytest.raises(UnknownChildError, match="Nothing is stored on the thread 'none'"):
            await parent.adopt("none", graph)
        child = await parent.spawn("one", GO, graph, thread_id="t")
        await parent.await_child(child)
        with pytest.raises(NothingPendingError, match="Nothing is unfinished on the thread 't'"):
            await parent.adopt("t", graph)


async def test_an_adopted_child_brings_its_name_quota_and_usage() -> None:
    saver = InMemorySaver()
    crashing = Crashing(1)
    graph = chain(does("a"), crashing, does("c"), interrupt_before=["n2"], saver=saver)
    first, second = supervisor(), supervisor()
    quota = AgentQuota(max_iterations=50, retry_delay=0)
    child = await first.spawn("one", GO, graph, quota, {"room": 7}, thread_id="t")
    await until(lambda: first.status(child) is ChildStatus.PAUSED)
    used = first.usage(child)
    await first.shutdown()
    again = await second.adopt("t", graph)
    facts = second.child(again)
    assert again == child
    assert (facts.name, facts.metadata, facts.usage.quota) == ("one", {"room": 7}, quota)
    assert facts.usage.restarts == used.restarts == 1
    assert facts.usage.iterations == used.iterations
    assert facts.usage.elapsed_seconds == pytest.approx(used.elapsed_seconds, abs=0.001)
    await second.resume_child(again)
    assert await second.await_child(again) == {"done": ["a", "crashed", "c"]}
    assert second.usage(again).heartbeats > used.heartbeats


async def test_a_killed_child_can_be_taken_up_again_under_another_id() -> None:
    saver = InMemorySaver()
    free: list[bool] = []

    async def waits_once(state: Log) -> Log:
        if not free:
            await asyncio.Event().wait()
        return {"done": ["b"]}

    graph = chain(does("a"), waits_once, saver=saver)
    async with supervisor() as parent:
        child = await parent.spawn("one", GO, graph)
        await until(lambda: parent.child(child).doing == "n1")
        await parent.kill_child(child)
        again = await parent.adopt(child, graph)
        assert again != child
        free.append(True)
        await parent.resume_child(again)
        assert await parent.await_child(again) == {"done": ["a", "b"]}
