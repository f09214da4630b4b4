"""Questions with a clock: who is asked, reminded and asked next, and what counts without an answer.

A pass over the open questions of a database does what is due; any number of processes may make
passes, and each step is taken once. Nothing runs between passes: what became due while no process
ran is done by the first one that starts.
Tests: tests/asterism/apps/test_question_clock.py, tests/asterism/apps/test_timers.py.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateSnapshot

from asterism.apps.stored_threads import latest_threads
from asterism.core.interrupts import PendingRequest, aresume, open_requests
from asterism.core.numbers import raise_number_faults, seconds_faults
from asterism.core.timers import EVENT, TIMER, check_token
from asterism.core.values import as_dict, log_failure
from asterism.errors import (
    ConfigurationError,
    NothingPendingError,
    ThreadBusyError,
    UnknownRequestError,
)
from asterism.graphs.workflow import Workflow
from asterism.graphs.workflow_config import TEAM
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
_SIGNAL = """
INSERT INTO asterism_events (token, value, at) VALUES (?, ?, ?)
ON CONFLICT (token) DO UPDATE SET value = excluded.value, at = excluded.at
"""
_HEARD = "SELECT value, at FROM asterism_events WHERE token = ?"
_TAKEN = "DELETE FROM asterism_events WHERE token = ? AND at = ?"
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
    clock: QuestionClock | Sequence[QuestionClock] = (),
    notify: Notify | None = None,
    *,
    now: Callable[[], float] = time.time,
    limit: int = THREADS,
) -> list[Notice]:
    """Make one pass over the open questions of a workflow: notify, escalate, take the default.

    Timers that are over and events that have arrived let their runs go on.

    Args:
        workflow: The workflow, built with a checkpointer.
        clock: The clock; of several, the first that applies to a request. Without one, timers and
            events are seen to alone.
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
    keeper = _Pass(workflow, transactions_of(saver), notify or (lambda _: None), now)
    for thread in await asyncio.to_thread(latest_threads, saver, limit):
        try:
            await keeper.check_thread(thread, clocks)
        except Exception as error:  # noqa: BLE001 - the other threads have questions, too
            log_failure(_log, "the questions of thread %s were not seen to", thread, error=error)
    await keeper.answer_all()
    return keeper.sent


async def awatch_questions(
    workflow: Workflow[Any],
    clock: QuestionClock | Sequence[QuestionClock] = (),
    notify: Notify | None = None,
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


async def asignal(workflow: Workflow[Any], token: str, value: Any) -> None:
    """Send an event from outside to whoever waits for it now, or will.

    It is stored first, so it is not lost where nobody waits yet; a second one with the same token
    takes the place of the first until that is taken in.

    Args:
        workflow: The workflow, built with a checkpointer.
        token: What the event is called; see `wait_for_event`.
        value: A JSON value.

    Raises:
        ConfigurationError: The token is not allowed, or the value is no JSON.
    """
    await asyncio.to_thread(store_event, transactions_of(workflow.checkpointer), token, value)
    await acheck_questions(workflow)


def store_event(transactions: Transactions, token: str, value: Any) -> None:
    """Store an event for the next pass over the questions; see `asignal`."""
    check_token(token)
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the value of an event is no JSON: {error}") from error
    transactions.run(lambda execute: execute(_SIGNAL, token, text, time.time()))


_ENGINE_LABELS: Sequence[str] = ("source", "step", "parents", "thread_id", "run_id", "writes", TEAM)

_Step = Callable[[], Awaitable[Any]]
"""What is done once an answer was given."""


@dataclass
class _Pass:
    """One pass over the open questions."""

    workflow: Workflow[Any]
    transactions: Transactions
    notify: Notify
    now: Callable[[], float]
    sent: list[Notice] = field(default_factory=list[Notice])
    configs: dict[str, RunnableConfig] = field(default_factory=dict[str, RunnableConfig])
    """What a thread goes on with: whom it is for, and its labels, as it was begun."""
    answers: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """The answers that are due, by thread and request."""
    after: dict[str, list[_Step]] = field(default_factory=dict[str, list[_Step]])
    """What is sent and deleted once they are given."""

    async def check_thread(self, thread: str, clocks: Sequence[QuestionClock]) -> None:
        config: RunnableConfig = {"configurable": {"thread_id": thread}}
        state: StateSnapshot = await self.workflow.aget_state(config, subgraphs=True)
        if as_dict(state.metadata).get(TEAM, self.workflow.facts.id) != self.workflow.facts.id:
            return  # of another workflow on this database
        labels = {k: v for k, v in as_dict(state.metadata).items() if k not in _ENGINE_LABELS}
        self.configs[thread] = {
            "configurable": {**labels, "thread_id": thread},
            "metadata": labels,
        }
        for request in open_requests(state):
            if request.request_type in (TIMER, EVENT):
                await self._check_wait(thread, request)
                continue
            for clock in clocks:
                if clock.applies is None or clock.applies(request):
                    await self._check(thread, request, clock, state.created_at)
                    break

    async def _check_wait(self, thread: str, request: PendingRequest) -> None:
        """Note the answer to a timer or a wait for an event, where it is due."""
        facts = as_dict(request.value)
        until = facts.get("until")
        token = str(facts.get("token") or "")
        found = await self._run(_HEARD, token) if request.request_type == EVENT else []
        if found:
            self._give(thread, request, {"value": json.loads(str(found[0]["value"]))})
            self.after[thread].append(partial(self._run, _TAKEN, token, float(found[0]["at"])))
        elif until and self.now() >= datetime.fromisoformat(str(until)).timestamp():
            at = datetime.fromtimestamp(self.now(), UTC).isoformat()
            self._give(thread, request, {"at": at})

    def _give(self, thread: str, request: PendingRequest, answer: Any) -> None:
        self.answers.setdefault(thread, {})[request.id] = answer
        self.after.setdefault(thread, [])

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
            self._give(thread, request, clock.answer(request))
            sent = (thread, request, "default", "default", clock.people(age)[-1], age, now)
            self.after[thread].append(partial(self._send, *sent))
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
        """Give the answers that are due; of a thread that somebody drives, in the next pass."""
        await asyncio.gather(*(self._answer(thread) for thread in self.answers))

    async def _answer(self, thread: str) -> None:
        """Give the answers of a thread, and say so to whoever was asked last."""
        try:
            await aresume(self.workflow, self.configs[thread], self.answers[thread])
        except (NothingPendingError, ThreadBusyError, UnknownRequestError):
            return  # somebody answers just now
        except Exception as error:  # noqa: BLE001 - the other threads have answers, too
            log_failure(_log, "the answer of thread %s was not taken", thread, error=error)
            return
        for step in self.after[thread]:
            await step()

    async def _run(self, query: str, *values: Any) -> list[Mapping[str, Any]]:
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
