"""A plan is checked as a whole, and each task starts as soon as it may."""

import heapq
import json
import math
import os
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from pydantic import ValidationError

from asterism.core import plan as tasks_module
from asterism.core.plan import ExecutionMode, Schedule, Skipped, SubAgentTask, plan_faults

EXAMPLES = int(os.environ.get("ASTERISM_EXAMPLES", "40"))
SEQUENTIAL = ExecutionMode.SEQUENTIAL


def task(name: str, *needs: str, agent: str | None = None, in_turn: bool = False) -> SubAgentTask:
    return SubAgentTask(
        task_id=name,
        agent_id=agent or f"agent of {name}",
        task_description="Do it.",
        dependencies=list(needs),
        execution_mode=SEQUENTIAL if in_turn else ExecutionMode.PARALLEL,
    )


def agents_of(plan: Iterable[SubAgentTask]) -> list[str]:
    return [task.agent_id for task in plan]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_retries", value) for value in (True, False, 2.0, "2", -1, 101, math.nan, math.inf)),
        *(
            (field, value)
            for field in ("retry_delay", "retry_backoff", "retry_timeout")
            for value in (True, "2", -1, math.nan, math.inf, -math.inf, 10**9)
        ),
        *(("retry_delay", 3600.5), ("retry_backoff", 100.5), ("retry_timeout", 86400.5)),
        *(("retry_timeout", 0), ("retry_backoff", 0.5), ("task_id", " "), ("task_id", "x" * 101)),
        *(("task_description", " "), ("execution_mode", "later"), ("dependencies", "a")),
        *(("context", {"a": [math.nan]}), ("context", {"a": object()}), ("context", 3)),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:20],
)
def test_a_task_refuses_what_is_no_value_of_its_field(field: str, value: Any) -> None:
    fields = {"task_id": "a", "agent_id": "ann", "task_description": "Do it.", field: value}
    with pytest.raises(ValidationError) as caught:
        SubAgentTask.model_validate(fields)
    assert {error["loc"][0] for error in caught.value.errors()} == {field}


def test_what_a_task_dumps_is_plain_json() -> None:
    fields: dict[str, Any] = {
        "task_id": "a",
        "agent_id": "ann",
        "task_description": "Do it.",
        "execution_mode": "sequential",
        "dependencies": ["b"],
        "context": {"guests": [1, 2.5, None, {"vegan": True}]},
        "max_retries": 0,
        "retry_delay": 0,
        "retry_backoff": 1,
        "retry_timeout": 0.5,
    }
    read = SubAgentTask.model_validate(fields)
    assert read.execution_mode is SEQUENTIAL
    dumped = read.model_dump()
    assert dumped == fields == json.loads(json.dumps(dumped))
    assert type(dumped["execution_mode"]) is str
    assert SubAgentTask.model_validate(dumped) == read


def test_a_task_says_only_what_has_to_be_said() -> None:
    """What is stored has these words and defaults, also for the next version."""
    assert SubAgentTask(task_id="a", agent_id="b", task_description="c").model_dump() == {
        "task_id": "a",
        "agent_id": "b",
        "task_description": "c",
        "execution_mode": "parallel",
        "dependencies": [],
        "context": None,
        "max_retries": None,
        "retry_delay": None,
        "retry_backoff": None,
        "retry_timeout": None,
    }


@pytest.mark.parametrize(
    "numbers",
    [
        {"max_retries": 0, "retry_delay": 0, "retry_backoff": 1, "retry_timeout": 0.001},
        {"max_retries": 100, "retry_delay": 3600, "retry_backoff": 100, "retry_timeout": 86400},
    ],
    ids=["least", "most"],
)
def test_the_bounds_of_retries_are_allowed(numbers: dict[str, float]) -> None:
    fields = {"task_id": "a" * 100, "agent_id": "b", "task_description": "c", **numbers}
    read = SubAgentTask.model_validate(fields)
    assert read.model_dump(include=set(numbers)) == numbers


MANY = [task(f"t{n}", agent="ann") for n in range(13)]
LONG_CIRCLE = [task(f"t{n}", f"t{(n + 1) % 13}", agent="ann") for n in range(13)]


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        pytest.param([], [], id="nothing to do"),
        pytest.param(
            [task("a", "c", agent="ann"), task("c", agent="bob"), task("b", "c", "a", agent="bob")],
            [],
            id="a good plan in any order",
        ),
        pytest.param(
            [*[task("a", agent="ann")] * 3, task("b", "a", agent="bob")],
            ["the task 'a' stands 3 times in the plan; each needs a name of its own"],
            id="a name that stands several times",
        ),
        pytest.param(
            [task("a", agent="eve" * 50)],
            [
                f"the task 'a' goes to '{('eve' * 50)[:100]}', who does not take part; "
                "allowed: ann, bob"
            ],
            id="an agent who does not take part",
        ),
        pytest.param(
            [task("a", "a", agent="ann")],
            ["the task 'a' depends on itself; it can depend on others only"],
            id="a task that needs itself",
        ),
        pytest.param(
            [task("a", "z", "z", agent="ann"), task("b", agent="bob")],
            ["the task 'a' depends on 'z', which is not in the plan; there are: a, b"],
            id="a task that is not there, said once",
        ),
        pytest.param(
            [task("a", "z" * 150, agent="ann")],
            [f"the task 'a' depends on '{'z' * 100}', which is not in the plan; there are: a"],
            id="a long name that is not there",
        ),
        pytest.param(
            [*MANY, task("a", "z", agent="ann")],
            [
                "the task 'a' depends on 'z', which is not in the plan; there are: "
                "t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 and 4 more"
            ],
            id="at most ten names",
        ),
        pytest.param(
            [task("a", "b", agent="ann"), task("b", "a", agent="bob")],
            ["the tasks depend on each other in a circle: a -> b -> a"],
            id="a circle of two",
        ),
        pytest.param(
            [
                task("start", "b", agent="ann"),
                task("b", "free", "c", agent="ann"),
                task("c", "d", agent="ann"),
                task("d", "b", agent="ann"),
                task("free", agent="ann"),
            ],
            ["the tasks depend on each other in a circle: b -> c -> d -> b"],
            id="only the circle, not the way to it",
        ),
        pytest.param(
            LONG_CIRCLE,
            [
                "the tasks depend on each other in a circle: t0 -> t1 -> t2 -> t3 -> t4 -> t5 "
                "-> t6 -> t7 -> t8 -> t9 -> (3 more) -> t0"
            ],
            id="a long circle",
        ),
        pytest.param(
            [task("a", "b", agent="ann", in_turn=True), task("b", agent="bob", in_turn=True)],
            [
                "the tasks depend on each other in a circle: a -> b -> a; 'b' waits for 'a' by "
                "the order of the sequential tasks"
            ],
            id="a task that needs one whose turn comes later",
        ),
        pytest.param(
            [
                task("a", "p", agent="ann", in_turn=True),
                task("b", agent="ann", in_turn=True),
                task("c", agent="ann", in_turn=True),
                task("p", "c", agent="bob"),
            ],
            [
                "the tasks depend on each other in a circle: a -> p -> c -> b -> a; 'c' waits "
                "for 'b' by the order of the sequential tasks"
            ],
            id="a turn that comes later, needed by way of others",
        ),
        pytest.param(
            [task("a", agent="ann", in_turn=True), task("b", "a", agent="ann", in_turn=True)],
            [],
            id="sequential tasks that need each other in order",
        ),
        pytest.param(
            [
                task("a", "b", "y", agent="eve"),
                task("b", "a", "b", agent="bob"),
            ],
            [
                "the task 'a' goes to 'eve', who does not take part; allowed: ann, bob",
                "the task 'a' depends on 'y', which is not in the plan; there are: a, b",
                "the task 'b' depends on itself; it can depend on others only",
                "the tasks depend on each other in a circle: a -> b -> a",
            ],
            id="everything at once",
        ),
        pytest.param(
            [task("b", agent="ann"), task("a", "b", agent="ann"), task("b", "a", agent="ann")],
            ["the task 'b' stands 2 times in the plan; each needs a name of its own"],
            id="no circles where nobody knows who is meant",
        ),
    ],
)
def test_the_faults_of_a_plan_are_all_named(
    plan: Sequence[SubAgentTask], expected: Sequence[str]
) -> None:
    assert plan_faults(plan, ["ann", "bob"]) == expected


def test_a_long_list_of_participants_is_cut() -> None:
    (fault,) = plan_faults([task("a", agent="eve")], [f"p{n}" for n in range(500)])
    assert fault.endswith("allowed: p0, p1, p2, p3, p4, p5, p6, p7, p8, p9 and 490 more")


@pytest.mark.parametrize(("count", "more"), [(9, ""), (10, ""), (11, " and 1 more")])
def test_a_list_of_ten_names_is_not_cut(count: int, more: str) -> None:
    names = [f"p{n}" for n in range(count)]
    (fault,) = plan_faults([task("a", agent="eve")], names)
    assert fault.endswith(f"allowed: {', '.join(names[:10])}{more}")


@pytest.mark.parametrize(("count", "shown"), [(9, 9), (10, 10), (11, 10)])
def test_a_circle_of_ten_names_is_not_cut(count: int, shown: int) -> None:
    plan = [task(f"t{n}", f"t{(n + 1) % count}", agent="ann") for n in range(count)]
    (fault,) = plan_faults(plan, ["ann"])
    path = [*(f"t{n}" for n in range(shown)), *(["(1 more)"] if count > shown else []), "t0"]
    assert fault.endswith(f"in a circle: {' -> '.join(path)}")


@st.composite
def loose_plans(draw: st.DrawFn) -> list[SubAgentTask]:
    """Plans whose dependencies may go anywhere."""
    names = [f"t{n}" for n in range(draw(st.integers(1, 7)))]
    needs = st.lists(st.sampled_from(names), max_size=2)
    return [task(n, *draw(needs), in_turn=draw(st.booleans())) for n in names]


@settings(max_examples=4 * EXAMPLES)
@given(loose_plans())
def test_a_plan_without_faults_can_be_followed_and_one_with_faults_cannot(
    plan: list[SubAgentTask],
) -> None:
    left, before = {t.task_id: t for t in plan}, -1
    while before != len(left):
        before = len(left)
        turn = next((t.task_id for t in left.values() if t.execution_mode is SEQUENTIAL), None)
        for name, this in list(left.items()):
            in_turn = this.execution_mode is not SEQUENTIAL or name == turn
            if in_turn and not any(needed in left for needed in this.dependencies):
                del left[name]
    assert bool(plan_faults(plan, agents_of(plan))) is bool(left)
    if not left:
        schedule = Schedule(plan, limit=3)
        while started := schedule.start():
            schedule.finish(started[0], ok=True)
            for name in started[1:]:
                schedule.finish(name, ok=True)
        assert schedule.done


class Model:
    """The schedule as one would say it: looks at every task each time."""

    def __init__(self, plan: Sequence[SubAgentTask], limit: int) -> None:
        self.plan, self.limit = plan, limit
        self.needs = {t.task_id: t.dependencies for t in plan}
        self.agents = {t.task_id: t.agent_id for t in plan}
        self.status = dict.fromkeys(self.needs, "waiting")
        self.begun: set[str] = set()

    def those(self, *status: str) -> list[str]:
        return [name for name in self.status if self.status[name] in status]

    def ended(self, name: str) -> bool:
        return self.status[name] in ("ok", "failed", "skipped")

    def ready(self, name: str) -> bool:
        """Whether nothing but room keeps a task from starting."""
        sequential = [t.task_id for t in self.plan if t.execution_mode is SEQUENTIAL]
        earlier = sequential[: sequential.index(name)] if name in sequential else []
        return (
            self.status[name] == "waiting"
            and all(self.status[needed] == "ok" for needed in self.needs[name])
            and all(self.ended(other) for other in earlier)
        )

    def may_start(self, name: str) -> bool:
        taken = {self.agents[other] for other in self.those("running", "parked")}
        room = len(self.those("running")) < self.limit
        return room and self.agents[name] not in taken and self.ready(name)

    def start(self) -> list[str]:
        started: list[str] = []
        while able := [name for name in self.status if self.may_start(name)]:
            name = next((name for name in able if name in self.begun), able[0])
            self.status[name] = "running"
            started.append(name)
        return started

    def finish(self, name: str, ok: bool) -> set[str]:
        self.status[name] = "ok" if ok else "failed"
        skipped: set[str] = set()
        while lost := [n for n in self.those("waiting") if self.lost(n)]:
            self.status.update(dict.fromkeys(lost, "skipped"))
            skipped |= set(lost)
        return skipped

    def lost(self, name: str) -> bool:
        return any(self.status[needed] in ("failed", "skipped") for needed in self.needs[name])


@st.composite
def plans(draw: st.DrawFn) -> list[SubAgentTask]:
    """Plans without faults, whose tasks stand in any order and share few participants."""
    size = draw(st.integers(1, 9))
    ranks = draw(st.permutations(range(size)))
    agents = st.sampled_from("wxyz"[: draw(st.integers(1, 4))])
    last, plan = -1, list[SubAgentTask]()
    for place, rank in enumerate(ranks):
        earlier = [f"t{other}" for other in range(size) if ranks[other] < rank]
        needs = draw(st.lists(st.sampled_from(earlier), max_size=3)) if earlier else []
        in_turn = rank > last and draw(st.booleans())
        last = rank if in_turn else last
        plan.append(task(f"t{place}", *needs, agent=draw(agents), in_turn=in_turn))
    assert not plan_faults(plan, "wxyz")
    return plan


class Schedules(RuleBasedStateMachine):
    """A schedule and its model, through failures, people, other agents and restarts."""

    @initialize(plan=plans(), limit=st.integers(1, 4))
    def begin(self, plan: list[SubAgentTask], limit: int) -> None:
        self.plan = plan
        self.schedule = Schedule(plan, limit=limit)
        self.model = Model(plan, limit)

    def one_of(self, data: st.DataObject, names: Sequence[str]) -> str | None:
        return data.draw(st.sampled_from(names)) if names else None

    @rule()
    def start(self) -> None:
        assert self.schedule.start() == self.model.start()
        assert not any(map(self.model.may_start, self.model.status)), "somebody could work"
        assert self.schedule.start() == []

    @rule(data=st.data(), ok=st.sampled_from([True, True, False]))
    def finish(self, data: st.DataObject, ok: bool) -> None:
        """A task that runs, or waits for a person, or was never started here."""
        ready = [name for name in self.model.status if self.model.ready(name)]
        if name := self.one_of(data, [*self.model.those("running", "parked"), *ready]):
            skipped = self.schedule.finish(name, ok=ok)
            assert {s.task_id for s in skipped} == self.model.finish(name, ok)
            assert len(skipped) == len({s.task_id for s in skipped})
            for one in skipped:
                assert one.because in self.model.needs[one.task_id]
                assert self.model.status[one.because] in ("failed", "skipped")

    @rule(data=st.data(), ok=st.booleans(), agent=st.sampled_from("wxyz"))
    def touch_what_is_done(self, data: st.DataObject, ok: bool, agent: str) -> None:
        if name := self.one_of(data, self.model.those("ok", "failed", "skipped")):
            self.schedule.reassign(name, agent)
            self.schedule.park(name)
            assert self.schedule.finish(name, ok=ok) == []

    @rule(data=st.data(), agent=st.sampled_from("wxyz"))
    def reassign(self, data: st.DataObject, agent: str) -> None:
        if name := self.one_of(data, self.model.those("waiting", "running", "parked")):
            self.schedule.reassign(name, agent)
            self.model.status[name] = "waiting"
            self.model.agents[name] = agent
            self.model.begun.discard(name)

    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        if name := self.one_of(data, self.model.those("running")):
            self.schedule.park(name)
            self.model.status[name] = "parked"

    @rule(data=st.data(), limit=st.integers(1, 4), skips=st.booleans())
    def restart(self, data: st.DataObject, limit: int, skips: bool) -> None:
        """Everything is told again, in any order; the limit may be another one."""
        model = self.model
        self.schedule = Schedule(self.plan, limit=limit)
        told = model.those("ok", "failed", *(["skipped"] if skips else []))
        for name in data.draw(st.permutations([*told, *model.agents])):
            if name in told and data.draw(st.booleans()):
                self.schedule.finish(name, ok=model.status[name] == "ok")
            self.schedule.reassign(name, model.agents[name])
        for name in told:
            self.schedule.finish(name, ok=model.status[name] == "ok")
        model.begun &= set(model.those("waiting"))
        model.begun |= set(model.those("running", "parked"))
        for name in model.those("running", "parked"):
            model.status[name] = "waiting"
        model.limit = limit
        first = data.draw(st.permutations(sorted(model.begun)))
        assert self.schedule.start(first=first) == model.start()

    @precondition(lambda self: hasattr(self, "model"))
    @invariant()
    def bounds_hold(self) -> None:
        busy = self.model.those("running", "parked")
        assert len(self.model.those("running")) <= self.model.limit
        assert len({self.model.agents[name] for name in busy}) == len(busy)
        for name in busy:
            assert all(self.model.status[needed] == "ok" for needed in self.model.needs[name])
        assert self.schedule.done is all(map(self.model.ended, self.model.status))

    def teardown(self) -> None:
        """Whatever has happened, the plan comes to its end."""
        while hasattr(self, "model") and not self.schedule.done:
            self.start()
            name = self.model.those("running", "parked")[0]
            self.schedule.finish(name, ok=True)
            self.model.finish(name, True)
            self.bounds_hold()


Schedules.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=30)
TestSchedules = Schedules.TestCase


@settings(max_examples=EXAMPLES)
@given(plan=plans(), limit=st.integers(1, 4), steps=st.integers(0, 12), seed=st.integers(0, 999))
def test_a_schedule_that_is_rebuilt_goes_on_as_the_first_one_would(
    plan: list[SubAgentTask], limit: int, steps: int, seed: int
) -> None:
    chance = random.Random(seed)
    schedule, rebuilt = Schedule(plan, limit=limit), Schedule(plan, limit=limit)
    running, ended = schedule.start(), dict[str, bool]()

    def step(*schedules: Schedule) -> None:
        name, ok = running.pop(chance.randrange(len(running))), chance.random() < 0.8
        ended[name] = ok
        first, *others = [(s.finish(name, ok=ok), s.start()) for s in schedules]
        assert all(other == first for other in others)
        running.extend(first[1])

    while running and steps:
        step(schedule)
        steps -= 1
    for name in chance.sample(sorted(ended), len(ended)):
        rebuilt.finish(name, ok=ended[name])
    assert sorted(rebuilt.start(first=chance.sample(running, len(running)))) == sorted(running)
    while running:
        step(schedule, rebuilt)
    assert schedule.done and rebuilt.done


def test_a_task_that_was_done_before_a_restart_is_never_started() -> None:
    plan = [task("a", agent="x"), task("b", agent="x"), task("c", "a", agent="y")]
    schedule = Schedule(plan, limit=5)
    schedule.finish("c", ok=True)
    schedule.finish("a", ok=True)
    assert schedule.start() == ["b"]
    schedule.finish("b", ok=True)
    assert schedule.start() == [] and schedule.done


def test_what_had_begun_goes_first_also_where_there_is_less_room() -> None:
    plan = [task(name) for name in "abcd"]
    schedule = Schedule(plan, limit=1)
    assert schedule.start(first=["d", "c"]) == ["c"]
    schedule.finish("c", ok=True)
    assert schedule.start() == ["d"]
    schedule.finish("d", ok=True)
    assert schedule.start() == ["a"]


def test_a_participant_does_its_tasks_in_the_order_of_the_plan() -> None:
    plan = [task("a", "d", agent="x"), task("b", agent="x"), task("c", agent="x"), task("d")]
    schedule = Schedule(plan, limit=5)
    assert schedule.start() == ["b", "d"]
    schedule.finish("d", ok=True)
    assert schedule.start() == []
    schedule.finish("b", ok=True)
    assert schedule.start() == ["a"]


def test_those_that_need_a_failed_task_are_skipped_once_and_the_others_go_on() -> None:
    plan = [task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c"), task("e")]
    schedule = Schedule(plan, limit=5)
    schedule.start()
    skipped = [Skipped("b", "a"), Skipped("c", "a"), Skipped("d", "b")]
    assert schedule.finish("a", ok=False) == skipped
    assert schedule.finish("a", ok=False) == []
    assert not schedule.done
    schedule.finish("e", ok=True)
    assert schedule.done


def test_sequential_tasks_run_one_by_one_also_when_one_between_is_skipped() -> None:
    plan = [task("a", in_turn=True), task("b", "p", in_turn=True), task("c", in_turn=True)]
    schedule = Schedule([*plan, task("p")], limit=5)
    assert schedule.start() == ["a", "p"]
    assert schedule.finish("p", ok=False) == [Skipped("b", "p")]
    assert schedule.start() == [], "the first one still runs"
    schedule.finish("a", ok=False)
    assert schedule.start() == ["c"], "whatever came of the first one"


def test_a_reassigned_task_frees_its_agent_and_keeps_its_place() -> None:
    plan = [task(name, agent=agent) for name, agent in zip("abcd", "xxyy", strict=True)]
    schedule = Schedule(plan, limit=2)
    assert schedule.start() == ["a", "c"]
    schedule.reassign("a", "y")
    assert schedule.start() == ["b"], "x is free, and y is not"
    schedule.finish("c", ok=True)
    assert schedule.start() == ["a"], "it stands before the other task of y"
    assert schedule.finish("a", ok=True) == []
    assert schedule.start() == ["d"]


@pytest.mark.parametrize("heir", ["x", "y"])
def test_a_reassigned_task_has_not_begun_for_its_new_agent(heir: str) -> None:
    plan = [task("a", agent="z"), task("b", agent="x")]
    schedule = Schedule(plan, limit=1)
    assert schedule.start(first=["b"]) == ["b"]
    schedule.reassign("b", heir)
    assert schedule.start() == ["a"], "the order of the plan counts again"
    schedule.finish("a", ok=True)
    assert schedule.start() == ["b"]


def test_a_parked_task_leaves_room_but_keeps_its_agent() -> None:
    plan = [task("a", agent="x"), task("b", agent="x"), task("c", agent="y"), task("d", agent="z")]
    schedule = Schedule(plan, limit=1)
    assert schedule.start() == ["a"]
    schedule.park("a")
    assert schedule.start() == ["c"]
    schedule.finish("c", ok=True)
    assert schedule.start(first=["a"]) == ["d"], "it goes on in a schedule that is rebuilt"
    schedule.finish("d", ok=True)
    assert schedule.start() == []
    schedule.finish("a", ok=True)
    assert schedule.start() == ["b"]


def chain(size: int) -> list[SubAgentTask]:
    return [task(f"t{n}", *([f"t{n - 1}"] if n else []), agent="x") for n in range(size)]


def turns(size: int) -> list[SubAgentTask]:
    return [task(f"t{n}", agent=f"p{n % 20}", in_turn=True) for n in range(size)]


def fan(size: int) -> list[SubAgentTask]:
    inner = [f"t{n}" for n in range(size - 2)]
    leaves = [task(name, "root", agent=f"p{n % 20}") for n, name in enumerate(inner)]
    return [task("root"), *leaves, task("end", *inner)]


def tangle(size: int) -> list[SubAgentTask]:
    chance = random.Random(size)
    return [
        task(
            f"t{n}",
            *{f"t{chance.randrange(n)}" for _ in range(min(n, 3))},
            agent=f"p{chance.randrange(20)}",
            in_turn=chance.random() < 0.1,
        )
        for n in range(size)
    ]


def lines_run(call: Callable[[], object]) -> int:
    """Count the lines of the module under test that a call runs."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename != tasks_module.__file__:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def follow(plan: list[SubAgentTask]) -> None:
    """Check a plan, rebuild its schedule half way, and bring it to its end."""
    assert plan_faults(plan, agents_of(plan)) == []
    running, ended = list[str](), list[str]()
    schedule = Schedule(plan, limit=10)
    while not schedule.done:
        running += schedule.start()
        ended.append(running.pop(0))
        schedule.finish(ended[-1], ok=True)
        if len(ended) == len(plan) // 2:
            schedule = Schedule(plan, limit=10)
            for name in reversed(ended):
                schedule.finish(name, ok=True)
            running = schedule.start(first=running)
    assert sorted(ended) == sorted(t.task_id for t in plan)


@pytest.mark.parametrize("shape", [chain, turns, fan, tangle])
def test_the_work_of_a_schedule_grows_as_its_plan_does(
    shape: Callable[[int], list[SubAgentTask]],
) -> None:
    small, large = shape(200), shape(2_000)
    few = lines_run(lambda: follow(small))
    assert few > 200 and lines_run(lambda: follow(large)) < 13 * few


def test_the_work_of_a_failure_and_of_faults_grows_as_the_plan_does() -> None:
    def spoil(size: int) -> None:
        assert len(Schedule(fan(size), limit=5).finish("root", ok=False)) == size - 1
        assert len(Schedule(tangle(size), limit=5).finish("t0", ok=False)) == size - 1
        strangers = [task(f"t{n}", "gone") for n in range(size)]
        assert len(faults := plan_faults(strangers, ["x"] * 500)) == 2 * size
        assert max(map(len, faults)) < 200
        back = [task(t.task_id, *t.dependencies, "end") for t in fan(size)]
        assert len(plan_faults(back, agents_of(back))) == 2

    assert lines_run(lambda: spoil(2_000)) < 13 * lines_run(lambda: spoil(200))


SECONDS = {
    **{"venue": 9, "menu": 2, "seats": 1, "flyer": 1},
    **{"guests": 1, "invite": 8, "remind": 2, "badges": 1},
    **{"budget": 2, "quotes": 1, "order": 9, "pay": 1},
}
NEEDS: dict[str, list[str]] = {
    **{"venue": [], "menu": ["venue"], "seats": ["menu"], "flyer": ["seats"]},
    **{"guests": [], "invite": ["guests"], "remind": ["invite"], "badges": ["guests", "remind"]},
    **{"budget": [], "quotes": ["budget"], "order": ["quotes"], "pay": ["order", "menu"]},
}


def makespan(plan: Sequence[SubAgentTask], seconds: Mapping[str, int], limit: int) -> int:
    """Follow a plan in virtual time, and return when the last task is done."""
    schedule, now = Schedule(plan, limit=limit), 0
    running: list[tuple[int, str]] = []
    while not schedule.done:
        for name in schedule.start():
            heapq.heappush(running, (now + seconds[name], name))
        now, name = heapq.heappop(running)
        schedule.finish(name, ok=True)
    return now


def by_waves(needs: Mapping[str, Sequence[str]], seconds: Mapping[str, int]) -> int:
    """Start what may start, wait for all of it, and so on."""
    now, done = 0, set[str]()
    while wave := [n for n in needs if n not in done and done.issuperset(needs[n])]:
        now += max(seconds[name] for name in wave)
        done.update(wave)
    return now


def test_a_plan_takes_as_long_as_its_critical_path() -> None:
    plan = [task(name, *needs) for name, needs in NEEDS.items()]

    def path(name: str) -> int:
        return SECONDS[name] + max(map(path, NEEDS[name]), default=0)

    critical = max(map(path, SECONDS))
    assert len(plan) == 12 and critical == 13
    assert makespan(plan, SECONDS, limit=12) == critical
    assert by_waves(NEEDS, SECONDS) >= 1.5 * critical
    assert makespan(plan, SECONDS, limit=1) == sum(SECONDS.values())
    assert critical <= makespan(plan, SECONDS, limit=3) <= sum(SECONDS.values()) / 3 + critical
