"""The life of children, driven by rules: whatever happens in whatever order, it stays legal.

`make torture` runs it with many more examples.
"""

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from asterism.errors import (
    AnswerError,
    ChildError,
    ChildStateError,
    ConfigurationError,
    NothingPendingError,
    SpawnRefusedError,
    ThreadBusyError,
)
from asterism.events import EventBus
from asterism.events import SupervisionEventType as Type
from asterism.supervision import AgentQuota, AgentSupervisor, ChildStatus, SupervisorConfig
from asterism.supervision.status import ENDED, TRANSITIONS
from tests.asterism.supervision.helpers import Log, TimedLoop, Told, chain, stop

EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "8"))
MOST = 4
STEPS = st.lists(
    st.sampled_from(["works", "slow", "crashes once", "crashes", "hangs once", "hangs", "asks"]),
    min_size=1,
    max_size=4,
)
QUOTAS = st.builds(
    AgentQuota,
    max_duration_seconds=st.sampled_from([None, 30, 100]),
    max_iterations=st.sampled_from([None, 1]),
    heartbeat_timeout=st.sampled_from([20.0, 60.0]),
    max_retries=st.integers(0, 2),
    retry_delay=st.sampled_from([0.0, 5.0]),
)


class Lives(RuleBasedStateMachine):
    """A supervisor and its children; what should hold of them is counted beside it."""

    children = Bundle("children")

    def __init__(self) -> None:
        super().__init__()
        self.loop = TimedLoop()
        self.told = Told()
        self.saver = InMemorySaver()
        self.plans: dict[str, list[str]] = {}
        self.graphs: dict[str, Any] = {}
        self.done: dict[str, list[str]] = {}
        self.expected: dict[str, list[str]] = {}

    @initialize(
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
        on_hang=st.sampled_from(["restart", "stop"]),
        kills=st.booleans(),
    )
    def begin(self, strategy: Any, on_hang: Any, kills: bool) -> None:
        config = SupervisorConfig(
            max_children=MOST,
            restart_strategy=strategy,
            on_hang=on_hang,
            auto_kill_on_quota=kills,
            max_restarts=4,
            restart_window=50,
        )
        self.bus = EventBus(history=100_000)
        self.parent = AgentSupervisor(config, self.told, bus=self.bus, clock=self.loop.time)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def node(self, kind: str, name: str, tried: list[str]) -> Any:
        async def node(state: Log) -> Log:
            first = name not in tried
            tried.append(name)
            await asyncio.sleep(7 if kind == "slow" else 0.1)
            if kind == "crashes" or (kind == "crashes once" and first):
                raise RuntimeError("out of order")
            if kind == "hangs" or (kind == "hangs once" and first):
                await asyncio.sleep(1e6)
            if kind == "asks":
                return {"done": [f"{name} {interrupt('Which?')}"]}
            return {"done": [name]}

        return node

    @rule(target=children, plan=STEPS, quota=QUOTAS)
    def spawn(self, plan: list[str], quota: AgentQuota) -> str:
        tried: list[str] = []
        nodes = [self.node(kind, f"step {i}", tried) for i, kind in enumerate(plan)]
        graph = chain(*nodes, saver=self.saver)
        full = sum(status not in ENDED for status in self.told.status.values()) >= MOST
        try:
            child = str(self.run(self.parent.spawn("c", {"done": []}, graph, quota)))
        except SpawnRefusedError:
            assert full
            return ""
        assert not full
        self.graphs[child] = graph
        self.expected[child] = [
            f"step {i} yes" if kind == "asks" else f"step {i}" for i, kind in enumerate(plan)
        ]
        return child

    @rule(seconds=st.sampled_from([0.05, 0.15, 1, 5, 25, 120]))
    def let_time_pass(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def ordered(self, child: str, event: Type, order: Coroutine[Any, Any, Any]) -> bool:
        """Give an order; return whether it was carried out."""
        legal = event in TRANSITIONS[self.told.status[child]]
        try:
            if self.run(order) is False:
                assert not legal
                return False
        except ChildStateError:
            usage = self.parent.usage(child)
            assert not legal or (event is Type.RESUMED and usage.spent())
            return False
        except (AnswerError, ConfigurationError):
            assert legal
            return False
        except ThreadBusyError:
            thread = self.parent.child(child).thread_id
            busy = [c for c in self.parent.children() if c.thread_id == thread and c.id != child]
            assert legal
            assert any(c.status is ChildStatus.RUNNING for c in busy)
            return False
        assert legal
        return True

    @rule(child=children)
    def kill(self, child: str) -> None:
        if child:
            lived = self.told.status[child] not in ENDED
            assert self.run(self.parent.kill_child(child)) is lived
            assert not lived or self.told.status[child] is ChildStatus.KILLED

    @rule(child=children)
    def pause(self, child: str) -> None:
        if child:
            rests = self.run(self.parent.pause_child(child))
            stands = self.told.status[child]
            assert rests is (stands is ChildStatus.PAUSED)
            assert rests or stands in ENDED

    @rule(child=children, answer=st.sampled_from([None, "yes"]))
    def resume(self, child: str, answer: str | None) -> None:
        if not child:
            return
        try:
            self.ordered(child, Type.RESUMED, self.parent.resume_child(child, answer))
        except NothingPendingError:
            assert answer

    @rule(child=children, seconds=st.sampled_from([1, 1000, None]))
    def raise_time(self, child: str, seconds: float | None) -> None:
        if child:
            raising = self.parent.raise_quota(child, max_duration_seconds=seconds)
            self.ordered(child, Type.KILLED, raising)

    @rule(child=children)
    def raise_iterations(self, child: str) -> None:
        if child:
            raising = self.parent.raise_quota(child, max_iterations=None)
            self.ordered(child, Type.KILLED, raising)

    @rule(child=children, seconds=st.sampled_from([0, 3, 1000]))
    def wait_for(self, child: str, seconds: float) -> None:
        if not child:
            return
        try:
            result = self.run(self.parent.await_child(child, timeout=seconds))
        except ChildError:
            assert self.told.status[child] in (ChildStatus.FAILED, ChildStatus.KILLED)
        else:
            assert self.told.status[child] is ChildStatus.COMPLETED
            assert result == {"done": self.expected[child]}

    @precondition(lambda self: any(s is ChildStatus.KILLED for s in self.told.status.values()))
    @rule(target=children)
    def adopt_a_killed_one(self) -> str:
        child = next(c for c, s in self.told.status.items() if s is ChildStatus.KILLED)
        thread = self.parent.child(child).thread_id
        try:
            again = str(self.run(self.parent.adopt(thread, self.graphs[child])))
        except (LookupError, NothingPendingError, SpawnRefusedError, RuntimeError):
            return ""  # it had not begun, or somebody else is at it
        self.graphs[again], self.expected[again] = self.graphs[child], self.expected[child]
        assert self.told.status[again] is ChildStatus.PAUSED
        return again

    @invariant()
    def what_was_told_is_what_is(self) -> None:
        found = {child.id: child.status for child in self.parent.children()}
        assert found == self.told.status
        assert self.bus.failures() == []  # the check of the transitions is a handler

    @invariant()
    def it_adds_up(self) -> None:
        counts = self.parent.aggregate_progress().counts
        assert sum(counts.values()) == len(self.told.status)
        for status in ChildStatus:
            assert counts[status] == [*self.told.status.values()].count(status)

    @invariant()
    def nothing_is_done_twice_or_out_of_order(self) -> None:
        for child, graph in self.graphs.items():
            config = {"configurable": {"thread_id": self.parent.child(child).thread_id}}
            done = (graph.get_state(config).values or {}).get("done", [])
            assert done == self.expected[child][: len(done)]

    @invariant()
    def each_thing_is_told_once(self) -> None:
        for child in self.told.status:
            types = self.told.types(child, beats=True)
            assert types.count("spawned") == 1
            assert sum(types.count(status.value) for status in ENDED) <= 1
            assert types.count("quota_exceeded") <= types.count("quota_warning")

    def teardown(self) -> None:
        self.run(self.parent.shutdown(10))
        assert all(child.status not in ("pending", "running") for child in self.parent.children())
        self.run(asyncio.sleep(0))
        assert asyncio.all_tasks(self.loop) == set()
        stop(self.loop)


class ManyLives(Lives):
    """The same, under a name that pytest collects."""


TestLives = ManyLives.TestCase
TestLives.settings = settings(
    max_examples=2 * EXAMPLES,
    stateful_step_count=50,
    suppress_health_check=list(HealthCheck),
)
