"""Which failures can pass, and how long is waited."""

import json
from typing import Any

import httpx
import openai
import pytest
from langgraph.errors import GraphInterrupt
from langgraph.types import RetryPolicy

from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.limits.failure_policies import (
    UseCached,
    can_pass,
    next_delay,
    retry_after,
    should_retry,
)
from asterism.nodes.policies import call_with_retry

REQUEST = httpx.Request("POST", "http://127.0.0.1")


def answered(status: int, **headers: str) -> httpx.HTTPStatusError:
    response = httpx.Response(status, headers=headers, request=REQUEST)
    return httpx.HTTPStatusError("no", request=REQUEST, response=response)


class ProviderError(Exception):
    def __init__(self, status_code: int, code: str | None = None) -> None:
        self.status_code = status_code
        self.code = code


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (json.JSONDecodeError("x", "", 0), True),
        (httpx.ReadTimeout("slow"), True),
        (httpx.ConnectError("gone"), True),
        (openai.APIConnectionError(request=REQUEST), True),  # type: ignore[arg-type]  # httpx2's
        *((answered(status), True) for status in (408, 409, 425, 429, 500, 502, 503, 529)),
        *((answered(status), False) for status in (400, 401, 403, 404, 422)),
        (ProviderError(429), True),
        (ProviderError(429, "insufficient_quota"), False),
        (ProviderError(401), False),
        (ValueError("mine"), False),
        (RuntimeError("mine"), False),
        (PermissionError("mine"), False),
    ],
    ids=lambda value: value if isinstance(value, bool) else f"{type(value).__name__} {value}",
)
def test_only_what_can_succeed_is_tried_again(error: Exception, expected: bool) -> None:
    assert can_pass(error) is expected


def test_pauses_grow_up_to_a_bound() -> None:
    policy = RetryPolicy(initial_interval=1, backoff_factor=3, max_interval=10, jitter=False)
    assert [next_delay(policy, attempt, ValueError()) for attempt in (1, 2, 3, 4)] == [1, 3, 9, 10]


def test_pauses_are_spread_and_keep_to_retry_after() -> None:
    policy = RetryPolicy(initial_interval=2, max_interval=10)
    assert next_delay(policy, 1, ValueError(), chance=lambda: 0.0) == 1
    assert next_delay(policy, 1, ValueError(), chance=lambda: 1.0) == 3
    busy = answered(429, **{"retry-after": "7"})
    assert next_delay(policy, 1, busy, chance=lambda: 0.0) == 7
    assert next_delay(policy, 1, answered(429, **{"retry-after": "900"})) == 10
    assert next_delay(policy, 1, answered(429, **{"retry-after": "soon"}), chance=lambda: 0.5) == 2


@pytest.mark.parametrize(
    ("on", "expected"),
    [(ValueError, True), (KeyError, False), ((KeyError, ValueError), True), (can_pass, False)],
)
def test_a_policy_says_what_it_waits_for(on: Any, expected: bool) -> None:
    assert should_retry(RetryPolicy(retry_on=on), ValueError()) is expected


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_call_is_made_again_until_it_succeeds(asynchronous: bool) -> None:
    waited: list[float] = []
    errors = iter([TimeoutError(), ConnectionError()])

    def call() -> str:
        for error in errors:
            raise error
        return "done"

    async def acall() -> str:
        return call()

    async def asleep(seconds: float) -> None:
        waited.append(seconds)

    policy = RetryPolicy(initial_interval=1, jitter=False, retry_on=can_pass)
    steps: Steps[Any] = call_with_retry(Call(call, acall), policy, sleep=(waited.append, asleep))
    assert (await arun_steps(steps) if asynchronous else run_steps(steps)) == "done"
    assert waited == [1, 2]


@pytest.mark.parametrize(
    ("error", "attempts"), [(TimeoutError(), 3), (ValueError(), 1), (GraphInterrupt(), 1)]
)
def test_the_last_error_is_raised(error: Exception, attempts: int) -> None:
    made: list[int] = []

    def call() -> None:
        made.append(1)
        raise error

    async def never(seconds: float = 0) -> None:
        raise AssertionError("this runs in sync")

    policy = RetryPolicy(jitter=False, retry_on=can_pass)
    steps: Steps[Any] = call_with_retry(
        Call(call, never), policy, sleep=(lambda seconds: None, never)
    )
    with pytest.raises(type(error)):
        run_steps(steps)
    assert len(made) == attempts


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 0),
        ("-3", 0),
        ("nan", 0),
        ("soon", 0),
        (None, 0),
    ],
)
def test_a_service_says_in_seconds_or_by_a_date_when_to_come_back(
    said: str | None, seconds: float
) -> None:
    headers = {"retry-after": said} if said else {}
    assert retry_after(headers, clock=lambda: 10.0) == seconds


async def fetch() -> str:
    return "late"


@pytest.mark.parametrize(
    ("value", "text"),
    [("late", "late"), ({"city": "Zürich"}, '{"city": "Zürich"}'), (3, "3"), ([], "[]")],
    ids=["text", "table", "number", "list"],
)
def test_a_function_that_makes_up_for_a_failure_returns_plain_values(value: Any, text: str) -> None:
    assert UseCached(lambda: value).read() == text


@pytest.mark.parametrize("give", [lambda: None, fetch, object], ids=["none", "async", "object"])
def test_a_function_that_returns_no_text_is_refused(give: Any) -> None:
    with pytest.raises(TypeError, match="the function of a compensation returned"):
        UseCached(give).read()
