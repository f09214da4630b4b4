"""The commands for new versions of a team: check, record, compare."""

from pathlib import Path
from typing import Annotated, Any

import typer

from asterism.apps.cli.lazy_engine import engine
from asterism.apps.cli.options import (
    ERRORS,
    OWN_GRAPH,
    RUN,
    AsJson,
    Database,
    GraphName,
    Model,
    exit_with,
    print_json,
    print_text,
)

commands = typer.Typer()


@commands.command("check", rich_help_panel=RUN)
def check_threads(
    team: GraphName,
    against: Annotated[
        str | None,
        typer.Option(envvar="ASTERISM_DB", help="The database: a sqlite file, postgresql://..."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="The team as it was: a graph, or a .json file that --json wrote with the old code."
        ),
    ] = None,
    thread: Annotated[
        list[str] | None, typer.Option(help="A thread; may be repeated. Default: all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many threads, the latest first.")] = 10_000,
    past: Annotated[int, typer.Option(min=0, help="How many finished threads to replay.")] = 5,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 also where a thread changes.")
    ] = False,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Find which stored threads new code breaks or changes. Calls no model, writes nothing.

    Example: asterism check event_planning --against threads.db
    """

    async def work() -> int:
        chosen: dict[str, Any] = {"threads": thread, "limit": limit, "past": past}
        report = await engine.check_threads(team, against, baseline=baseline, model=model, **chosen)
        print_json(report.as_json()) if as_json else print_text(str(report).rstrip())
        code: int = report.exit_code(strict=strict)
        return code

    exit_with(work())


@commands.command("record", rich_help_panel=RUN)
def record_threads(
    threads: Annotated[list[str], typer.Argument(help="Threads, as `asterism threads` lists.")],
    to: Annotated[Path, typer.Option(help="The folder of the recordings.")],
    graph: Annotated[
        str | None,
        typer.Option(help=f"The graph, where it is not a shipped one: {OWN_GRAPH}."),
    ] = None,
    model: Model = None,
    db: Database = None,
) -> None:
    """Write threads as tests, without secrets, for `pytest --asterism-replay`.

    Example: asterism record THREAD --to tests/recordings
    """

    async def work() -> int:
        for path in await engine.record_threads(threads, db, to=to, graph=graph, model=model):
            ERRORS.print(f"wrote {path}", markup=False, highlight=False)
        return 0

    exit_with(work())


@commands.command("compare", rich_help_panel=RUN)
def compare_teams(
    team: GraphName,
    other: Annotated[str, typer.Argument(help=f"The other version: {OWN_GRAPH}.")],
    dataset: Annotated[
        str,
        typer.Argument(help="A file of examples (.jsonl, .json, .yaml, .csv), or a database."),
    ],
    thread: Annotated[
        list[str] | None,
        typer.Option(help="A thread of the database, as an example; may be repeated."),
    ] = None,
    evaluator: Annotated[
        list[str] | None, typer.Option(help="A score, as for eval; may be repeated.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 1 where an example differs.")
    ] = False,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Run two versions of a team on examples: route, answer, turns and cost side by side.

    Example: asterism compare team:old team:new examples.jsonl
    """

    async def work() -> int:
        differs = await engine.compare_on_dataset(
            team,
            other,
            dataset,
            threads=thread or (),
            evaluators=evaluator or (),
            options={} if model is None else {"model": model},
            as_json=as_json,
        )
        return int(strict and differs)

    exit_with(work())
