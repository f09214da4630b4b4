"""The fold of policies around a visit: the one place where they act.

Calls that are tried again when their failure can pass.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from asterism.core.state import Report
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.thread_lease import WriteFence
from asterism.core.usage import UsageEntry
from asterism.core.values import describe_error
from asterism.errors import AbandonedError, AgentTimeoutError, BudgetExceededError
from asterism.events import WorkflowEventType, emit
from asterism.limits.circuit_breaker import CircuitBreaker, CircuitState, Permit
from asterism.limits.failure_policies import (
    ENDLESS,
    AskPerson,
    Compensation,
    Delegate,
    FailureKind,
    Policy,
    Timeout,
    UndoAll,
    UseCached,
    failure_kind,
    next_delay,
    should_retry,
)
from asterism.nodes.engine_keys import with_write_fence

_log = logging.getLogger(__name__)

T = TypeVar("T")

OnRetry = Callable[[Exception, float], None]
"""Is told of what failed, and how many seconds later it is tried again."""

Sleep = tuple[Callable[[float], Any], Callable[[float], Awaitable[Any]]]
"""Waits a number of seconds, in sync and in async."""

SLEEP: Sleep = (time.sleep, asyncio.sleep)


def single_call(call: Call) -> Steps[Any]:
    """Make one call."""
    return (yield call)


def call_with_retry(
    make: Callable[[], Steps[T]],
    policy: RetryPolicy,
    *,
    sleep: Sleep = SLEEP,
    on_retry: OnRetry | None = None,
) -> Steps[T]:
    """Take steps, and again after a wait as long as a policy allows it.

    Args:
        make: Begins to take them.
        policy: How often, how long to wait, and after which errors.
        sleep: Waits.
        on_retry: Is told before each wait.

    Raises:
        Exception: What the last attempt raised. Interrupts are passed on at once.
    """
    for attempt in range(1, policy.max_attempts + 1):
        try:
            return (yield from make())
        except (GraphBubbleUp, AbandonedError, BudgetExceededError, *ENDLESS):
            raise
        except Exception as error:
            if attempt >= policy.max_attempts or not should_retry(policy, error):
                raise
            seconds = next_delay(policy, attempt, error)
            words = "attempt %d of %d failed, the next one follows in %.1f s: %s"
            _log.info(words, attempt, policy.max_attempts, seconds, describe_error(error))
            if on_retry is not None:
                on_retry(error, seconds)
        yield Call(*sleep, (seconds,))
    raise AssertionError("a policy allows at least one attempt")


def emit_retry(config: RunnableConfig, error: Exception, seconds: float, **facts: Any) -> None:
    """Tell the event bus of a run that what failed is tried again after some seconds."""
    failure = {"kind": failure_kind(error), "error": describe_error(error)}
    emit(config, WorkflowEventType.RETRIED, **failure, seconds=seconds, **facts)


CANCEL_GRACE_SECONDS = 1.0
"""Seconds that an async attempt which was cancelled may take to clear up."""


CIRCUIT_EVENTS: Mapping[CircuitState, WorkflowEventType] = {
    "open": WorkflowEventType.BREAKER_OPENED,
    "half_open": WorkflowEventType.BREAKER_HALF_OPEN,
    "closed": WorkflowEventType.BREAKER_CLOSED,
}
"""What is told when a circuit gets into a state."""


@dataclass
class AttemptCounter:
    """Counts the attempts of a visit."""

    taken: int = 0
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the latest one has come to, where nothing is stored."""
    lines: list[UsageEntry] = field(default_factory=list[UsageEntry])
    """What the latest one of a workflow has counted for itself, where nothing is stored."""
    breach: dict[str, Any] | None = None
    """The facts of the budget of the workflow that the latest one has used up."""


@dataclass(frozen=True, kw_only=True)
class AttemptContext:
    """What an attempt of a visit is given."""

    config: RunnableConfig
    """The config of the node that makes the visit."""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Entries of `configurable` that the participant's run gets besides or instead."""
    resumes: bool = False
    """Whether the visit may have begun before."""
    attempts: AttemptCounter = field(default_factory=AttemptCounter)
    about: dict[str, Any] = field(default_factory=dict[str, Any])
    """What events say of the visit."""
    turn: dict[str, Any] = field(default_factory=dict[str, Any])
    """How the turn of a participant with a grant has ended: its state, `messages` the new ones."""


AttemptFunction = Callable[[AttemptContext], Steps[Report]]
"""Makes one attempt, or several, of a visit."""


def apply_policies(
    policies: Sequence[Policy], attempt: AttemptFunction, service: str, *, sleep: Sleep = SLEEP
) -> AttemptFunction:
    """Put policies around an attempt, the first one outermost.

    Args:
        policies: What acts on failures that are raised.
        attempt: What they act on.
        service: The key of circuit breakers that name no service themselves.
        sleep: Waits between attempts.
    """
    for policy in reversed(policies):
        if isinstance(policy, RetryPolicy):
            attempt = _attempt_with_retries(policy, attempt, sleep)
        elif isinstance(policy, Timeout):
            attempt = _attempt_with_timeout(policy, attempt)
        elif isinstance(policy, CircuitBreaker):
            attempt = _attempt_with_breaker(policy, attempt, service)
    return attempt


def apply_compensation(report: Report, policies: Sequence[Policy]) -> Report:
    """Make up for a failure, or note in the report what does."""
    kind = report.get("kind")
    for policy in policies:
        if not isinstance(policy, Compensation):
            continue
        action = policy.actions.get(cast(FailureKind, kind))
        if isinstance(action, UseCached):
            report["status"], report["text"] = "ok", action.text
            report["compensation"] = {"action": "use_cached"}
        elif isinstance(action, Delegate):
            report["compensation"] = {"action": "delegate", "to": action.to}
        elif isinstance(action, AskPerson):
            report["compensation"] = {"action": "ask_person", "prompt": action.prompt}
        elif isinstance(action, UndoAll):
            report["compensation"] = {"action": "undo_all"}
    return report


def _attempt_with_retries(
    policy: RetryPolicy, attempt: AttemptFunction, sleep: Sleep
) -> AttemptFunction:
    def retrying(this: AttemptContext) -> Steps[Report]:
        def failed(error: Exception, seconds: float) -> None:
            emit_retry(this.config, error, seconds, attempts=this.attempts.taken, **this.about)

        return call_with_retry(lambda: attempt(this), policy, sleep=sleep, on_retry=failed)

    return retrying


def _attempt_with_breaker(
    breaker: CircuitBreaker, attempt: AttemptFunction, service: str
) -> AttemptFunction:
    def guarded(this: AttemptContext) -> Steps[Report]:
        permit = breaker.admit(service)
        try:
            _emit_circuit_state(this, permit, breaker.service or service)
            report = yield from attempt(this)
        except (GraphBubbleUp, BudgetExceededError, *ENDLESS):
            raise
        except Exception as error:
            permit.record_failure(error)
            _emit_circuit_state(this, permit, breaker.service or service)
            raise
        else:
            permit.record_success()
            _emit_circuit_state(this, permit, breaker.service or service)
            return report
        finally:
            permit.release()  # interrupts and cancellations; settled permits ignore it

    return guarded


def _emit_circuit_state(this: AttemptContext, permit: Permit, service: str) -> None:
    """Tell of the state that a call has brought a circuit into."""
    if permit.turned is not None:
        emit(this.config, CIRCUIT_EVENTS[permit.turned], service=service)


def _attempt_with_timeout(limit: Timeout, attempt: AttemptFunction) -> AttemptFunction:
    def limited(this: AttemptContext) -> Steps[Report]:
        fence = WriteFence()
        inside = replace(this, **with_write_fence(this.config, this.overrides, fence))
        steps = partial(attempt, inside)
        report: Report = yield Call(
            _run_with_deadline_in_thread, _run_with_deadline_in_task, (steps, limit.seconds, fence)
        )
        return report

    return limited


def _retrieve_task_error(task: asyncio.Task[Report]) -> bool:
    """Whether a task that was cancelled has ended; what it raised is of no use any more."""
    return task.done() and (task.cancelled() or task.exception() is not None or True)


def _run_with_deadline_in_thread(
    steps: Callable[[], Steps[Report]], seconds: float, fence: WriteFence
) -> Report:
    """Run steps in a thread of their own, and leave them alone when their time is over."""
    done: Future[Report] = Future()

    def drive() -> None:
        try:
            done.set_result(run_steps(steps()))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is read
            done.set_exception(error)

    thread = threading.Thread(target=copy_context().run, args=(drive,), daemon=True)
    thread.start()
    try:
        return done.result(seconds)
    except FutureTimeout:
        if done.done():
            raise
        fence.close()
        fence.wait_for_writes()
        raise AgentTimeoutError(
            f"it gave no answer within {seconds:g} s; its thread cannot be stopped and was "
            "abandoned, and nothing that it still does is kept"
        ) from None
    except BaseException:
        fence.close()
        raise


async def _run_with_deadline_in_task(
    steps: Callable[[], Steps[Report]], seconds: float, fence: WriteFence
) -> Report:
    """Run steps in a task of their own, and cancel them when their time is over."""
    task = asyncio.ensure_future(arun_steps(steps()))
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_GRACE_SECONDS)
        _retrieve_task_error(task)
        fence.close()
        raise
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_GRACE_SECONDS)
    fence.close()
    how = (
        "cancelled"
        if _retrieve_task_error(task)
        else "abandoned, because it does not let itself be cancelled"
    )
    raise AgentTimeoutError(f"it gave no answer within {seconds:g} s and was {how}")
