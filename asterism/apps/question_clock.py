"""Questions with a clock: who is asked, reminded and asked next, and what counts without an answer.

A pass over the open questions of a database does what is due; any number of processes may make
passes, and each step is taken once. Nothing runs between passes: what became due while no process
ran is done by the first one that starts. Tests: tests/asterism/apps/test_question_clock.py.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from inspect import isawaitable
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from asterism.apps.stored_threads import latest_threads
from asterism.core.interrupts import PendingRequest, aresume, open_requests
from asterism.core.numbers import raise_number_faults, seconds_faults
from asterism.core.values import log_failure
from asterism.errors import (
    AsterismError,
    ConfigurationError,
    NothingPendingError,
    ThreadBusyError,
    UnknownRequestError,
)
from asterism.graphs.workflow import Workflow
from asterism.storage.transactions import Transactions, transactions_of

NOTHING: Any = object()
"""No default: the question stays open after its deadline."""
THREADS = 1_000
"""How many of the latest threads a pass looks at."""
TRIES = 3
"""How often a webhook is called before the next pass tries again."""
_log = logging.getLogger(__name__)

_CLAIM = """
INSERT INTO asterism_notices (thread_id, request, step, at) VALUES (?, ?, ?, ?)
ON CONFLICT (thread_id, request, step) DO NOTHING RETURNING at
"""
_READ = "SELECT step, at FROM asterism_notices WHERE thread_id = ? AND request = ?"
_UNCLAIM = "DELETE FROM asterism_notices WHERE thread_id = ? AND request = ? AND step = ?"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What somebody is to be sent of a question."""

    kind: Literal["asked", "reminder", "escalated", "default"]
    """A first notice, a reminder, a notice to the next person, or word that the default counts."""
    to: str
    thread: str
    request: PendingRequest
    seconds: float
    """How long the question has been open."""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        facts = {"kind": self.kind, "to": self.to, "thread": self.thread, "seconds": self.seconds}
        return {**facts, "request": self.request.as_json()}


Notify = Callable[[Notice], Awaitable[None] | None]
"""Sends a notice, sync or async; one that raises is sent again by the next pass."""


@dataclass(frozen=True, kw_only=True)
class QuestionClock:
    """Who is asked a question, when others are, and what counts when nobody answers.

    Args:
        to: Who is asked: a name that `notify` understands.
        remind_every: Seconds between reminders to whoever was asked last.
        escalate: Who else is asked, each after so many seconds: `[(7_200, "bob")]`.
        deadline: Seconds after which the default is the answer. None: there is none.
        default: The answer then, or a function of the request that returns it.
        applies: Whether it is for a request; None: for all.

    Raises:
        ConfigurationError: A time is not allowed, or only one of deadline and default is given.
    """

    to: str
    remind_every: float | None = None
    escalate: Sequence[tuple[float, str]] = ()
    deadline: float | None = None
    default: Any = NOTHING
    applies: Callable[[PendingRequest], bool] | None = None

    def __post_init__(self) -> None:
        faults: list[str] = []
        for name in ("remind_every", "deadline"):
            if (value := getattr(self, name)) is not None:
                faults += seconds_faults(name, value, above_zero=True)
        for seconds, name in self.escalate:
            faults += seconds_faults(f"escalate to {name!r}", seconds, above_zero=True)
        if (self.deadline is None) != (self.default is NOTHING):
            faults.append("deadline and default go together: give both, or none")
        raise_number_faults(faults, ConfigurationError)

    def people(self, seconds: float) -> list[str]:
        """Return who is asked by the time that a question is so many seconds old."""
        later = sorted(self.escalate)
        return [self.to, *(name for after, name in later if seconds >= after)]

    def answer(self, request: PendingRequest) -> Any:
        """Return the default answer to a request."""
        return self.default(request) if callable(self.default) else self.default


async def acheck_questions(
    workflow: Workflow[Any],
    clock: QuestionClock | Sequence[QuestionClock],
    notify: Notify,
    *,
    now: Callable[[], float] = time.time,
    limit: int = THREADS,
) -> list[Notice]:
    """Make one pass over the open questions of a workflow: notify, escalate, take the default.

    Args:
        workflow: The workflow, built with a checkpointer.
        clock: The clock; of several, the first that applies to a request.
        notify: Sends a notice.
        now: Returns the seconds since 1970.
        limit: How many of the latest threads are looked at.

    Returns:
        The notices that were sent.
    """
    saver = cast(Any, workflow.checkpointer)
    if saver is None or isinstance(saver, bool):
        raise ConfigurationError("questions are stored: build the workflow with a checkpointer")
    clocks = [clock] if isinstance(clock, QuestionClock) else [*clock]
    keeper = _Pass(workflow, transactions_of(saver), notify, now)
    for thread in await asyncio.to_thread(latest_threads, saver, limit):
        try:
            await keeper.check_thread(thread, clocks)
        except AsterismError as error:
            log_failure(_log, "the questions of %s cannot be read", thread, error=error)
    await keeper.answer_all()
    return keeper.sent


async def awatch_questions(
    workflow: Workflow[Any],
    clock: QuestionClock | Sequence[QuestionClock],
    notify: Notify,
    *,
    poll: float = 30.0,
) -> None:
    """Make a pass every `poll` seconds until it is cancelled; see `acheck_questions`."""
    while True:
        try:
            await acheck_questions(workflow, clock, notify)
        except Exception as error:  # noqa: BLE001 - the next pass may do
            log_failure(_log, "a pass over the open questions failed", error=error)
        await asyncio.sleep(poll)


_Due = tuple[PendingRequest, QuestionClock, float]
"""A question, its clock, and its age in seconds."""


@dataclass
class _Pass:
    """One pass over the open questions."""

    workflow: Workflow[Any]
    transactions: Transactions
    notify: Notify
    now: Callable[[], float]
    sent: list[Notice] = field(default_factory=list[Notice])
    due: dict[str, list[_Due]] = field(default_factory=dict[str, list[_Due]])
    """The questions whose defaults are to be taken, by thread."""

    async def check_thread(self, thread: str, clocks: Sequence[QuestionClock]) -> None:
        config: RunnableConfig = {"configurable": {"thread_id": thread}}
        state: StateSnapshot = await self.workflow.aget_state(config, subgraphs=True)
        for request in open_requests(state):
            for clock in clocks:
                if clock.applies is None or clock.applies(request):
                    await self._check(thread, request, clock, state.created_at)
                    break

    async def _check(
        self, thread: str, request: PendingRequest, clock: QuestionClock, stored: str | None
    ) -> None:
        now = self.now()
        rows = await self._run(_READ, thread, request.id)
        steps = {str(row["step"]): float(row["at"]) for row in rows}
        asked = steps.get("asked")
        if asked is None:
            asked = datetime.fromisoformat(stored).timestamp() if stored else now
        age = now - asked
        if clock.deadline is not None and age >= clock.deadline:
            self.due.setdefault(thread, []).append((request, clock, age))
            return
        people = clock.people(age)
        for place, name in enumerate(people):
            step = "asked" if place == 0 else f"escalated to {name}"
            if step not in steps:
                kind, steps[step] = ("asked", asked) if place == 0 else ("escalated", now)
                await self._send(thread, request, step, kind, name, age, steps[step])
        last = max(at for step, at in steps.items() if not step.startswith("remind"))
        if clock.remind_every is not None and now - last >= clock.remind_every:
            step = f"remind {people[-1]} {(now - last) // clock.remind_every:.0f}"
            if step not in steps:
                await self._send(thread, request, step, "reminder", people[-1], age, now)

    async def _send(
        self,
        thread: str,
        request: PendingRequest,
        step: str,
        kind: Any,
        to: str,
        age: float,
        at: float,
    ) -> None:
        """Send a notice, unless another process has; one that cannot be sent is due again."""
        if not await self._run(_CLAIM, thread, request.id, step, at):
            return
        notice = Notice(kind=kind, to=to, thread=thread, request=request, seconds=round(age, 3))
        try:
            done = self.notify(notice)
            if isawaitable(done):
                await done
        except BaseException as error:
            await self._run(_UNCLAIM, thread, request.id, step)
            if not isinstance(error, Exception):
                raise
            log_failure(_log, "a notice to %s of thread %s was not sent", to, thread, error=error)
            return
        self.sent.append(notice)

    async def answer_all(self) -> None:
        """Take the defaults that are due; of a thread that somebody drives, in the next pass."""
        await asyncio.gather(*(self._answer(thread, due) for thread, due in self.due.items()))

    async def _answer(self, thread: str, due: Sequence[_Due]) -> None:
        """Answer questions of a thread by their defaults; whoever was asked last is told."""
        answers = {request.id: clock.answer(request) for request, clock, _ in due}
        try:
            await aresume(self.workflow, thread, answers)
        except (NothingPendingError, ThreadBusyError, UnknownRequestError):
            return  # somebody answers just now
        except Exception as error:  # noqa: BLE001 - the other threads have answers, too
            log_failure(_log, "the default of thread %s was not taken", thread, error=error)
            return
        for request, clock, age in due:
            to = clock.people(age)[-1]
            await self._send(thread, request, "default", "default", to, age, self.now())

    async def _run(self, query: str, *values: Any) -> Any:
        return await asyncio.to_thread(
            self.transactions.run, lambda execute: execute(query, *values)
        )


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Sends notices as JSON to a URL, signed.

    The header `X-Asterism-Signature` is `sha256=` and the HMAC of the time in the header
    `X-Asterism-Time`, a full stop and the body. A failure is tried again three times, and by the
    next pass.

    Args:
        url: Where to send them; `https`, or `http` to this machine.
        secret: What they are signed with, of 16 characters or more.
        hosts: The hosts that may be called; the URL comes from a configuration that others write.
        timeout: Seconds that a call may take.

    Raises:
        ConfigurationError: The URL or the secret is not allowed.
    """

    url: str
    secret: str = field(repr=False)
    hosts: Sequence[str] = ()
    timeout: float = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise ConfigurationError(
                f"the webhook's URL has the scheme {parts.scheme!r}; allowed: https, or http to "
                "this machine"
            )
        if self.hosts and parts.hostname not in self.hosts:
            allowed = ", ".join(self.hosts)
            raise ConfigurationError(f"the host {parts.hostname!r} is not allowed: {allowed}")
        if len(self.secret) < 16:
            raise ConfigurationError("the webhook's secret has less than 16 characters")

    async def __call__(self, notice: Notice) -> None:
        """Send a notice."""
        import httpx

        body = json.dumps(notice.as_json(), ensure_ascii=False, default=str).encode()
        when = str(int(time.time()))
        signed = hmac.new(self.secret.encode(), f"{when}.".encode() + body, hashlib.sha256)
        headers = {
            "content-type": "application/json",
            "x-asterism-time": when,
            "x-asterism-signature": f"sha256={signed.hexdigest()}",
        }
        async with httpx.AsyncClient(timeout=self.timeout) as client:
            for again in range(TRIES, -1, -1):
                try:
                    answer = await client.post(self.url, content=body, headers=headers)
                    answer.raise_for_status()
                    return
                except httpx.HTTPError:
                    if not again:
                        raise
                await asyncio.sleep(0.2 * 2 ** (TRIES - again))
