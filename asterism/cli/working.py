"""The commands of the queue: enqueue, worker, status."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from asterism.cli import output
from asterism.cli.options import AsJson, Database, GraphName, Model, exit_with, text_of
from asterism.cli.running import ERRORS
from asterism.errors import ConfigurationError
from asterism.models import OFFLINE
from asterism.storage import is_postgres, open_checkpointer
from asterism.threads import database

commands = typer.Typer()


@commands.command("enqueue")
def enqueue_request(
    graph: GraphName,
    request: str,
    model: Model = OFFLINE,
    thread: Annotated[str | None, typer.Option(help="Go on with this conversation.")] = None,
    priority: Annotated[int, typer.Option(help="Higher comes first.")] = 0,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Asked twice with one key, it is run once.")
    ] = None,
    db: Database = None,
    as_json: AsJson = False,
) -> None:
    """Put a request into the queue, for workers to run."""

    async def work() -> int:
        from asterism.workers.queue import enqueue

        found = await enqueue(
            _postgres(db),
            graph,
            request,
            model=model,
            thread=thread,
            priority=priority,
            key=idempotency_key,
        )
        if as_json:
            output.print_json(asdict(found))
        else:
            typer.echo(found.thread)
        return 0

    exit_with(work())


@commands.command("worker")
def run_a_worker(
    concurrency: Annotated[int, typer.Option(min=1, help="How many runs at once.")] = 10,
    lease: Annotated[
        float, typer.Option(min=1, help="Seconds of silence until its runs go on elsewhere.")
    ] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Stop when the queue is empty.")] = False,
    db: Database = None,
) -> None:
    """Run what stands in the queue, until SIGTERM or Ctrl-C; runs go back at their next step."""

    async def work() -> int:
        _postgres(db)
        from asterism.workers.worker import Done, run_worker

        def show(done: Done) -> None:
            said = f"{done.thread}: {done.outcome}" + (f" ({done.error})" if done.error else "")
            ERRORS.print(said, markup=False, highlight=False)

        ERRORS.print(f"Up to {concurrency} runs at once; stop with Ctrl-C.", style="dim")
        await run_worker(
            _postgres(db), concurrency=concurrency, lease=lease, wait=not once, on_done=show
        )
        return 0

    exit_with(work())


@commands.command("status")
def show_status(db: Database = None, as_json: AsJson = False) -> None:
    """Show the queue: what waits, what runs, what failed, who is asked what."""

    async def work() -> int:
        url = _postgres(db)
        from asterism.workers.queue import open_queue

        async with open_queue(url):  # says what is missing
            pass
        with open_checkpointer(url) as saver:
            _print(saver, as_json=as_json)
        return 0

    exit_with(work())


def _postgres(db: str | None) -> str:
    url = database(db)
    if not is_postgres(url):
        raise ConfigurationError(
            "A queue needs a Postgres database: --db postgresql://user:password@host/name, or "
            "ASTERISM_DB."
        )
    return url


def _print(saver: Any, *, as_json: bool) -> None:
    from asterism.workers.status import queue_status

    found = queue_status(saver)
    if as_json:
        questions = [
            {"thread": thread, "id": request.id, "prompt": request.prompt}
            for thread, request in found.questions
        ]
        output.print_json({**asdict(found), "questions": questions})
        return
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    typer.echo(f"queue: {counts or 'empty'}; {len(found.workers)} workers")
    for title, jobs in (
        ("waiting", found.waiting),
        ("running", found.running),
        ("failed", found.failed),
    ):
        if jobs:
            table = Table(title, "graph", "tries", "since", "error", box=None)
            for job in jobs:
                since = f"{job.seconds:.0f} s"
                table.add_row(job.thread, job.graph, str(job.tries), since, job.error or "")
            typer.echo(text_of(table))
    for thread, request in found.questions:
        typer.echo(f"{thread} asks: {request.prompt}")
        typer.echo(f"  asterism resume {thread} 'your answer' --id {request.id}")
