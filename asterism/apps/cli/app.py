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

from asterism.apps.cli import database_commands, new_command, queue_commands
from asterism.apps.cli.lazy_engine import engine
from asterism.apps.cli.options import (
    ERRORS,
    FAILED,
    LOOK,
    NEEDS_INPUT,
    RUN,
    AsJson,
    Database,
    Debug,
    Decisions,
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

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, help=__doc__)
app.add_typer(new_command.commands)
app.add_typer(database_commands.commands)
app.add_typer(queue_commands.commands)


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
    """Run, inspect and operate Asterism workflows."""


Out = Annotated[Path | None, typer.Option(help="A folder for the answer and its files.")]


@app.command(rich_help_panel=RUN)
def run(
    graph: GraphName,
    request: RequestText,
    model: Model = None,
    decisions: Decisions = None,
    thread: Annotated[str | None, typer.Option(help="Go on with this conversation.")] = None,
    debug: Debug = False,
    db: Database = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Run a graph on a request."""
    thread = thread or uuid.uuid4().hex[:8]

    async def work() -> int:
        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            opened = engine.open_graph(graph, model=model, checkpointer=saver)
            print_models(engine.models_of(opened))
            config = engine.config_of(thread, graph, model)
            given = {"messages": [("user", request)]}
            with _going_on(engine.again(thread, graph), kept=db != engine.MEMORY_FILE):
                outcome = await engine.drive(opened, config, given, ask=not as_json)
            return engine.finish(outcome, thread, graph=graph, as_json=as_json, out=out)

    exit_with(work())


@app.command(rich_help_panel=RUN)
def resume(
    thread: ThreadId,
    answer: Annotated[str | None, typer.Argument(help="The answer; nothing: just go on.")] = None,
    request_id: Annotated[str | None, typer.Option("--id", help="Which question.")] = None,
    graph: Annotated[
        str | None, typer.Option(help="The graph of the thread, where it is not a shipped one.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Another model than before.")] = None,
    decisions: Decisions = None,
    queue: Annotated[bool, typer.Option("--queue", help="Let a worker go on with it.")] = False,
    quota: queue_commands.Quotas = None,
    debug: Debug = False,
    db: Database = None,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Answer a question of a thread, or go on with what was stopped."""

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
                if pending or not engine.is_unfinished(await opened.aget_state(config)):
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
        str, typer.Argument(help="A file (.jsonl, .json, .yaml, .csv), or a database of threads.")
    ],
    thread: Annotated[
        list[str] | None, typer.Option(help="A thread of that database; may be repeated.")
    ] = None,
    evaluator: Annotated[
        list[str] | None,
        typer.Option(
            help="route, contains, match, cost, turns, judge, or module:function of yours; may be "
            "repeated. Nothing: the ready ones."
        ),
    ] = None,
    judge: Annotated[str | None, typer.Option(help="The model that judges answers.")] = None,
    fail_under: Annotated[
        list[str] | None, typer.Option(help="Exit with 1 below it: route=0.9; may be repeated.")
    ] = None,
    upload: Annotated[
        bool, typer.Option("--upload", help="Send examples, traces and scores to LangSmith.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="The experiment's name at LangSmith.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="How many run at once.")] = 1,
    model: Model = None,
    decisions: Decisions = None,
    db: Annotated[
        str, typer.Option("--db", help="Where the threads of the evaluation are kept.")
    ] = ":memory:",
    as_json: AsJson = False,
) -> None:
    """Run a team on examples and print its scores; nothing is sent without --upload."""

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
    file: Annotated[Path, typer.Argument(help="Children and their quotas, as TOML or YAML.")],
    model: Model = None,
    decisions: Decisions = None,
    db: Database = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events, a line each.")] = False,
) -> None:
    """Run the children of a file under supervision."""

    async def work() -> int:
        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            return await engine.supervise_file(file, saver, model=model, as_json=as_json)

    exit_with(work())


@app.command(rich_help_panel=RUN)
def ui(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    model: Model = None,
    decisions: Decisions = None,
    db: Database = None,
    graphs: Graphs = None,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Let everybody on this machine use the page.")
    ] = False,
    pace: Annotated[
        float, typer.Option(min=0, help="Seconds that a reply of the offline model takes.")
    ] = 0,
) -> None:
    """Watch runs and answer their questions in a browser on this machine."""

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
    """Try what a model and its server are able to do, by six short calls; say what to set."""

    async def work() -> int:
        chosen = model or OFFLINE
        print_models((chosen,))
        found = await asyncio.to_thread(engine.examine, chosen)
        return engine.report(found, as_json=as_json)

    exit_with(work())


@app.command("list", rich_help_panel=LOOK)
def list_graphs(as_json: AsJson = False) -> None:
    """List the graphs that are shipped."""
    if as_json:
        print_json({name: shipped.description for name, shipped in engine.SHIPPED.items()})
        return
    for name, shipped in engine.SHIPPED.items():
        print_text(f"{name}\n  {shipped.description}\n  asterism run {name} {shipped.example!r}")


@app.command(rich_help_panel=LOOK)
def graph(
    name: GraphName,
    ascii: Annotated[bool, typer.Option("--ascii", help="Draw with characters.")] = False,
    xray: Annotated[bool, typer.Option("--xray", help="Show the participants' insides.")] = False,
) -> None:
    """Draw a graph, as Mermaid."""

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
    limit: Annotated[int, typer.Option(min=1, help="How many, the latest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the threads of a database."""

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
    """Show the conversation of a thread."""

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
    tools: Annotated[bool, typer.Option("--tools", help="Every tool, tokens, money.")] = False,
    timeline: Annotated[bool, typer.Option("--timeline", help="What ran when.")] = False,
    diff: Annotated[str | None, typer.Option(help="Compare with a later thread.")] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Draw as Mermaid.")] = False,
    db: Database = None,
    as_json: AsJson = False,
) -> None:
    """Draw what ran on a thread: boxes and arrows, a tree, or a timeline."""

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
