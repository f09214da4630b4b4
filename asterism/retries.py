"""Which failures of a call can pass, and how long to wait for that."""

import json
import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from langgraph.types import RetryPolicy

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
    """Return the seconds for which a service asks to be left alone; 0 where it does not.

    Args:
        headers: Those of its response; `Retry-After` holds seconds or a date.
        clock: The time in seconds since 1970.
    """
    said: Any = headers.get("retry-after") or 0
    try:
        seconds = float(said)
    except (TypeError, ValueError):
        try:
            seconds = parsedate_to_datetime(said).timestamp() - clock()
        except (TypeError, ValueError):
            return 0.0
    return seconds if seconds > 0 else 0.0
