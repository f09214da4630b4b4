"""Timers and outside events: participants and tools that wait without holding a process.

A wait is an interrupt: the run is stored and over, and goes on when a pass of
`asterism.acheck_questions` finds that the time has come or the event has arrived.
Tests: tests/asterism/apps/test_timers.py.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.types import interrupt

from asterism.core.values import as_dict, is_number
from asterism.errors import ConfigurationError

TIMER, EVENT = "timer", "event"
"""The `request_type` of a wait for a time, and of one for an event."""
TOKEN_LENGTH = 255
"""The longest token of an event, in characters."""


def wait_until(when: datetime | timedelta | float, why: str = "") -> datetime:
    """Wait for a time inside a participant or a tool, without holding a process.

    The run is stored and waits. The function that called this is called again when the time has
    come, so what stands before the wait runs twice; the wait itself returns at once then.

    Args:
        when: The moment, or how long from now: a `timedelta`, or seconds.
        why: What is waited for, shown where questions are shown.

    Returns:
        The time when the run went on, in UTC.

    Raises:
        ConfigurationError: The time is no moment or period.
    """
    until = _moment(when)
    said: Any = interrupt({**_request(TIMER, until), "prompt": why or f"Waits until {until}."})
    return datetime.fromisoformat(str(as_dict(said).get("at") or until))


def wait_for_event(token: str, *, timeout: timedelta | float | None = None, why: str = "") -> Any:
    """Wait for an event from outside, as a payment that arrives; see `wait_until`.

    Args:
        token: What the event is called; `asignal(workflow, token, value)` or
            `asterism signal` sends it, also before somebody waits.
        timeout: How long to wait. None: for as long as it takes.
        why: What is waited for, shown where questions are shown.

    Returns:
        The value that was sent.

    Raises:
        TimeoutError: It did not come in time.
        ConfigurationError: The token or the time is not allowed.
    """
    check_token(token)
    until = None if timeout is None else _moment(timeout)
    said = interrupt(
        {**_request(EVENT, until), "token": token, "prompt": why or f"Waits for {token!r}."}
    )
    if "value" not in as_dict(said):
        raise TimeoutError(f"the event {token!r} did not come until {until}")
    return as_dict(said)["value"]


def check_token(token: object) -> None:
    """Check the token of an event.

    Raises:
        ConfigurationError: It is no text of 1 to 255 printable characters.
    """
    text = token if isinstance(token, str) else ""
    if not text.strip() or len(text) > TOKEN_LENGTH or not text.isprintable():
        raise ConfigurationError(
            f"the token is {token!r:.80}; it must be a text of 1 to {TOKEN_LENGTH} characters"
        )


def _request(kind: str, until: datetime | None) -> dict[str, Any]:
    return {"request_type": kind, "until": until and until.isoformat()}


def _moment(when: object) -> datetime:
    if isinstance(when, datetime):
        return when.astimezone(UTC)
    if is_number(when):
        when = timedelta(seconds=float(str(when)))
    if not isinstance(when, timedelta):
        raise ConfigurationError(
            f"the time is {when!r}; it must be a datetime, a timedelta or a number of seconds"
        )
    return datetime.now(UTC) + when
