"""Plans: tasks with dependencies, and the schedule that says what may start when."""

import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from itertools import islice, pairwise
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_serializer, model_validator

LISTED = 10
"""How many names a message lists, at most."""


class ExecutionMode(StrEnum):
    """How a task stands to its siblings."""

    PARALLEL = "parallel"
    """It starts as soon as its dependencies are done."""
    SEQUENTIAL = "sequential"
    """Besides, it waits for all sequential tasks before it in the plan, whatever came of them."""


class SubAgentTask(BaseModel):
    """One task of a plan. Two tasks of one participant are two tasks."""

    model_config = ConfigDict(
        extra="ignore",
        str_strip_whitespace=True,
        allow_inf_nan=False,
        json_schema_extra={"required": ["task_id", "agent_id", "task_description"]},
    )

    task_id: str = Field(default="", min_length=1, max_length=100, description="A short name.")
    agent_id: str = Field(description="Who does it.")
    task_description: str = Field(min_length=1, description="What to do, with every fact needed.")
    execution_mode: ExecutionMode = ExecutionMode.PARALLEL
    dependencies: list[str] = Field(
        default_factory=list[str],
        description="The task_ids whose results it needs.",
    )
    context: str | dict[str, JsonValue] | None = Field(default=None, description="Further facts.")
    max_retries: int | None = Field(default=None, ge=0, le=100, strict=True)
    """How often it is tried again. None: as the participant's policies say."""
    retry_delay: float | None = Field(default=None, ge=0, le=3600, strict=True)
    """Seconds before the first retry."""
    retry_backoff: float | None = Field(default=None, ge=1, le=100, strict=True)
    """By how much the wait grows with each retry."""
    retry_timeout: float | None = Field(default=None, gt=0, le=86400, strict=True)
    """Seconds that one attempt may take."""

    @model_validator(mode="before")
    @classmethod
    def _name_it(cls, given: Any) -> Any:
        """Name a task that has no name after its agent."""
        if isinstance(given, dict) and "agent_id" in given and "task_id" not in given:
            fields = cast(dict[str, Any], given)
            return {"task_id": fields["agent_id"], **fields}
        return cast(object, given)

    @field_serializer("execution_mode")
    def _plain(self, mode: ExecutionMode) -> str:
        return mode.value  # what is dumped goes into state, which holds plain JSON


def name_dependencies(tasks: Sequence[SubAgentTask]) -> list[SubAgentTask]:
    """Return a plan whose dependencies name tasks: an agent with one task stands for that."""
    named = {task.task_id for task in tasks}
    of_agent: dict[str, list[str]] = {}
    for task in tasks:
        of_agent.setdefault(task.agent_id, []).append(task.task_id)

    def task_of(name: str) -> str:
        theirs = of_agent.get(name, [])
        return theirs[0] if name not in named and len(theirs) == 1 else name

    found = [[task_of(name) for name in task.dependencies] for task in tasks]
    return [
        task if names == task.dependencies else task.model_copy(update={"dependencies": names})
        for task, names in zip(tasks, found, strict=True)
    ]


def plan_faults(tasks: Sequence[SubAgentTask], agents: Collection[str]) -> list[str]:
    """Return everything that is wrong with a plan, each with the culprit and what is allowed."""
    faults = [
        f"the task {name!r} stands {count} times in the plan; each needs a name of its own"
        for name, count in Counter(task.task_id for task in tasks).items()
        if count > 1
    ]
    twice = bool(faults)
    faults += _unknown_name_faults(tasks, agents)
    if not twice:  # else nobody knows who is meant
        faults += _circle_faults(tasks)
    return faults


def _unknown_name_faults(tasks: Sequence[SubAgentTask], agents: Collection[str]) -> Iterator[str]:
    members = set(agents)
    known = dict.fromkeys(task.task_id for task in tasks)
    for task in tasks:
        if task.agent_id not in members:
            yield (
                f"the task {task.task_id!r} goes to {task.agent_id[:100]!r}, who does not take "
                f"part; allowed: {_list_names(agents)}"
            )
        for name in dict.fromkeys(task.dependencies):
            if name == task.task_id:
                yield f"the task {name!r} depends on itself; it can depend on others only"
            elif name not in known:
                yield (
                    f"the task {task.task_id!r} depends on {name[:100]!r}, which is not in the "
                    f"plan; there are: {_list_names(known)}"
                )


def _circle_faults(tasks: Sequence[SubAgentTask]) -> Iterator[str]:
    """Find a circle of tasks that wait for each other, be it for a result or for their turn."""
    waits = {t.task_id: [name for name in t.dependencies if name != t.task_id] for t in tasks}
    turns: dict[str, str] = {}
    sequential = [t.task_id for t in tasks if t.execution_mode is ExecutionMode.SEQUENTIAL]
    for before, name in pairwise(sequential):
        if before not in waits[name]:
            waits[name].append(before)
            turns[name] = before
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1][::-1]  # there, each comes before the one that needs it
        fault = f"the tasks depend on each other in a circle: {_path(cycle)}"
        if turn := next((pair for pair in pairwise(cycle) if pair in turns.items()), None):
            fault += "; {!r} waits for {!r} by the order of the sequential tasks".format(*turn)
        yield fault


def _list_names(names: Collection[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(islice(names, LISTED)) + (f" and {more} more" if more > 0 else "")


def _path(cycle: Sequence[str]) -> str:
    """Write a circle, whose last name is its first one."""
    more = len(cycle) - 1 - LISTED
    shown = [*cycle[:LISTED], f"({more} more)", cycle[-1]] if more > 0 else cycle
    return " -> ".join(shown)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A task that cannot be done, because of another one."""

    task_id: str
    because: str
    """The task that failed or was skipped before it."""


_Turn = tuple[bool, int]
"""When a task goes: one that had begun before a restart first, then by its place in the plan."""


class Schedule:
    """Says which tasks of a plan may start. Pure: it starts nothing itself.

    A task is ready when its dependencies are done. At most `limit` tasks run at once, one at
    a time of each participant; those that came first in the plan go first. When a task fails,
    those that need it are skipped. A plan of n tasks with d dependencies takes O(d + n log n).

    To rebuild a schedule, hand the tasks that are done to `finish`, in any order, and those
    that were running to `start`.

    Args:
        tasks: A plan without faults.
        limit: How many tasks may run at once.
    """

    def __init__(self, tasks: Sequence[SubAgentTask], *, limit: int) -> None:
        self._limit = limit
        self._names = [task.task_id for task in tasks]
        self._places = {name: place for place, name in enumerate(self._names)}
        self._agents = {task.task_id: task.agent_id for task in tasks}
        self._waits = {task.task_id: len(set(task.dependencies)) for task in tasks}
        self._needed_by: dict[str, list[str]] = {name: [] for name in self._names}
        self._sequence: deque[str] = deque()
        self._in_turn: str | None = None
        self._open = set(self._names)
        self._begun: set[str] = set()
        self._running: set[str] = set()
        self._parked: set[str] = set()
        self._busy: set[str] = set()
        self._queues: dict[str, list[_Turn]] = {}
        self._due: list[tuple[_Turn, str]] = []
        for task in tasks:
            for name in dict.fromkeys(task.dependencies):
                self._needed_by[name].append(task.task_id)
            if task.execution_mode is ExecutionMode.SEQUENTIAL:
                self._waits[task.task_id] += 1
                self._sequence.append(task.task_id)
            self._queue(task.task_id)
        self._release_next_sequential()

    @property
    def done(self) -> bool:
        """Whether no task is left."""
        return not self._open

    def start(self, first: Iterable[str] = ()) -> list[str]:
        """Return the tasks that start now; they count as running from now on.

        Args:
            first: Tasks that were running before a restart. They go before all others, also
                later, where the limit does not let all of them start now.
        """
        for name in self._open.intersection(first):
            self._begun.add(name)
            self._queue(name)
        started: list[str] = []
        while self._due and len(self._running) < self._limit:
            turn, agent = heapq.heappop(self._due)
            if agent in self._busy:
                continue  # it is due again when the participant is free
            head = self._head(agent)
            if head == turn:
                started.append(self._names[turn[1]])
                self._running.add(started[-1])
                self._busy.add(agent)
            elif head is not None:
                heapq.heappush(self._due, (head, agent))
        return started

    def finish(self, task_id: str, *, ok: bool) -> list[Skipped]:
        """Note that a task is done, whether it was started here or not.

        Args:
            task_id: The task. One that is done already stays as it is.
            ok: Whether it succeeded.

        Returns:
            Those that are skipped because of it, however far down.
        """
        if task_id not in self._open:
            return []
        self._open.discard(task_id)
        self._free_participant(task_id)
        skipped = [] if ok else self._skip(task_id)
        for dependent in self._needed_by[task_id]:
            self._release(dependent)
        self._release_next_sequential()
        return skipped

    def reassign(self, task_id: str, agent: str) -> None:
        """Give a task that is not done to another participant.

        Where it was running, it runs no more: its former participant is free, and the task is
        ready again, at its old place in the plan.
        """
        if task_id in self._open:
            self._free_participant(task_id)
            self._begun.discard(task_id)
            self._agents[task_id] = agent
            self._queue(task_id)

    def park(self, task_id: str) -> None:
        """Note that a running task waits for somebody outside, such as a person.

        It counts no more towards the limit, but its participant is not free: its memory holds
        the open question. It goes on in a schedule that is rebuilt with it among the first.
        """
        if task_id in self._running:
            self._running.discard(task_id)
            self._parked.add(task_id)

    def _skip(self, task_id: str) -> list[Skipped]:
        skipped: list[Skipped] = []
        failed = deque([task_id])
        while failed:
            name = failed.popleft()
            for dependent in self._needed_by[name]:
                if dependent in self._open:
                    self._open.discard(dependent)
                    skipped.append(Skipped(dependent, name))
                    failed.append(dependent)
        return skipped

    def _release_next_sequential(self) -> None:
        """Let the next sequential task go, once all before it are done."""
        while self._sequence and self._in_turn not in self._open:
            self._in_turn = self._sequence.popleft()
            self._release(self._in_turn)

    def _release(self, name: str) -> None:
        self._waits[name] -= 1
        self._queue(name)

    def _free_participant(self, name: str) -> None:
        """Free the participant of a task that runs no more."""
        if name in self._running or name in self._parked:
            self._running.discard(name)
            self._parked.discard(name)
            agent = self._agents[name]
            self._busy.discard(agent)
            if head := self._head(agent):
                heapq.heappush(self._due, (head, agent))

    def _queue(self, name: str) -> None:
        """Line a task up before its participant, where it may start."""
        if self._may_start(name):
            turn, agent = self._turn(name), self._agents[name]
            heapq.heappush(self._queues.setdefault(agent, []), turn)
            heapq.heappush(self._due, (turn, agent))

    def _head(self, agent: str) -> _Turn | None:
        """Return who is next before a participant, and forget those that may not start."""
        queue = self._queues.get(agent)
        while queue:
            turn = queue[0]
            name = self._names[turn[1]]
            if turn == self._turn(name) and agent == self._agents[name] and self._may_start(name):
                return turn
            heapq.heappop(queue)
        return None

    def _turn(self, name: str) -> _Turn:
        return name not in self._begun, self._places[name]

    def _may_start(self, name: str) -> bool:
        waiting = name in self._open and name not in self._running and name not in self._parked
        return waiting and not self._waits[name]
