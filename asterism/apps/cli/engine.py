"""What commands need of the engine: graphs, threads, drawings, the page. Loads LangGraph."""

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from pydantic import SecretStr

from asterism.apps.cli.doctor import examine, report
from asterism.apps.cli.options import ERRORS
from asterism.apps.cli.output import again, finish
from asterism.apps.cli.run_command import drive, read_request
from asterism.apps.cli.supervise_command import supervise_file, supervision_summary
from asterism.apps.stored_threads import (
    MEMORY_FILE,
    check_model_label,
    config_of,
    list_threads,
    open_database,
    origin_of,
    reader_of,
    transcript,
)
from asterism.core.continuation import Graph, is_unfinished
from asterism.core.interrupts import answer_command, apending_requests
from asterism.core.steering import SteeringMessage, add_steering
from asterism.core.sync_async import arun_steps
from asterism.errors import ConfigurationError
from asterism.events import Event, EventBus
from asterism.graphs.catalog import allowed_graphs, check_named, models_of, open_graph
from asterism.graphs.request_checks import check_thread
from asterism.graphs.steering import read_message
from asterism.graphs.workflow import Workflow
from asterism.memories.long_term import forget_everywhere
from asterism.observability import (
    Format,
    RunRecord,
    aread_thread,
    compare_runs,
    generate_detailed_tool_trace,
    generate_orchestrator_flowchart,
    generate_timeline,
)
from asterism.storage.open import (
    aopen_checkpointer,
    is_postgres,
    migrate,
    open_archive,
    open_checkpointer,
    open_store,
)
from asterism.storage.retention import USER_KEYS, export_thread, forget_user, import_thread, prune
from asterism.supervision import AgentProgress, SupervisorConfig


async def has_waiting(graph: object, thread: str) -> bool:
    """Whether messages wait beside a thread that no run has taken in."""
    if not isinstance(graph, Workflow):
        return False
    return await graph.ahas_waiting({"configurable": {"thread_id": thread}})


async def steer_thread(url: str, thread: str, message: SteeringMessage) -> None:
    """Store a message beside a thread of a database, whoever runs it.

    Raises:
        ConfigurationError: There is no such thread.
    """
    async with aopen_checkpointer(url) as saver:
        await origin_of(saver, thread)
        await arun_steps(add_steering(saver, thread, message))


PICTURES: Mapping[str, Callable[..., str]] = {
    "flowchart": generate_orchestrator_flowchart,
    "tools": generate_detailed_tool_trace,
    "timeline": generate_timeline,
}


async def picture(
    saver: BaseCheckpointSaver[Any],
    thread: str,
    *,
    chosen: Mapping[str, bool],
    format: Format,
    other: str | None = None,
) -> str:
    """Draw a thread, or what differs between two.

    Args:
        saver: The database.
        thread: The thread.
        chosen: Which picture; none: the flowchart.
        format: How it is drawn.
        other: The thread that it is compared with: the later one.

    Raises:
        ConfigurationError: Several pictures are chosen, or one that cannot be drawn so.
        UnknownThreadError: A thread is not in the database.
        InvalidThreadError: That is no name of a thread.
    """
    wanted = [name for name, is_chosen in chosen.items() if is_chosen]
    if len(wanted) > 1 or (other is not None and wanted):
        raise ConfigurationError("Choose one picture: --tools, --timeline or --diff.")
    run = await _read(saver, thread)
    if other is None:
        drawn = PICTURES[wanted[0] if wanted else "flowchart"](run, format=format)
        return drawn + _tracebacks(run) if wanted == ["tools"] and format == "ascii" else drawn
    difference = compare_runs(run, await _read(saver, other))
    if format == "mermaid":
        raise ConfigurationError("--diff is a text or --json; it has no --mermaid.")
    if format == "json":
        return json.dumps(difference.as_json(), ensure_ascii=False, indent=2) + "\n"
    return str(difference)


def _tracebacks(run: RunRecord) -> str:
    """Write the tracebacks of the visits that failed, as they are stored."""
    visits = [visit for request in run.requests for visit in request.visits() if visit.traceback]
    return "".join(f"\n{visit.path}: {visit.traceback}\n" for visit in visits)


async def _read(saver: BaseCheckpointSaver[Any], thread: str) -> RunRecord:
    place: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    check_thread(place)
    saved = await saver.aget_tuple(place)
    facts = cast(Mapping[str, Any], saved.metadata if saved else {})
    return await aread_thread(saver, thread, name=str(facts.get("graph") or ""))


async def evaluate_dataset(team: str, dataset: str, **options: Any) -> int:
    """Run a team on examples and print its scores; see `asterism.apps.cli.eval_command`."""
    from asterism.apps.cli import eval_command  # it loads LangSmith's evaluation

    return await eval_command.evaluate_dataset(team, dataset, **options)


async def check_threads(
    team: str, db: str | None, *, baseline: str | None, model: str | None, **chosen: Any
) -> Any:
    """Check the threads of a database with a team; see `asterism.apps.change_check`.

    Raises:
        ConfigurationError: One of the graphs is no workflow, or the report cannot be read.
    """
    from asterism.apps.change_check import acheck, read_baseline

    new, old = _open_workflow(team, model), None
    if baseline is not None:
        is_report = baseline.endswith(".json")
        old = read_baseline(Path(baseline)) if is_report else _open_workflow(baseline, model)
    with open_archive(open_database(db)) as saver:
        return await acheck(new, saver, baseline=old, graph=team, **chosen)


async def record_threads(
    threads: Sequence[str], db: str | None, *, to: Path, graph: str | None, model: str | None
) -> list[Path]:
    """Write threads as tests, and return the files; see `asterism.testing.change_check`.

    Raises:
        ConfigurationError: A graph is no workflow, or stored data alone names it.
        StorageError: There is no such thread.
    """
    from asterism.testing.change_check.recordings import SUFFIX, record_thread

    written: list[Path] = []
    with open_archive(open_database(db)) as saver:
        for thread in threads:
            name, used = graph, model
            if name is None:
                name, label = await origin_of(saver, thread)
                check_named(name, allowed_graphs())
                used = model or check_model_label(label)
            team = _open_workflow(name, used)
            recording = record_thread(team, saver, thread, graph=name, model=used)
            path = to / f"{re.sub(r'[^A-Za-z0-9_-]+', '-', thread)}{SUFFIX}"
            to.mkdir(parents=True, exist_ok=True)
            path.write_text(recording.model_dump_json(indent=1) + "\n", encoding="utf-8")
            written.append(path)
    return written


def _open_workflow(name: str, model: str | None) -> Workflow[Any]:
    graph: Any = open_graph(name, model=model)
    if isinstance(cast(object, graph), Workflow):
        return cast(Workflow[Any], graph)
    raise ConfigurationError(f"{name!r} is no supervisor workflow, so it cannot be checked.")


async def compare_on_dataset(team: str, other: str, dataset: str, **options: Any) -> bool:
    """Run two teams on the same examples; see `asterism.apps.cli.eval_command`."""
    from asterism.apps.cli import eval_command  # it loads LangSmith's evaluation

    return await eval_command.compare_on_dataset(team, other, dataset, **options)


async def serve_page(
    *,
    port: int,
    db: str | None,
    graphs: Sequence[str] = (),
    model: str | None = None,
    pace: float = 0,
    open_to_all: bool = False,
    teams: Mapping[str, Any] = MappingProxyType({}),
    on_open: Callable[[str], Any] = lambda address: None,
) -> None:
    """Serve the page until the process is told to end.

    Args:
        port: The port; 0: any that is free.
        db: The database, as `--db` names it.
        graphs: Graphs as `module:attribute`, besides those that are shipped.
        model: The model that graphs of new threads are built with. None: their own.
        pace: Seconds that a reply of the offline model takes.
        open_to_all: Whether everybody on this machine may use it.
        teams: Graphs and builders by name, besides those that are named.
        on_open: Is called with the address, once it is served.

    Raises:
        ConfigurationError: What it needs is not installed, or the port is taken.
    """
    try:
        from asterism.apps.ui.app import create_app, serve
    except ImportError as error:
        raise ConfigurationError(
            f"The page needs packages ({error.name} is missing): pip install 'asterism-agents[ui]'."
        ) from error

    token = None if open_to_all else SecretStr(secrets.token_urlsafe(24))
    query = "" if token is None else f"/?token={token.get_secret_value()}"

    def ready(opened: int) -> None:
        address = f"http://localhost:{opened}{query}"
        ERRORS.print(
            f"The page is at {address} for this machine alone. Ctrl-C ends "
            "it; runs then stop at a step, and can go on.",
            highlight=False,
        )
        on_open(address)

    app = create_app(db=db, graphs=graphs, teams=teams, model=model, pace=pace, token=token)
    await serve(app, port, ready)


async def serve_mcp(
    graph: Graph, labels: Mapping[str, Any], *, port: int | None, open_to_all: bool
) -> int:
    """Serve a graph as a tool of an MCP server until the client, or whoever started it, ends it.

    Args:
        graph: The graph, with a checkpointer.
        labels: Metadata of its threads.
        port: The port of this machine for HTTP; 0: any that is free. None: stdin and stdout.
        open_to_all: Whether everybody on this machine may call it by HTTP.

    Raises:
        ConfigurationError: What it needs is not installed, or the port is taken.
    """
    try:
        from asterism.apps.mcp_server import create_mcp_server, serve_http
    except ImportError as error:
        raise ConfigurationError(
            f"MCP needs packages ({error.name} is missing): pip install 'asterism-agents[mcp]'."
        ) from error

    server = create_mcp_server(graph, name=str(labels["graph"]).split(":")[-1], labels=labels)
    if port is None:
        await server.run_stdio_async()
        return 0
    token = None if open_to_all else SecretStr(secrets.token_urlsafe(24))

    def ready(opened: int) -> None:
        ERRORS.print(f"The server is at http://localhost:{opened}/mcp for this machine alone.")
        if token is not None:
            ERRORS.print(f"Send the header: Authorization: Bearer {token.get_secret_value()}")

    await serve_http(server, port, token, ready)
    return 0


__all__ = [
    "MEMORY_FILE",
    "USER_KEYS",
    "AgentProgress",
    "Event",
    "EventBus",
    "Format",
    "SupervisorConfig",
    "again",
    "allowed_graphs",
    "answer_command",
    "aopen_checkpointer",
    "apending_requests",
    "check_model_label",
    "check_named",
    "check_threads",
    "compare_on_dataset",
    "config_of",
    "drive",
    "evaluate_dataset",
    "examine",
    "export_thread",
    "finish",
    "forget_everywhere",
    "forget_user",
    "has_waiting",
    "import_thread",
    "is_postgres",
    "is_unfinished",
    "list_threads",
    "migrate",
    "models_of",
    "open_checkpointer",
    "open_database",
    "open_graph",
    "open_store",
    "origin_of",
    "picture",
    "prune",
    "read_message",
    "read_request",
    "reader_of",
    "record_threads",
    "report",
    "serve_mcp",
    "serve_page",
    "steer_thread",
    "supervise_file",
    "supervision_summary",
    "transcript",
]
