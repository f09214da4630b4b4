"""What becomes of a child when an attempt has stopped: decided from what is known, no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from asterism.core.values import describe_error
from asterism.events import SupervisionEventType as Type
from asterism.supervision.outcomes import PERMANENT_ERRORS, AttemptOutcome
from asterism.supervision.quotas import Limit


@dataclass(frozen=True, kw_only=True)
class ChildCommand:
    """What a child is to do."""

    kind: Literal["go_on", "pause", "restart", "kill"]
    reason: str
    own: bool = False
    """For a restart: whether the child itself is the cause."""
    asks: Limit | None = None
    """For a pause: the quota that is to be raised."""
    at_once: bool = False
    """For a pause: whether the step at work is cut off, to be made again."""


_RANKS = ("go_on", "restart", "pause", "kill")


def strongest_command(order: ChildCommand, other: ChildCommand | None) -> ChildCommand:
    """Return which of two orders holds: the stronger one, or the first of two alike.

    A child that is to rest is not restarted instead: it just stops sooner.
    """
    if other is None or _RANKS.index(order.kind) > _RANKS.index(other.kind):
        return order
    return other


@dataclass(frozen=True, kw_only=True)
class NextState:
    """What becomes of a child."""

    event: Type
    """What is told: that it rests, has ended, or is started again."""
    reason: str = ""
    own: bool = False
    """For a start: whether the child itself is the cause, so that it counts as a retry."""
    restarts: bool = False
    """For a start: whether something went wrong, with it or with one beside it."""
    asks: Limit | None = None
    """For a rest: the quota that is to be raised."""
    questions: tuple[Mapping[str, str], ...] = ()
    """For a rest: what it asks."""


def decide_next_state(outcome: AttemptOutcome, order: ChildCommand | None) -> NextState:
    """Decide what becomes of a child.

    Args:
        outcome: How its attempt stands.
        order: What it was to do.
    """
    if order is not None and order.kind == "kill":
        return NextState(event=Type.KILLED, reason=order.reason)
    if outcome.kind == "completed":
        return NextState(event=Type.COMPLETED)
    if outcome.kind == "asks":
        said = "it waits for a person" if outcome.questions else "it stopped at a breakpoint"
        return NextState(event=Type.PAUSED, reason=said, questions=outcome.questions)
    if order is not None and order.kind == "pause":
        return NextState(event=Type.PAUSED, reason=order.reason, asks=order.asks)
    if order is not None and order.kind == "restart":
        return NextState(event=Type.STARTED, reason=order.reason, own=order.own, restarts=True)
    if order is not None and outcome.kind == "drained":
        return NextState(event=Type.STARTED, reason=order.reason)
    return _by_itself(outcome)


def _by_itself(outcome: AttemptOutcome) -> NextState:
    """Decide where nobody gave an order."""
    if outcome.kind == "drained":
        return NextState(event=Type.PAUSED, reason=outcome.reason)
    again = True
    if outcome.kind == "ended":
        said = f"it ended as {outcome.status!r}: {outcome.reason}"
        again = outcome.status == "failed"
    elif outcome.error is not None:
        said = describe_error(outcome.error)
        again = not isinstance(outcome.error, PERMANENT_ERRORS)
    else:
        said = "it was cancelled from within"
    event = Type.STARTED if again else Type.FAILED
    return NextState(event=event, reason=said, own=again, restarts=again)
