"""Failure policies around an attempt of a visit: retries, timeout, circuit breaker, compensation.

Open it to see what happens between a failure and the next attempt; the policies themselves are
in asterism/limits/failure_policies.py. Tests: tests/graphs/test_failures.py.
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
from types import MappingProxyType
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from asterism.core.state import Report
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.thread_lease import WriteFence
from asterism.core.values import describe_error, log_failure
from asterism.errors import AbandonedError, AgentTimeoutError, BudgetExceededError
from asterism.events import WorkflowEventType, emit
from asterism.limits.circuit_breaker import CircuitBreaker, CircuitState, Permit
from asterism.limits.failure_policies import (
    ENDLESS,
    AskPerson,
    Compensation,
    Delegate,
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

OnRetry = Callable[[Exception, float], None]
"""A function that is called with the failure and the seconds until the next attempt."""

Sleep = tuple[Callable[[float], Any], Callable[[float], Awaitable[Any]]]
"""Waits a number of seconds, in sync and in async."""

SLEEP: Sleep = (time.sleep, asyncio.sleep)


def call_with_retry(
    make: Call | Callable[[], Steps[Any]],
    policy: RetryPolicy,
    *,
    sleep: Sleep = SLEEP,
    on_retry: OnRetry | None = None,
) -> Steps[Any]:
    """Make a call or run steps, and do it again after a wait as long as a policy allows it.

    Args:
        make: The call, or a function that creates the steps of one attempt.
        policy: The number of attempts, the waits, and the errors that are retried.
        sleep: Waits a number of seconds.
        on_retry: Is told before each wait.

    Raises:
        Exception: What the last attempt raised. Interrupts are passed on at once.
    """
    for attempt in range(1, policy.max_attempts + 1):
        try:
            return (yield make) if isinstance(make, Call) else (yield from make())
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
"""The event of each state that a circuit gets into."""


@dataclass(frozen=True, kw_only=True)
class AttemptContext:
    """The input of an attempt; a timeout passes a fenced copy on."""

    config: RunnableConfig
    """The config of the node that makes the visit."""
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Entries of `configurable` that the participant's run gets besides or instead."""


class VisitResult(NamedTuple):
    """The result of a visit, or of an attempt of it."""

    report: Report
    state: Mapping[str, Any] = MappingProxyType({})
    """The state at the end of the turn, for a participant with a grant: `messages` the new ones."""
    update: Mapping[str, Any] = MappingProxyType({})
    """The update of the workflow's state besides the report, once the visit is over."""
    breach: dict[str, Any] | None = None
    """The facts of the workflow's budget that the visit has used up."""


Attempt = Callable[[AttemptContext], Steps[VisitResult]]
"""A function that makes one attempt, or several, of a visit."""


def apply_policies(
    policies: Sequence[Policy], attempt: Attempt, service: str, on_retry: OnRetry
) -> Attempt:
    """Put policies around an attempt, the first one outermost.

    Args:
        policies: The policies of the participant.
        attempt: The attempt.
        service: The key of circuit breakers that name no service themselves.
        on_retry: Is told before each wait for another attempt.
    """
    for policy in reversed(policies):
        if isinstance(policy, RetryPolicy):
            attempt = RetryingAttempt(policy, attempt, on_retry)
        elif isinstance(policy, Timeout):
            attempt = TimedAttempt(policy, attempt)
        elif isinstance(policy, CircuitBreaker):
            attempt = GuardedAttempt(policy, attempt, service)
    return attempt


def apply_compensation(report: Report, policies: Sequence[Policy]) -> Report:
    """Make up for a failure, or note in the report what does."""
    kind: Any = report.get("kind")
    for policy in policies:
        if not isinstance(policy, Compensation):
            continue
        action = policy.actions.get(kind)
        if isinstance(action, UseCached):
            try:
                report["text"] = action.read()
            except GraphBubbleUp:
                raise
            except Exception as error:  # noqa: BLE001 - the failure that it was to make up for stays
                log_failure(_log, "the compensation of %s failed", kind, error=error)
                return report
            report["status"], report["compensation"] = "ok", {"action": "use_cached"}
        elif isinstance(action, Delegate):
            report["compensation"] = {"action": "delegate", "to": action.to}
        elif isinstance(action, AskPerson):
            report["compensation"] = {"action": "ask_person", "prompt": action.prompt}
        elif isinstance(action, UndoAll):
            report["compensation"] = {"action": "undo_all"}
    return report


@dataclass(frozen=True)
class RetryingAttempt:
    """An attempt that is made again as long as a retry policy allows it."""

    policy: RetryPolicy
    attempt: Attempt
    on_retry: OnRetry

    def __call__(self, context: AttemptContext) -> Steps[VisitResult]:
        """Make the attempt, and further ones after failures."""
        make = partial(self.attempt, context)
        return call_with_retry(make, self.policy, on_retry=self.on_retry)


@dataclass(frozen=True)
class GuardedAttempt:
    """An attempt that a circuit breaker admits, and whose end it counts."""

    breaker: CircuitBreaker
    attempt: Attempt
    service: str

    def __call__(self, context: AttemptContext) -> Steps[VisitResult]:
        """Make the attempt if the circuit is closed, or half open and this is its trial."""
        permit = self.breaker.admit(self.service)
        try:
            self._emit_change(context, permit)
            result = yield from self.attempt(context)
        except (GraphBubbleUp, BudgetExceededError, *ENDLESS):
            raise
        except Exception as error:
            permit.record_failure(error)
            self._emit_change(context, permit)
            raise
        else:
            permit.record_success()
            self._emit_change(context, permit)
            return result
        finally:
            permit.release()  # interrupts and cancellations; settled permits ignore it

    def _emit_change(self, context: AttemptContext, permit: Permit) -> None:
        """Emit the state that a call has brought the circuit into."""
        if permit.turned is not None:
            service = self.breaker.service or self.service
            emit(context.config, CIRCUIT_EVENTS[permit.turned], service=service)


@dataclass(frozen=True)
class TimedAttempt:
    """An attempt that is cancelled or abandoned after a timeout; its later writes are rejected."""

    limit: Timeout
    attempt: Attempt

    def __call__(self, context: AttemptContext) -> Steps[VisitResult]:
        """Make the attempt in a thread or task of its own."""
        fence = WriteFence()
        fenced = replace(context, **with_write_fence(context.config, context.overrides, fence))
        steps = partial(self.attempt, fenced)
        result: VisitResult = yield Call(
            _run_with_deadline_in_thread,
            _run_with_deadline_in_task,
            (steps, self.limit.seconds, fence),
        )
        return result


def _has_ended(task: asyncio.Task[VisitResult]) -> bool:
    """Whether a task that was cancelled has ended; its error is retrieved and dropped."""
    if not task.done():
        return False
    if not task.cancelled():
        task.exception()  # marks it as retrieved, so asyncio does not log it
    return True


def _run_with_deadline_in_thread(
    steps: Callable[[], Steps[VisitResult]], seconds: float, fence: WriteFence
) -> VisitResult:
    """Run steps in a thread of their own, and leave them alone when their time is over."""
    done: Future[VisitResult] = Future()

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
    steps: Callable[[], Steps[VisitResult]], seconds: float, fence: WriteFence
) -> VisitResult:
    """Run steps in a task of their own, and cancel them when their time is over."""
    task = asyncio.ensure_future(arun_steps(steps()))
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_GRACE_SECONDS)
        _has_ended(task)
        fence.close()
        raise
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=CANCEL_GRACE_SECONDS)
    fence.close()
    how = (
        "cancelled"
        if _has_ended(task)
        else "abandoned, because it does not let itself be cancelled"
    )
    raise AgentTimeoutError(f"it gave no answer within {seconds:g} s and was {how}")
