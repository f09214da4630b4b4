"""What becomes of a child when an attempt has stopped: a table."""

import pytest

from asterism.errors import ConfigurationError
from asterism.events import SupervisionEventType as Type
from asterism.supervision.restart_policy import (
    AttemptOutcome,
    ChildCommand,
    NextState,
    decide_next_state,
    strongest_command,
)

COMPLETED = AttemptOutcome(kind="completed")
ASKS = AttemptOutcome(kind="asks", questions=({"id": "1", "prompt": "Which?"},))
STOPPED = AttemptOutcome(kind="asks")
DRAINED = AttemptOutcome(kind="drained", reason="shutdown")
CANCELLED = AttemptOutcome(kind="cancelled")
CRASHED = AttemptOutcome(kind="crashed", error=RuntimeError("no"))
HOPELESS = AttemptOutcome(kind="crashed", error=ConfigurationError("no"))
FAILED = AttemptOutcome(kind="ended", status="failed", reason="no model")
LIMIT = AttemptOutcome(kind="ended", status="limit", reason="too many")
ALL = (COMPLETED, ASKS, STOPPED, DRAINED, CANCELLED, CRASHED, HOPELESS, FAILED, LIMIT)

GO_ON = ChildCommand(kind="go_on", reason="raised")
PAUSE = ChildCommand(kind="pause", reason="told")
RESTART = ChildCommand(kind="restart", reason="silent", own=True)
TOGETHER = ChildCommand(kind="restart", reason="another")
KILL = ChildCommand(kind="kill", reason="enough")


@pytest.mark.parametrize("outcome", ALL, ids=lambda o: o.status or o.kind)
def test_a_kill_is_a_kill_whatever_came_of_it(outcome: AttemptOutcome) -> None:
    assert decide_next_state(outcome, KILL) == NextState(event=Type.KILLED, reason="enough")


@pytest.mark.parametrize("order", [None, GO_ON, PAUSE, RESTART, TOGETHER], ids=str)
def test_what_has_come_to_its_end_or_asks_does_so_whatever_was_ordered(
    order: ChildCommand | None,
) -> None:
    assert decide_next_state(COMPLETED, order).event is Type.COMPLETED
    asked = decide_next_state(ASKS, order)
    assert (asked.event, asked.questions) == (Type.PAUSED, ASKS.questions)
    assert decide_next_state(STOPPED, order).reason == "it stopped at a breakpoint"


@pytest.mark.parametrize("outcome", ALL[3:], ids=lambda o: o.status or o.kind)
def test_what_was_to_rest_or_to_be_restarted_is(outcome: AttemptOutcome) -> None:
    assert decide_next_state(outcome, PAUSE) == NextState(event=Type.PAUSED, reason="told")
    restarted = NextState(event=Type.STARTED, reason="silent", own=True, restarts=True)
    assert decide_next_state(outcome, RESTART) == restarted
    assert not decide_next_state(outcome, TOGETHER).own


@pytest.mark.parametrize("order", [None, GO_ON], ids=["nobody", "go on"])
@pytest.mark.parametrize(
    ("outcome", "event", "own", "reason"),
    [
        (CANCELLED, Type.STARTED, True, "it was cancelled from within"),
        (CRASHED, Type.STARTED, True, "RuntimeError: no"),
        (HOPELESS, Type.FAILED, False, "ConfigurationError: no"),
        (FAILED, Type.STARTED, True, "it ended as 'failed': no model"),
        (LIMIT, Type.FAILED, False, "it ended as 'limit': too many"),
    ],
    ids=["cancelled", "crashed", "hopeless", "failed", "limit"],
)
def test_what_nobody_ordered_is_judged_by_itself(
    outcome: AttemptOutcome, event: Type, own: bool, reason: str, order: ChildCommand | None
) -> None:
    found = decide_next_state(outcome, order)
    assert (found.event, found.own, found.reason) == (event, own, reason)


def test_what_was_drained_rests_unless_its_quota_was_raised() -> None:
    assert decide_next_state(DRAINED, None) == NextState(event=Type.PAUSED, reason="shutdown")
    assert decide_next_state(DRAINED, GO_ON) == NextState(event=Type.STARTED, reason="raised")


@pytest.mark.parametrize(
    ("new", "old", "holds"),
    [
        (PAUSE, None, PAUSE),
        (KILL, PAUSE, KILL),
        (PAUSE, KILL, KILL),
        (KILL, RESTART, KILL),
        (RESTART, PAUSE, PAUSE),
        (RESTART, GO_ON, RESTART),
        (TOGETHER, RESTART, RESTART),
        (PAUSE, RESTART, PAUSE),
    ],
    ids=lambda o: o.kind if o else "none",
)
def test_the_stronger_order_holds(
    new: ChildCommand, old: ChildCommand | None, holds: ChildCommand
) -> None:
    assert strongest_command(new, old) is holds
