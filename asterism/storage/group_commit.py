"""Calls of event loops on one connection: what waits at the same time shares a transaction."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")


class WaitingCall(NamedTuple):
    """A call that an event loop waits for."""

    call: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class Outcome(NamedTuple):
    """What came of a call."""

    value: Any = None
    error: BaseException | None = None


class WorkerThread:
    """Stands for the thread where an event loop could stand."""


class GroupCommit(ABC):
    """Runs calls in groups, each in one transaction, in a thread of its own.

    A call returns once its transaction is committed. Calls may be repeated: where a group fails,
    each of its calls gets a transaction of its own, so that one that fails fails alone.

    Args:
        name: Of the thread.
        closed_error: What is raised where the groups are closed.
    """

    def __init__(self, name: str, closed_error: type[Exception]) -> None:
        self._closed_error = closed_error
        self._jobs: deque[WaitingCall] = deque()
        self._guard = threading.Lock()
        self._runner: asyncio.AbstractEventLoop | type[WorkerThread] | None = None  # of what waits
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    @abstractmethod
    def commit(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run calls in one transaction, and return their values."""

    def fails_all(self, error: Exception) -> bool:
        """Whether the error of a group is that of each of its calls."""
        return False

    def close(self) -> None:
        """Finish what is waiting and end the thread; the connection stays open."""
        with self._guard:
            self._closed = True
        self._thread.shutdown(wait=True)
        self._drain()

    async def run(self, call: Callable[[], T], *, short: bool = True) -> T:
        """Run a call, and return its value once its transaction is committed."""
        loop = asyncio.get_running_loop()
        job = WaitingCall(call, loop.create_future(), loop)
        with self._guard:
            if self._closed:
                raise self._closed_error("Cannot operate on a closed database.")
            self._jobs.append(job)
            self._start(loop, short=short)
        return cast(T, await job.future)

    def _start(self, loop: asyncio.AbstractEventLoop, *, short: bool) -> None:
        """See to it that what waits is run; whoever calls this has the guard."""
        if self._runner is not WorkerThread:
            self._runner = WorkerThread
            self._thread.submit(self._drain)

    def _take_group(self) -> list[WaitingCall]:
        group = list(self._jobs)
        self._jobs.clear()
        return group

    def _drain(self) -> None:
        """Run what is waiting, group by group, until nothing is."""
        while True:
            with self._guard:
                group = self._take_group()
                if not group:
                    self._runner = None
                    return
            answer(group, self._run_group(group))

    def _run_group(self, group: Sequence[WaitingCall]) -> list[Outcome]:
        """Run a group in one transaction; if that fails, each call in one of its own."""
        if len(group) == 1:
            return [self._run_alone(group[0])]
        try:
            return [Outcome(value) for value in self.commit([job.call for job in group])]
        except Exception as error:  # noqa: BLE001 - raised again by the call that fails
            if self.fails_all(error):
                return [Outcome(error=error)] * len(group)
            return [self._run_alone(job) for job in group]

    def _run_alone(self, job: WaitingCall) -> Outcome:
        try:
            return Outcome(*self.commit([job.call]))
        except BaseException as error:  # noqa: BLE001 - raised where the call is awaited
            return Outcome(error=error)


def answer(
    group: Sequence[WaitingCall],
    outcomes: Sequence[Outcome],
    here: asyncio.AbstractEventLoop | None = None,
) -> None:
    """Hand results to those who wait for them, each in its event loop."""
    answers = list(zip(group, outcomes, strict=True))
    for loop in {job.loop for job in group}:
        own = [(job, outcome) for job, outcome in answers if job.loop is loop]
        if loop is here:
            _tell(own)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(_tell, own)


def _tell(answers: Sequence[tuple[WaitingCall, Outcome]]) -> None:
    for job, outcome in answers:
        if job.future.cancelled():
            continue
        if outcome.error is not None:
            job.future.set_exception(outcome.error)
        else:
            job.future.set_result(outcome.value)
