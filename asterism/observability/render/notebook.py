"""Showing things: as pictures and tables in a notebook, as text in a terminal."""

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from langchain_core.messages import BaseMessage

from asterism.core.continuation import Graph, ThreadLike, is_graph
from asterism.core.state import Report
from asterism.core.text_tables import CELL, PLAIN, Bundle, as_block, as_table, nested_table
from asterism.core.usage import Usage, lines_of
from asterism.core.values import as_dict
from asterism.errors import ConfigurationError
from asterism.events import Event, EventBus
from asterism.events import SupervisionEventType as Child
from asterism.events import WorkflowEventType as Work
from asterism.observability import RunRecord, generate_orchestrator_flowchart, read_run
from asterism.observability.render.svg import svg_bundle
from asterism.observability.text_width import fit_text, usage_text


def show(thing: object, config: ThreadLike | None = None, *, xray: bool = False) -> None:
    """Show a graph, a run, a result, a trace or what was used.

    A notebook shows pictures and tables, made here, without a network; elsewhere they are
    printed as text.

    Args:
        thing: A compiled graph; what `invoke` returned; a `RunRecord`, `Trace`, `Usage`,
            `Difference` or another value that knows how to show itself.
        config: A thread of the graph, or its id, whose run is shown rather than the graph.
        xray: Whether the insides of a graph's participants are drawn too.

    Raises:
        ConfigurationError: There is no way to show that.
    """
    bundle = _bundle(thing, config, xray)
    if display := _display():
        display(bundle, raw=True)
    else:
        sys.stdout.write(f"{bundle[PLAIN]}\n")


def _bundle(thing: object, config: ThreadLike | None, xray: bool) -> Bundle:
    own: Callable[[], Bundle] | None = getattr(thing, "_repr_mimebundle_", None)
    if is_graph(thing):
        return _draw_graph(thing, xray) if config is None else _ran(read_run(thing, config))
    if isinstance(thing, RunRecord):
        return _ran(thing)
    if own is not None:
        return own()
    if "status" in (values := as_dict(thing)):
        return _result(values)
    raise ConfigurationError(
        f"A {type(thing).__name__} cannot be shown; show a compiled graph (with a thread: its "
        "run), the result of a run, a RunRecord, a Trace, a Difference or a Usage."
    )


def _ran(run: RunRecord) -> Bundle:
    return nested_table(as_block(generate_orchestrator_flowchart(run)), run.table())


def _draw_graph(graph: Graph, xray: bool) -> Bundle:
    drawing = graph.get_graph(xray=xray)
    picture = svg_bundle(drawing)
    return {PLAIN: drawing.draw_ascii() if picture else drawing.draw_mermaid(), **picture}


def _result(values: Mapping[str, Any]) -> Bundle:
    messages: list[BaseMessage] = values.get("messages") or []
    reason = f": {values['reason']}" if values.get("reason") else ""
    answer = f"\n\n{messages[-1].text}" if messages else ""
    reports: list[Report] = values.get("reports") or []
    rows = [
        (
            report.get("task") or report["round"],
            report["participant"],
            report["status"],
            fit_text(report.get("error") or report["text"], CELL),
            usage_text(Usage.of(report.get("usage") or ())),
        )
        for report in reports
    ]
    took = usage_text(Usage.of(lines_of(values)))
    title = f"{len(rows)} report{'' if len(rows) == 1 else 's'}{took and f'; in all {took}'}"
    return nested_table(
        as_block(f"{values['status']}{reason}{answer}"),
        as_table(("round", "participant", "status", "report", "took"), rows, title),
    )


# ---- progress

_MARKS: Mapping[object, str] = {
    Work.TASK_STARTED: "● works",
    Work.TASK_COMPLETED: "✓ done",
    Work.TASK_FAILED: "✗ failed",
    Work.ASKED: "? asks",
    Work.RETRIED: "↻ again",
    Child.SPAWNED: "○ waits",
    Child.STARTED: "● runs",
    Child.HEARTBEAT: "● runs",
    Child.PROGRESS: "● goes on",
    Child.QUOTA_WARNING: "! 90 % used",
    Child.PAUSED: "‖ paused",
    Child.RESUMED: "● runs",
    Child.COMPLETED: "✓ done",
    Child.FAILED: "✗ failed",
    Child.KILLED: "✗ killed",
    Child.CANCELLED: "✗ cancelled",
}
_SAID = ("error", "text", "prompt", "request", "reason", "quota", "doing")
"""The facts that say what somebody does or did, the most telling first."""


@contextmanager
def show_progress(bus: EventBus) -> Generator[None]:
    """Show who works on what while runs and children tell a bus.

    A notebook shows one table, which changes in place; elsewhere there is a line on stderr for
    each change.

    Example:
        ```python
        with show_progress(bus):
            workflow.invoke(request, thread)
        ```

    Args:
        bus: The bus of the workflow (`events=bus`) or of the supervisor (`bus=bus`).
    """
    hear = _Board(_display()).hear
    bus.on(None, hear)
    try:
        yield
    finally:
        bus.off(hear)


class _Board:
    """The table of who works on what."""

    def __init__(self, display: Callable[..., Any] | None) -> None:
        self._rows: dict[str, tuple[str, str]] = {}
        self._handle: Any = display and display(self._table(), raw=True, display_id=True)

    def hear(self, event: Event) -> None:
        """Take in an event of the bus."""
        mark, facts = _MARKS.get(event.type), event.facts
        if mark is None:
            return
        who = str(facts.get("path") or ("supervisor" if isinstance(event.type, Work) else ""))
        who = who or event.source
        if task := facts.get("task"):
            who = f"{who} ({task})"
        said = next((str(facts[name]) for name in _SAID if facts.get(name)), "")
        self._rows[who] = mark, fit_text(said, CELL)
        if self._handle is None:
            sys.stderr.write(f"{fit_text(f'{mark} {who}: {said}', CELL + 30)}\n")
        else:
            self._handle.update(self._table(), raw=True)

    def _table(self) -> Bundle:
        rows = [(who, mark, said) for who, (mark, said) in self._rows.items()]
        return as_table(("who", "how it stands", "what"), rows)


def _display() -> Callable[..., Any] | None:
    """Return IPython's `display`, where this runs in IPython."""
    ipython: Any = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        return None
    display: Callable[..., Any] = import_module("IPython.display").display
    return display
