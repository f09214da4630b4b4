"""Children for tests, and a clock that only the tests move."""

import asyncio
import operator
import selectors
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, TypeVar, cast

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from asterism.core.continuation import Graph
from asterism.events import Event, SupervisionEventType
from asterism.supervision import AgentSupervisor
from asterism.supervision.status import ENDED, TRANSITIONS, ChildStatus, next_status

T = TypeVar("T")
MOVES = {event for allowed in TRANSITIONS.values() for event in allowed}
"""The events that change a state."""


class Log(TypedDict, total=False):
    """The state of a graph that notes what was done."""

    done: Annotated[list[str], operator.add]


Work = Any
"""A node: a function of the state, sync or async."""


def chain(*works: Work, saver: Any = None, **options: Any) -> Graph:
    """A graph of nodes one after the other, called `n0`, `n1`, ..."""
    builder = StateGraph(Log)
    names = [f"n{place}" for place in range(len(works))]
    for name, work in zip(names, works, strict=True):
        builder.add_node(name, work)
    for one, other in zip([START, *names], [*names, END], strict=True):
        builder.add_edge(one, other)
    return cast(Graph, builder.compile(checkpointer=saver or InMemorySaver(), **options))


def does(what: str) -> Work:
    """A node that does something at once."""

    async def work(state: Log) -> Log:
        return {"done": [what]}

    return work


async def waits(state: Log) -> Log:
    """A node that waits for ever and lets itself be cancelled."""
    await asyncio.Event().wait()
    return {}


class Crashing:
    """A node that fails a number of times, then works."""

    def __init__(self, times: int, what: str = "crashed") -> None:
        self.left = times
        self.what = what
        self.runs = 0

    async def __call__(self, state: Log) -> Log:
        self.runs += 1
        if self.left:
            self.left -= 1
            raise RuntimeError("out of order")
        return {"done": [self.what]}


class Told:
    """Collects events, and checks that they tell of legal transitions alone."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.status: dict[str, ChildStatus] = {}
        self.moves = 0

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        kind = event.type
        assert isinstance(kind, SupervisionEventType)
        if kind is SupervisionEventType.SPAWNED:
            assert event.source not in self.status
            self.status[event.source] = ChildStatus.PENDING
        elif kind in MOVES:
            self.moves += 1
            self.status[event.source] = next_status(self.status[event.source], kind, event.source)
        else:
            assert self.status[event.source] not in ENDED

    def types(self, child_id: str | None = None, *, beats: bool = False) -> list[str]:
        """The types of the events, in order; with `beats` also the signs that it goes on."""
        return [
            event.type.value
            for event in self.events
            if child_id in (None, event.source)
            and (beats or event.type.value not in ("heartbeat", "progress"))
        ]

    def count(self, kind: str) -> int:
        return Counter(self.types(beats=True))[kind]

    def facts(self, kind: str, place: int = 0) -> dict[str, Any]:
        """The facts of the first event of a type, or of a later one."""
        found = [event for event in self.events if event.type.value == kind]
        return dict(found[place].facts)


class _Selector(selectors.DefaultSelector):
    """Lets time pass at once where a loop would wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None:
            raise RuntimeError("everybody waits, and for no time")
        self.now += max(timeout, 1e-6)
        return []


class TimedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while everybody in it waits."""

    def __init__(self) -> None:
        self._own = _Selector()
        super().__init__(self._own)

    def time(self) -> float:
        return self._own.now


def timed(work: Callable[[TimedLoop], Coroutine[Any, Any, T]]) -> T:
    """Run something in time of its own, to its end."""
    loop = TimedLoop()
    try:
        return loop.run_until_complete(work(loop))
    finally:
        stop(loop)


def stop(loop: TimedLoop) -> None:
    """Cancel whatever a loop has left, and close it."""
    loop.run_until_complete(_stopped())
    loop.close()


async def _stopped() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


def names(children: Sequence[Any]) -> list[str]:
    return [child.name for child in children]


def working(supervisor: AgentSupervisor, child_id: str) -> Callable[[], bool]:
    """Whether a child runs and has begun to do something."""
    return lambda: bool(supervisor.child(child_id).doing)
