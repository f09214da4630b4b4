"""What becomes of a child when an attempt has stopped: a table."""

import pytest

from asterism.errors import ConfigurationError
from asterism.events import SupervisionEventType as Type
from asterism.supervision.outcomes import Outcome
from asterism.supervision.verdicts import Order, Verdict, judged, stronger

COMPLETED = Outcome(kind="completed")
ASKS = Outcome(kind="asks", questions=({"id": "1", "prompt": "Which?"},))
STOPPED = Outcome(kind="asks")
DRAINED = Outcome(kind="drained", reason="shutdown")
CANCELLED = Outcome(kind="cancelled")
CRASHED = Outcome(kind="crashed", error=RuntimeError("no"))
HOPELESS = Outcome(kind="crashed", error=ConfigurationError("no"))
FAILED = Outcome(kind="ended", status="failed", reason="no model")
LIMIT = Outcome(kind="ended", status="limit", reason="too many")
ALL = (COMPLETED, ASKS, STOPPED, DRAINED, CANCELLED, CRASHED, HOPELESS, FAILED, LIMIT)

GO_ON = Order(kind="go_on", reason="raised")
PAUSE = Order(kind="pause", reason="told")
RESTART = Order(kind="restart", reason="silent", own=True)
TOGETHER = Order(kind="restart", reason="another")
KILL = Order(kind="kill", reason="enough")


@pytest.mark.parametrize("outcome", ALL, ids=lambda o: o.status or o.kind)
def test_a_kill_is_a_kill_whatever_came_of_it(outcome: Outcome) -> None:
    assert judged(outcome, KILL) == Verdict(event=Type.KILLED, reason="enough")


@pytest.mark.parametrize("order", [None, GO_ON, PAUSE, RESTART, TOGETHER], ids=str)
def test_what_has_come_to_its_end_or_asks_does_so_whatever_was_ordered(
    order: Order | None,
) -> None:
    assert judged(COMPLETED, order).event is Type.COMPLETED
    asked = judged(ASKS, order)
    assert (asked.event, asked.questions) == (Type.PAUSED, ASKS.questions)
    assert judged(STOPPED, order).reason == "it stopped at a breakpoint"


@pytest.mark.parametrize("outcome", ALL[3:], ids=lambda o: o.status or o.kind)
def test_what_was_to_rest_or_to_be_restarted_is(outcome: Outcome) -> None:
    assert judged(outcome, PAUSE) == Verdict(event=Type.PAUSED, reason="told")
    restarted = Verdict(event=Type.STARTED, reason="silent", own=True, restarts=True)
    assert judged(outcome, RESTART) == restarted
    assert not judged(outcome, TOGETHER).own


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
    outcome: Outcome, event: Type, own: bool, reason: str, order: Order | None
) -> None:
    found = judged(outcome, order)
    assert (found.event, found.own, found.reason) == (event, own, reason)


def test_what_was_drained_rests_unless_its_quota_was_raised() -> None:
    assert judged(DRAINED, None) == Verdict(event=Type.PAUSED, reason="shutdown")
    assert judged(DRAINED, GO_ON) == Verdict(event=Type.STARTED, reason="raised")


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
def test_the_stronger_order_holds(new: Order, old: Order | None, holds: Order) -> None:
    assert stronger(new, old) is holds
