"""Calls that are tried again when their failure can pass."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.types import RetryPolicy

from asterism.core.sync_async import Call, Steps
from asterism.core.values import describe_error
from asterism.errors import AbandonedError, BudgetExceededError
from asterism.events import WorkflowEventType, emit
from asterism.limits.failure_policies import ENDLESS, failure_kind, next_delay, should_retry

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
