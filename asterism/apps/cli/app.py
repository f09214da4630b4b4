"""Run, inspect and operate Asterism workflows."""

import asyncio
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from asterism.apps.cli import (
    change_commands,
    database_commands,
    new_command,
    queue_commands,
    serve_commands,
)
from asterism.apps.cli.lazy_engine import engine
from asterism.apps.cli.options import (
    ERRORS,
    FAILED,
    LOOK,
    NEEDS_INPUT,
    OWN_GRAPH,
    RUN,
    AsJson,
    ContinuedThread,
    Database,
    Debug,
    Decisions,
    Files,
    GraphName,
    Graphs,
    Model,
    RequestText,
    ThreadId,
    exit_with,
    print_json,
    print_models,
    print_text,
    text_of,
)
from asterism.core.defaults import OFFLINE
from asterism.errors import ConfigurationError
from asterism.graphs.shipped import SHIPPED

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False)
app.add_typer(new_command.commands)
app.add_typer(change_commands.commands)
app.add_typer(database_commands.commands)
app.add_typer(queue_commands.commands)
app.add_typer(serve_commands.commands)


def _print_version(chosen: bool) -> None:
    if chosen:
        print_text(version("asterism-agents"))
        raise typer.Exit


@app.callback()
def begin(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Run, inspect and operate Asterism workflows.

    Example: asterism new my_team
    """


Out = Annotated[
    Path | None,
    typer.Option(help="Write the answer, and the files that tools made, to this folder."),
]


@app.command(rich_help_panel=RUN)
def run(
    graph: GraphName,
    request: RequestText,
    file: Files = None,
    model: Model = None,
    decisions: Decisions = None,
    thread: ContinuedThread = None,
    debug: Debug = False,
    db: Database = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Run a graph on a request, and print the answer.

    Example: asterism run event_planning "Plan a party for 20 people in Seattle on May 5th"
    """
    thread = thread or uuid.uuid4().hex[:8]

    async def work() -> int:
        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            opened = engine.open_graph(graph, model=model, checkpointer=saver)
            print_models(engine.models_of(opened))
            is_stored = db != engine.MEMORY_FILE
            if is_stored:
                known = f"Thread {thread}; look at it: asterism trace {thread}"
                ERRORS.print(known, style="dim", markup=False, highlight=False)
            config = engine.config_of(thread, graph, model)
            given = engine.read_request(request, file or ())
            with _going_on(engine.again(thread, graph), kept=is_stored):
                outcome = await engine.drive(opened, config, given, ask=not as_json)
            return engine.finish(outcome, thread, graph=graph, as_json=as_json, out=out)

    exit_with(work())


@app.command(rich_help_panel=RUN)
def resume(
    thread: ThreadId,
    answer: Annotated[
        str | None, typer.Argument(help="The answer. Without it, a stopped run goes on.")
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option("--id", help="The id of the question, where a thread has several."),
    ] = None,
    graph: Annotated[
        str | None,
        typer.Option(help=f"The graph of the thread, where it is not a shipped one: {OWN_GRAPH}."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model, provider:model or offline, in place of the old one."),
    ] = None,
    decisions: Decisions = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="Let a worker of the queue continue the run.")
    ] = False,
    quota: queue_commands.Quotas = None,
    debug: Debug = False,
    db: Database = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Answer a question or an approval of a thread, or continue a stopped run.

    Example: asterism resume THREAD approve --graph team:create_team
    """

    async def work() -> int:
        if queue and answer is None:
            return await queue_commands.resume_queued(db, thread, quota)
        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            name, used = await _choose_graph_and_model(saver, thread, graph, model)
            opened = engine.open_graph(name, model=used, checkpointer=saver, is_label=model is None)
            config = engine.config_of(thread, name, used)
            pending = await engine.apending_requests(opened, config)
            if answer is not None:
                answers = {request_id: answer} if request_id else answer
                given: Any = engine.answer_command(pending, answers)
                if queue:
                    return await _hand_over(db, thread, given, (name, used))
            else:
                given = None
                rests = not engine.is_unfinished(await opened.aget_state(config))
                if pending or (rests and not await engine.has_waiting(opened, thread)):
                    what = "waits for an answer" if pending else "has nothing unfinished"
                    ERRORS.print(f"The thread {thread} {what}.", markup=False)
                    return NEEDS_INPUT if pending else FAILED
            print_models(engine.models_of(opened))
            with _going_on(engine.again(thread, name), kept=db != engine.MEMORY_FILE):
                outcome = await engine.drive(opened, config, given, ask=not as_json)
            return engine.finish(outcome, thread, graph=name, as_json=as_json, out=out)

    exit_with(work())


@app.command("eval", rich_help_panel=RUN)
def evaluate(
    team: GraphName,
    dataset: Annotated[
        str,
        typer.Argument(help="A file of examples (.jsonl, .json, .yaml, .csv), or a database."),
    ],
    thread: Annotated[
        list[str] | None,
        typer.Option(help="A thread of the database, as an example; may be repeated."),
    ] = None,
    evaluator: Annotated[
        list[str] | None,
        typer.Option(
            help="A score: route, contains, match, cost, turns, judge, or a module:function of "
            "yours; may be repeated. Default: all that need no judge."
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="The model that judges answers, as provider:model.")
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(help="Exit with code 1 below this mean score: route=0.9; may be repeated."),
    ] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="Send examples, traces and scores to LangSmith.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="The name of the experiment in LangSmith.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="How many examples run at once.")] = 1,
    model: Model = None,
    decisions: Decisions = None,
    db: Annotated[
        str,
        typer.Option("--db", help="The database for the threads of the evaluation."),
    ] = ":memory:",
    as_json: AsJson = False,
) -> None:
    """Run a graph on examples and print its scores. Without --upload, nothing is sent.

    Example: asterism eval event_planning examples.jsonl --fail-under route=0.9
    """

    async def work() -> int:
        print_models(engine.models_of(engine.open_graph(team, model=model)))
        options: Any = {"upload": upload, "concurrency": concurrency}
        named = {"model": model, "judge": judge, "name": name}
        options |= {key: value for key, value in named.items() if value is not None}
        return await engine.evaluate_dataset(
            team,
            dataset,
            threads=thread or (),
            evaluators=evaluator or (),
            fail_under=fail_under or (),
            options=options,
            db=db,
            as_json=as_json,
        )

    exit_with(work())


@app.command(rich_help_panel=RUN)
def supervise(
    file: Annotated[
        Path, typer.Argument(help="The children and their quotas: TOML, YAML or JSON.")
    ],
    model: Model = None,
    decisions: Decisions = None,
    db: Database = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each event as a line of JSON.")
    ] = False,
) -> None:
    """Run the graphs that a file lists, each with its quota.

    Example: asterism supervise children.toml --db threads.db
    """

    async def work() -> int:
        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            return await engine.supervise_file(file, saver, model=model, as_json=as_json)

    exit_with(work())


@app.command(rich_help_panel=RUN)
def ui(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 takes any free one.")
    ] = 8000,
    model: Model = None,
    decisions: Decisions = None,
    db: Database = None,
    graphs: Graphs = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let every user of this machine open the page.")
    ] = False,
    pace: Annotated[
        float, typer.Option(min=0, help="Seconds that each reply of the offline model takes.")
    ] = 0,
) -> None:
    """Serve a web page on this machine: watch runs, answer questions, approve tool calls.

    Example: asterism ui --graph team:create_team
    """

    async def work() -> int:
        named = engine.allowed_graphs(graphs or ())
        opened = [engine.open_graph(name, model=model) for name in named]
        async with engine.aopen_checkpointer(engine.open_database(db)):
            for name, graph in zip(named, opened, strict=True):  # faults are told before it starts
                print_models(engine.models_of(graph), name)
        await engine.serve_page(
            port=port, db=db, graphs=named, model=model, pace=pace, open_to_all=no_token
        )
        return 0

    exit_with(work())


@app.command(rich_help_panel=RUN)
def doctor(model: Model = None, as_json: AsJson = False) -> None:
    """Check what a model supports, by six short calls, and print what to set.

    Example: asterism doctor --model openai:gpt-5-mini
    """

    async def work() -> int:
        chosen = model or OFFLINE
        print_models((chosen,))
        found = await asyncio.to_thread(engine.examine, chosen)
        return engine.report(found, as_json=as_json)

    exit_with(work())


@app.command("list", rich_help_panel=LOOK)
def list_graphs(as_json: AsJson = False) -> None:
    """List the graphs that come with Asterism, each with a request to try.

    Example: asterism list
    """
    if as_json:
        print_json({name: shipped.description for name, shipped in SHIPPED.items()})
        return
    for name, shipped in SHIPPED.items():
        print_text(f"{name}\n  {shipped.description}\n  asterism run {name} {shipped.example!r}")


@app.command(rich_help_panel=LOOK)
def graph(
    name: GraphName,
    ascii: Annotated[
        bool, typer.Option("--ascii", help="Draw with characters instead of Mermaid.")
    ] = False,
    xray: Annotated[
        bool, typer.Option("--xray", help="Show the nodes of each participant.")
    ] = False,
) -> None:
    """Draw the nodes and edges of a graph, as Mermaid.

    Example: asterism graph event_planning --xray
    """

    async def work() -> int:
        drawing = engine.open_graph(name).get_graph(xray=xray)
        try:
            print_text(drawing.draw_ascii() if ascii else drawing.draw_mermaid())
        except ImportError as error:
            raise ConfigurationError(
                "Drawing with characters needs a package: pip install 'asterism-agents[pictures]'. "
                "Without --ascii the graph is drawn as Mermaid."
            ) from error
        return 0

    exit_with(work())


@app.command(rich_help_panel=LOOK)
def threads(
    db: Database = None,
    limit: Annotated[int, typer.Option(min=1, help="The number of threads, latest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the threads of a database with their status.

    Example: asterism threads --limit 5
    """

    async def work() -> int:
        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            found = await engine.list_threads(saver, limit)
        if as_json:
            print_json(found)
            return 0
        table = Table("thread", "graph", "status", "when", "request", box=None)
        for row in found:
            table.add_row(*(row[key] for key in ("thread", "graph", "status", "when", "request")))
        ERRORS.print(table) if not found else print_text(text_of(table))
        return 0

    exit_with(work())


@app.command(rich_help_panel=LOOK)
def show(thread: ThreadId, db: Database = None, as_json: AsJson = False) -> None:
    """Print the conversation of a thread.

    Example: asterism show THREAD
    """

    async def work() -> int:
        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            name, model = await engine.origin_of(saver, thread)
            reader = engine.reader_of(saver)
            snapshot = await reader.aget_state(engine.config_of(thread, name, model))
        lines = engine.transcript(snapshot)
        if as_json:
            print_json({"thread": thread, "graph": name, "messages": lines})
        else:
            print_text("\n\n".join(f"{line['name']}: {line['text']}" for line in lines))
        return 0

    exit_with(work())


@app.command(rich_help_panel=LOOK)
def trace(
    thread: ThreadId,
    tools: Annotated[
        bool, typer.Option("--tools", help="List tool calls, tokens and cost.")
    ] = False,
    timeline: Annotated[bool, typer.Option("--timeline", help="Draw what ran when.")] = False,
    diff: Annotated[str | None, typer.Option(help="Compare with this later thread.")] = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Draw as Mermaid instead of characters.")
    ] = False,
    db: Database = None,
    as_json: AsJson = False,
) -> None:
    """Draw what ran on a thread: a flow chart, a list of tool calls, or a timeline.

    Example: asterism trace THREAD --tools
    """

    async def work() -> int:
        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            chosen = {"tools": tools, "timeline": timeline}
            format: engine.Format = "json" if as_json else "mermaid" if mermaid else "ascii"
            drawn = await engine.picture(saver, thread, chosen=chosen, format=format, other=diff)
        print_text(drawn.removesuffix("\n"))
        return 0

    exit_with(work())


async def _choose_graph_and_model(
    saver: Any, thread: str, graph: str | None, model: str | None
) -> tuple[str, str | None]:
    """Return the graph and the model of a thread: what a person says, else its labels."""
    if graph is not None and model is not None:
        return graph, model
    name, used = await engine.origin_of(saver, thread)
    if graph is None:
        try:
            engine.check_named(name, engine.allowed_graphs())
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error} If you trust it, go on with: asterism resume {thread} --graph "
                "module:attribute, and the graph that the thread was started with."
            ) from None
    return graph or name, model or engine.check_model_label(used)


async def _hand_over(
    db: str | None, thread: str, given: Any, origin: tuple[str, str | None]
) -> int:
    """Let a worker go on with a thread whose questions are answered."""
    from asterism.apps.workers.queue import enqueue_answers

    graph, model = origin
    found = await enqueue_answers(
        engine.open_database(db), thread, given.resume, graph=graph, model=model
    )
    if not found.new:
        ERRORS.print("This was answered before; the first answer holds.")
    return 0


@contextmanager
def _going_on(again: str, *, kept: bool) -> Generator[None]:
    """Say how to go on when a run breaks off, where what was done is kept."""
    try:
        yield
    except BaseException:
        if kept:
            ERRORS.print(f"What was done is kept; go on with: {again}", markup=False)
        raise
