"""Children from a file: run them, show them live, stop at a step boundary."""

import signal
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from rich.console import Console
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from asterism.apps.cli.options import ERRORS, FAILED, print_json, print_models
from asterism.apps.cli.output import again
from asterism.core.config_files import raise_faults
from asterism.core.continuation import Graph
from asterism.errors import (
    AsterismError,
    ConfigurationError,
    NothingPendingError,
    UnknownChildError,
)
from asterism.events import EventBus, SupervisionEvent
from asterism.events import SupervisionEventType as Type
from asterism.graphs.catalog import models_of, open_graph
from asterism.supervision import AgentProgress, AgentSupervisor, ChildStatus, SupervisedAgent
from asterism.supervision.children_file import ChildEntry, ChildrenFile, read_children
from asterism.supervision.supervisor import on_signal

PATIENCE = 30.0
"""Seconds that children may take for their step when they are to stop."""

_LOOKS = {
    ChildStatus.PENDING: ("○", "dim"),
    ChildStatus.RUNNING: ("●", "yellow"),
    ChildStatus.PAUSED: ("‖", "cyan"),
    ChildStatus.COMPLETED: ("✓", "green"),
    ChildStatus.FAILED: ("✗", "red"),
    ChildStatus.KILLED: ("✗", "red"),
}
_WIDTH = 60


async def supervise_file(
    path: Path, saver: BaseCheckpointSaver[Any], *, model: str | None, as_json: bool
) -> int:
    """Run the children of a file to their ends, and return the exit code.

    Args:
        path: The file.
        saver: Where their threads are stored.
        model: The model that the graphs are built with. None: their own.
        as_json: Whether the events go to stdout, a line each; else a tree is shown on stderr.

    Raises:
        ConfigurationError: The file cannot be used; the message lists every fault.
    """
    content = read_children(path)
    graphs = _graphs(path, content, saver, model)
    for name, graph in {e.graph: g for e, g in zip(content.children, graphs, strict=True)}.items():
        print_models(models_of(graph), name)
    bus = EventBus()
    supervisor = AgentSupervisor(content.config, bus=bus)
    with _Show(supervisor, path.name, ERRORS, as_json=as_json):
        removers = [
            on_signal(number, lambda again: _stop(supervisor, again=again))
            for number in (signal.SIGTERM, signal.SIGINT)
        ]
        try:
            finished = [
                await _begin(supervisor, entry, graph, model)
                for entry, graph in zip(content.children, graphs, strict=True)
            ]
            await supervisor.settled()
        finally:
            for remove in removers:
                remove()
            await supervisor.shutdown(0)
    opened = {entry.name: entry.graph for entry in content.children}
    for child in supervisor.children():
        _explain(child, opened.get(child.name, ""))
    progress = supervisor.aggregate_progress()
    completed = progress.counts[ChildStatus.COMPLETED] + finished.count(True)
    ERRORS.print(supervision_summary(progress), style="dim", markup=False, highlight=False)
    return 0 if completed == len(content.children) else FAILED


def _graphs(
    path: Path, content: ChildrenFile, saver: BaseCheckpointSaver[Any], model: str | None
) -> list[Graph]:
    faults: list[str] = []
    graphs: list[Graph] = []
    for entry in content.children:
        try:
            graphs.append(open_graph(entry.graph, model=model, checkpointer=saver))
        except ConfigurationError as error:
            faults.append(f"{entry.place}.graph: {error}")
    raise_faults(path, faults)
    return graphs


async def _begin(
    supervisor: AgentSupervisor, entry: ChildEntry, graph: Graph, model: str | None
) -> bool:
    """Begin a child, or go on with it; return whether it was finished before."""
    try:
        if entry.thread is not None:
            return await _go_on(supervisor, entry, graph, model)
        await supervisor.spawn(entry.name, entry.task, graph, **_read_entry(entry, model))
    except AsterismError as error:  # the other children go on
        ERRORS.print(f"{entry.name}: {error}", style="red", markup=False)
    return False


async def _go_on(
    supervisor: AgentSupervisor, entry: ChildEntry, graph: Graph, model: str | None
) -> bool:
    """Go on with a child that was begun before, or begin it on its thread."""
    thread, given = str(entry.thread), _read_entry(entry, model)
    try:
        child_id = await supervisor.adopt(thread, graph, name=entry.name, **given)
    except NothingPendingError:
        return True
    except UnknownChildError:
        await supervisor.spawn(entry.name, entry.task, graph, thread_id=thread, **given)
        return False
    if not supervisor.child(child_id).questions:  # they are asked at the end
        await supervisor.resume_child(child_id)
    return False


def _read_entry(entry: ChildEntry, model: str | None) -> dict[str, Any]:
    facts = {"graph": entry.graph}  # for asterism resume
    if model is not None:
        facts["model"] = model
    return {"quotas": entry.quotas, "metadata": entry.metadata, "config": {"metadata": facts}}


async def _stop(supervisor: AgentSupervisor, *, again: bool) -> None:
    ERRORS.print(
        "Stopping at once."
        if again
        else "Stopping when the steps at work are done; once more to stop at once."
    )
    await supervisor.shutdown(0 if again else PATIENCE, pause=True)


def _explain(child: SupervisedAgent, graph: str) -> None:
    """Say what is to be done about a child that did not complete."""
    if child.status is ChildStatus.COMPLETED:
        return
    ERRORS.print(f"{child.name}: {child.status}: {child.reason}", style="yellow", markup=False)
    if child.asks is not None:
        ERRORS.print(
            f"  Raise its {child.asks}, give it the thread {child.thread_id!r}, and run the file "
            "again.",
            markup=False,
        )
    elif child.status is ChildStatus.PAUSED:
        command = again(child.thread_id, graph, " 'your answer'" if child.questions else "")
        for question in child.questions:
            ERRORS.print(f"  {question['prompt']}", markup=False)
        ERRORS.print(f"  Go on with: {command}", markup=False)


def supervision_summary(progress: AgentProgress) -> str:
    """Say how far children are, and what they have used."""
    counts = ", ".join(f"{count} {status}" for status, count in progress.counts.items() if count)
    return f"{counts or 'nothing to do'}; {progress.tokens} tokens, ${progress.cost_usd:.4f}"


class _Show:
    """Shows children: a live tree in a terminal, a line per event where there is none, or JSON."""

    def __init__(
        self, supervisor: AgentSupervisor, title: str, console: Console, *, as_json: bool
    ) -> None:
        self._supervisor = supervisor
        self._title = title
        self._console = console
        self._live: Live | None = None
        if as_json:
            supervisor.bus.on(None, _print_event)
        elif console.is_terminal:
            self._live = Live(
                console=console, get_renderable=self._tree, refresh_per_second=4, transient=False
            )
        else:
            supervisor.bus.on(None, self._print_line)

    def __enter__(self) -> None:
        if self._live is not None:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _print_line(self, event: SupervisionEvent) -> None:
        if event.type in (Type.HEARTBEAT, Type.PROGRESS):
            return
        facts = event.facts
        said = facts.get("reason") or facts.get("quota") or ""
        line = f"{facts['name']} ({event.source}): {event.type} {said}".rstrip()
        self._console.print(line, markup=False, highlight=False)

    def _tree(self) -> Tree:
        progress = self._supervisor.aggregate_progress()
        tree = Tree(Text.assemble((self._title, "bold"), f"  {supervision_summary(progress)}"))
        for child in self._supervisor.children():
            tree.add(_line(child))
        return tree


def _line(child: SupervisedAgent) -> Text:
    """Return what is to be seen of a child at a moment."""
    mark, style = _LOOKS[child.status]
    usage = child.usage
    parts = [f"{usage.iterations} rounds", f"{usage.tokens} tokens", f"${usage.cost_usd:.4f}"]
    used = [part for part in usage.percentages.values() if part is not None]
    if used:
        parts.append(f"{max(used):.0f} % of its quota")
    if usage.restarts:
        parts.append(f"{usage.restarts} restarts")
    if child.silent_seconds is not None:
        parts.append(f"heard of {child.silent_seconds:.0f} s ago")
    doing = child.doing if child.status is ChildStatus.RUNNING else child.reason
    return Text.assemble(
        (f"{mark} ", style),
        (child.name, "bold"),
        f"  {child.status}  ",
        (", ".join(parts), "dim"),
        f"  {doing[:_WIDTH]}",
    )


def _print_event(event: SupervisionEvent) -> None:
    print_json(event.as_json(), indent=None)
