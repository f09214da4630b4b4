"""Policies for failures: retry, timeout, compensation; and which failures are worth a retry.

A participant, a team or a workflow takes a list of them, first = outermost. A policy of a
participant takes the place of the workflow's policy of the same kind.
"""

import inspect
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal, cast

from langgraph.errors import GraphRecursionError, NodeCancelledError, NodeTimeoutError
from langgraph.types import RetryPolicy

from asterism.core.numbers import raise_number_faults, seconds_faults
from asterism.errors import (
    BudgetExceededError,
    CircuitOpenError,
    ConsensusFailedError,
    RemoteFailedError,
    StalledError,
)
from asterism.limits.circuit_breaker import CircuitBreaker

_PASSING_STATUS = frozenset({408, 409, 425, 429})
_PASSING_NAMES = frozenset(
    {
        "APIConnectionError",  # openai, anthropic
        "APITimeoutError",
        "TransportError",  # httpx, httpx2
        "ServiceUnavailable",  # google
        "DeadlineExceeded",
        "ResourceExhausted",
        "EndpointConnectionError",  # botocore
        "ReadTimeoutError",
    }
)
_API_NAMES = _PASSING_NAMES | {
    "APIError",  # openai, anthropic
    "HTTPError",  # httpx, requests
    "ClientError",  # botocore, google
    "RemoteError",  # ours
}
_NO_QUOTA = "insufficient_quota"


def can_pass(error: BaseException) -> bool:
    """Whether the same call may succeed a little later.

    Time-outs, lost connections, answers that are cut off, 408, 409, 425, 429 and 5xx may pass;
    a bad key, a bad request, a used-up quota and errors in one's own code do not.
    """
    if isinstance(error, ConnectionError | TimeoutError | json.JSONDecodeError):
        return True
    status = status_of(error)
    if status is not None:
        if getattr(error, "code", None) == _NO_QUOTA:
            return False
        return status in _PASSING_STATUS or status >= 500
    return any(kind.__name__ in _PASSING_NAMES for kind in type(error).__mro__)


def is_api_error(error: BaseException) -> bool:
    """Whether a model's or a service's interface raised an error, passing or not."""
    if isinstance(error, ConnectionError) or status_of(error) is not None:
        return True
    return any(kind.__name__ in _API_NAMES for kind in type(error).__mro__)


MODEL_RETRY = RetryPolicy(
    initial_interval=0.5, max_interval=20.0, max_attempts=3, retry_on=can_pass
)
"""How the workflow's own model calls are retried, on top of what the provider's client does."""


_DEFAULT: Any = RetryPolicy().retry_on


AGENT_RETRY = RetryPolicy(
    initial_interval=1.0, backoff_factor=2.0, max_attempts=4, retry_on=Exception
)
"""How the visit of a participant is tried again where retries are asked for without a policy."""


def should_retry(policy: RetryPolicy, error: BaseException) -> bool:
    """Whether a policy retries after an error."""
    on: Any = policy.retry_on
    if on is _DEFAULT and isinstance(error, TimeoutError):
        return True  # the engine's own time-outs are retried by default, too
    if isinstance(on, type):
        return isinstance(error, on)
    return bool(on(error)) if callable(on) else isinstance(error, tuple(on))


def next_delay(
    policy: RetryPolicy,
    attempt: int,
    error: BaseException,
    *,
    chance: Callable[[], float] = random.random,
) -> float:
    """Return the seconds to wait after a failed attempt.

    Args:
        policy: The intervals.
        attempt: Which attempt failed, counted from 1.
        error: Its error; the `Retry-After` that it carries is kept to, up to `max_interval`.
        chance: A number in [0, 1) that spreads the waits of many callers.
    """
    grown = policy.initial_interval * policy.backoff_factor ** (attempt - 1)
    wait = min(grown, policy.max_interval)
    if policy.jitter:
        wait *= 0.5 + chance()
    return min(max(wait, _retry_after(error)), policy.max_interval)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error of a model or a service carries, or None."""
    response = getattr(error, "response", None)
    of_response = getattr(response, "status_code", None)
    for value in (getattr(error, "status_code", None), of_response, getattr(error, "code", None)):
        if isinstance(value, int) and 100 <= value < 600:
            return value
    return None


def _retry_after(error: BaseException) -> float:
    asked = getattr(error, "retry_after", None)
    if isinstance(asked, int | float):
        return asked
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    return retry_after(headers)


def retry_after(headers: Mapping[str, str], *, clock: Callable[[], float] = time.time) -> float:
    """Return the seconds for which a service asks to be left alone; 0 where it does not."""
    said: Any = headers.get("retry-after") or 0
    try:
        seconds = float(said)
    except (TypeError, ValueError):
        try:
            seconds = parsedate_to_datetime(said).timestamp() - clock()
        except (TypeError, ValueError):
            return 0.0
    return seconds if seconds > 0 else 0.0


FailureKind = Literal[
    "api_call_failed",
    "agent_timeout",
    "agent_failed",
    "agent_removed",
    "budget_exceeded",
    "cancelled",
    "circuit_open",
    "consensus_failed",
    "cut_off",
    "dependency_failed",
    "empty_answer",
    "limit_reached",
    "refused",
    "stalled",
]
"""What kind of failure a report tells of."""

FAILURES: Mapping[FailureKind, str] = {
    "api_call_failed": "a model's or a service's interface refused or could not be reached",
    "agent_timeout": "it gave no answer in time",
    "agent_failed": "it raised an error, or its own run ended before it was complete",
    "agent_removed": "it does not take part any more",
    "budget_exceeded": "its budget is used up",
    "cancelled": "it was stopped from outside",
    "circuit_open": "its service failed too often and is left alone for a while",
    "consensus_failed": "the participants did not agree",
    "cut_off": "its answer was cut off at a limit of tokens",
    "dependency_failed": "a task that it needs has failed, so it was never begun",
    "empty_answer": "it answered without a word",
    "limit_reached": "it took as many steps as it may and had no answer",
    "refused": "its model refused, or a filter ended its answer",
    "stalled": "it repeated a tool call that had given the same result three times",
}
"""Every kind of failure, with what it means."""


ENDLESS = (GraphRecursionError, StalledError)
"""The errors of work that found no end by itself. Another attempt would find none either, and the
service that it stands on is not to blame."""


@dataclass(frozen=True)
class Timeout:
    """How long one attempt of a visit may take.

    An async attempt is cancelled when its time is over. A sync attempt cannot be stopped: it
    is abandoned, and what it still wants to store is refused.

    Args:
        seconds: More than 0.
    """

    seconds: float

    def __post_init__(self) -> None:
        raise_number_faults(seconds_faults("seconds", self.seconds, above_zero=True))


@dataclass(frozen=True)
class UseCached:
    """Answer with a text that is known already.

    Args:
        text: The text, or a function that is called when the text is needed. Other plain values
            that it returns are written as JSON.
    """

    text: str | Callable[[], Any]

    def read(self) -> str:
        """Return the text.

        Raises:
            TypeError: The function has returned nothing, or what has no text, as a coroutine.
        """
        value: Any = self.text if isinstance(self.text, str) else self.text()
        if isinstance(value, str):
            return str(value)
        if inspect.iscoroutine(value):
            value.close()
        try:
            written = None if value is None else json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError):
            written = None
        if written is None:
            raise TypeError(
                f"the function of a compensation returned {value!r}; allowed: a text, or plain "
                "values. A coroutine is not awaited: return its result"
            )
        return written


@dataclass(frozen=True)
class Delegate:
    """Let another participant do it.

    Args:
        to: The id of the participant.
    """

    to: str


@dataclass(frozen=True)
class AskPerson:
    """Ask the user how to go on; the answer goes to the supervisor."""

    prompt: str


@dataclass(frozen=True)
class UndoAll:
    """Undo what was done for this request: the `undo` of each participant, latest first."""


Action = UseCached | Delegate | AskPerson | UndoAll
"""What makes up for a failure."""


@dataclass(frozen=True)
class Compensation:
    """What makes up for each kind of failure, once its retries are used up.

    Args:
        actions: By the kind of failure, as `FAILURES` lists them. A function stands for
            `UseCached` of it: it is called when the failure is there, and its value becomes the
            report.
    """

    actions: Mapping[FailureKind, Action | Callable[[], Any]]

    def __post_init__(self) -> None:
        named = {
            kind: UseCached(action) if callable(action) else action
            for kind, action in self.actions.items()
        }
        object.__setattr__(self, "actions", named)
        for kind, action in named.items():
            if kind not in FAILURES:
                raise ValueError(f"{kind!r} is no kind of failure; allowed: {', '.join(FAILURES)}")
            if kind in ("dependency_failed", "agent_removed"):
                raise ValueError(f"{kind} is never made; compensate what failed before it")
            if not isinstance(action, UseCached | Delegate | AskPerson | UndoAll):  # pyright: ignore[reportUnnecessaryIsInstance]  # given by a user
                raise ValueError(
                    f"the action for {kind} is {action!r}; allowed: UseCached(text), "
                    "Delegate(participant), AskPerson(prompt), UndoAll(), or a function "
                    "without arguments"
                )
            said: list[object] = [*vars(action).values()]
            late = isinstance(action, UseCached) and callable(action.text)
            if not late and not all(isinstance(text, str) for text in said):
                raise ValueError(
                    f"the action for {kind} is {action!r}; it takes a text. A function that is "
                    "called when the text is needed stands in UseCached(function) alone."
                )


Policy = RetryPolicy | Timeout | CircuitBreaker | Compensation
"""What may stand in a list of policies."""


def merge_policies(outer: Sequence[Policy], inner: Sequence[Policy]) -> list[Policy]:
    """Join the policies of a workflow and of a participant; the nearer one replaces its kind."""
    kinds = {type(policy) for policy in inner}
    return [*(policy for policy in outer if type(policy) not in kinds), *inner]


def policy_faults(policies: Sequence[Any], names: Sequence[str]) -> list[str]:
    """Return what is wrong with a list of policies, each with what is allowed."""
    faults: list[str] = []
    for policy in policies:
        if not isinstance(policy, RetryPolicy | Timeout | CircuitBreaker | Compensation):
            faults.append(
                f"has the policy {policy!r}; allowed: RetryPolicy, Timeout, CircuitBreaker, "
                "Compensation"
            )
        elif isinstance(policy, Compensation):
            strangers = [
                action.to
                for action in policy.actions.values()
                if isinstance(action, Delegate) and action.to not in names
            ]
            faults += [
                f"delegates to {name!r}, who does not take part; allowed: {', '.join(names)}"
                for name in strangers
            ]
        elif isinstance(policy, RetryPolicy) and policy.max_attempts < 1:
            faults.append(f"retries with max_attempts={policy.max_attempts}; it must be 1 or more")
    return faults


def failure_kind(error: BaseException) -> FailureKind:
    """Name the kind of failure that an error is."""
    if isinstance(error, RemoteFailedError):
        return cast(FailureKind, error.kind) if error.kind in FAILURES else "agent_failed"
    if isinstance(error, TimeoutError | NodeTimeoutError):
        return "agent_timeout"
    if isinstance(error, GraphRecursionError):
        return "limit_reached"
    if isinstance(error, StalledError):
        return "stalled"
    if isinstance(error, NodeCancelledError):
        return "cancelled"
    if isinstance(error, BudgetExceededError):
        return "budget_exceeded"
    if isinstance(error, CircuitOpenError):
        return "circuit_open"
    if isinstance(error, ConsensusFailedError):
        return "consensus_failed"
    return "api_call_failed" if is_api_error(error) else "agent_failed"
