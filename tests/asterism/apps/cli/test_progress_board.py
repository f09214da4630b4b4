"""The board of the command line: what the event bus tells is shown, a line each."""

import io

import pytest
from rich.console import Console

from asterism.apps.cli.progress_board import Board
from asterism.events import EventBus, WorkflowEventType


@pytest.mark.parametrize(
    ("what", "facts", "line"),
    [
        (
            "budget_warning",
            {"scope": "venue/", "measure": "tokens", "percent": "90"},
            "! 90 % of the tokens of venue/ are used",
        ),
        (
            "breaker_opened",
            {"service": "hall"},
            "! hall failed too often and is left alone for a while",
        ),
        (
            "waiting_for_capacity",
            {"service": "openai", "state": "waiting"},
            "! a call waits for openai",
        ),
        ("waiting_for_capacity", {"state": "waiting"}, "! a call waits for its turn"),
        ("waiting_for_capacity", {"service": "openai", "state": "admitted"}, ""),
        ("routed", {"next_agent": "venue"}, ""),
    ],
    ids=[
        "a budget",
        "a breaker",
        "a wait",
        "a wait for nobody in particular",
        "its end",
        "a route",
    ],
)
def test_what_holds_the_work_up_is_shown(what: str, facts: dict[str, str], line: str) -> None:
    out, bus = io.StringIO(), EventBus()
    board = Board({}, Console(file=out, width=100))
    bus.on(None, board.hear)
    bus.emit(WorkflowEventType(what), "thread", facts)
    assert out.getvalue().strip() == line
