"""What becomes of a job that did not come to its end."""

import asyncio
from typing import Any

from asterism.errors import (
    AnswerError,
    ChildFailedError,
    ChildKilledError,
    ConfigurationError,
    InvalidRequestError,
    ThreadBusyError,
    UnknownParticipantError,
    WorkflowBuildError,
)
from asterism.workers.children import NOT_ITS_FAULT, RequeueJobError
from asterism.workers.manager import PARKED

MOST_TRIES = 8
"""How often a job is tried that fails before its run begins, or kills its workers."""

HOPELESS = (
    AnswerError,
    ChildFailedError,
    ChildKilledError,
    ConfigurationError,
    InvalidRequestError,
    UnknownParticipantError,
    WorkflowBuildError,
)
"""Failures that come again every time, and ends that are for good."""


def requeue_delay(error: BaseException, tries: int, lease: float) -> float | None:
    """Return in how many seconds a job is tried again, or None where it is over."""
    if isinstance(error, RequeueJobError):
        return error.seconds
    if isinstance(error, HOPELESS):
        return None
    if isinstance(error, ThreadBusyError):  # its last worker may be stopped, and have the lease
        return lease / 2
    if isinstance(error, (*NOT_ITS_FAULT, asyncio.CancelledError)):
        return 0.0
    return None if tries + 1 >= MOST_TRIES else float(2**tries)


def outcome_of_failure(error: BaseException, *, again: bool) -> str:
    """Say in a word what came of a job that did not come to its end."""
    if isinstance(error, ChildKilledError):
        return "killed"
    if isinstance(error, RequeueJobError) and error.seconds is None:
        return "paused"
    handed = isinstance(error, RequeueJobError) and not error.failed
    if handed or isinstance(error, (*NOT_ITS_FAULT, asyncio.CancelledError)):
        return "stopped"
    return "retry" if again else "failed"


def strategy(lease: float) -> Any:
    """Say to the queue when a job is tried again."""
    from procrastinate import BaseRetryStrategy, RetryDecision

    class _Strategy(BaseRetryStrategy):
        def get_retry_decision(self, *, exception: BaseException, job: Any) -> Any:
            pause = requeue_delay(exception, job.attempts, lease)
            if pause is None and isinstance(exception, RequeueJobError):
                return RetryDecision(retry_at=PARKED)
            if pause is None:
                return None
            return RetryDecision(retry_in={"milliseconds": int(pause * 1000)})

    return _Strategy()
