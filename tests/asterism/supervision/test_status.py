"""The states of a child: the drawn table is the table, and nothing else is legal."""

import pytest

from asterism.errors import ChildStateError
from asterism.events import SupervisionEventType as Type
from asterism.supervision import status as states
from asterism.supervision.status import ENDED, TRANSITIONS, ChildStatus, next_status


def drawn() -> dict[tuple[str, str], str]:
    """The transitions as the docstring draws them."""
    lines = (states.__doc__ or "").split("```")[1].strip().splitlines()
    events = lines[0].split()
    rows = [line.split() for line in lines[1:]]
    assert all(len(row) == len(events) + 1 for row in rows)
    return {
        (row[0], event): to
        for row in rows
        for event, to in zip(events, row[1:], strict=True)
        if to != "-"
    }


def test_the_drawn_table_is_the_table() -> None:
    assert drawn() == {
        (status.value, event.value): to.value
        for status, allowed in TRANSITIONS.items()
        for event, to in allowed.items()
    }


@pytest.mark.parametrize("status", ChildStatus)
@pytest.mark.parametrize("event", Type)
def test_what_is_not_drawn_is_refused(status: ChildStatus, event: Type) -> None:
    if to := drawn().get((status.value, event.value)):
        assert next_status(status, event, "c") == to
        return
    with pytest.raises(ChildStateError, match=f"'c' is {status}, so it is not {event}; "):
        next_status(status, event, "c")


def test_an_end_is_an_end() -> None:
    assert all(not TRANSITIONS[status] for status in ENDED)
    with pytest.raises(ChildStateError, match="'c' is killed, so it is not resumed; that is its"):
        next_status(ChildStatus.KILLED, Type.RESUMED, "c")


def test_every_state_is_reached_and_every_end_too() -> None:
    reached = {to for allowed in TRANSITIONS.values() for to in allowed.values()}
    assert reached == set(ChildStatus) - {ChildStatus.PENDING}
