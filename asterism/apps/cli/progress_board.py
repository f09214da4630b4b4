"""The board: who works on what while a run goes on, on stderr."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from asterism.core.decision import RunPlan, VisitNext, load_decision
from asterism.core.interrupts import request_prompt
from asterism.core.values import as_dict, shorten
from asterism.events import Event
from asterism.events import WorkflowEventType as Type

_MARKS = {"working": "●", "ok": "✓", "waiting": "?", "idle": "·", "planned": "○"}
_STYLES = {"ok": "green", "working": "yellow", "idle": "dim", "planned": "dim"}
_MANY = ("dispatch", "undo")
"""Nodes that report for participants."""
_LINE = 88


@dataclass
class Row:
    """One participant on the board."""

    state: str = "idle"
    doing: str = ""


class Board:
    """Shows the participants live in a terminal, or line by line where there is none."""

    def __init__(self, participants: Mapping[str, str], console: Console) -> None:
        self._rows = {name: Row() for name in participants}
        self._console = console
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def note(self, path: tuple[str, ...], task: Mapping[str, Any]) -> None:
        """Take in one event of `stream_mode="tasks"`.

        Args:
            path: The namespace of the graph in which it happened; `()` is the workflow.
            task: The payload of the event.
        """
        name = path[0].split(":")[0] if path else task["name"]
        if name == "supervisor" and "result" in task:
            self._show_decision(as_dict(task["result"]).get("decision"))
        elif name in self._rows and path:
            self._inside(name, task)
        elif "result" in task and (name in self._rows or name in _MANY):
            self._show_report(name, task)

    def hear(self, event: Event) -> None:
        """Take in an event of the bus: what holds the work up, or costs it."""
        facts = event.facts
        if event.type is Type.BUDGET_WARNING:
            said = f"{facts['percent']} % of the {facts['measure']} of {facts['scope']} are used"
        elif event.type is Type.BREAKER_OPENED:
            said = f"{facts['service']} failed too often and is left alone for a while"
        elif event.type is Type.WAITING_FOR_CAPACITY and facts["state"] == "waiting":
            said = f"a call waits for {facts.get('service') or 'its turn'}"
        else:
            return
        self._console.print(f"! {said}", markup=False, highlight=False)

    def _show_decision(self, decision: Any) -> None:
        match load_decision(as_dict(decision)):
            case RunPlan(tasks=tasks):
                for task in tasks:
                    self._set(task["agent_id"], "planned", task["task_description"].splitlines()[0])
            case VisitNext(next_agent=name, instruction=instruction):
                self._set(name, "working", instruction.splitlines()[0] if instruction else "")
            case _:
                pass

    def _inside(self, name: str, task: Mapping[str, Any]) -> None:
        call = as_dict(as_dict(task.get("input")).get("tool_call"))
        if "result" not in task and call:
            self._set(name, "working", f"{call.get('name')} …")
        elif self._rows[name].state == "planned":
            self._set(name, "working", self._rows[name].doing)

    def _show_report(self, name: str, task: Mapping[str, Any]) -> None:
        reports: list[Any] = as_dict(task["result"]).get("reports") or []
        if not reports and name not in _MANY:
            open_ones = task.get("interrupts") or ()
            asked = [request_prompt(as_dict(one).get("value")) for one in open_ones]
            self._set(name, "waiting" if asked else "failed", "; ".join(asked))
        for report in reports:
            said = str(report["text"] or report.get("error") or "")
            state, line = report["status"], next(iter(said.strip().splitlines()), "")
            self._set(report["participant"], state, line)

    def _set(self, name: str, state: str, doing: str) -> None:
        self._rows.setdefault(name, Row()).state = state
        self._rows[name].doing = doing = shorten(doing, _LINE)
        if self._live:
            self._live.update(self._table())
        else:
            mark = _MARKS.get(state, "✗")
            self._console.print(f"{mark} {name}: {doing}", markup=False, highlight=False)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, row in self._rows.items():
            mark = Text(_MARKS.get(row.state, "✗"), style=_STYLES.get(row.state, "red"))
            table.add_row(
                mark,
                Text(name, style="bold"),
                Text(row.doing, style="dim", overflow="ellipsis", no_wrap=True),
            )
        return table
