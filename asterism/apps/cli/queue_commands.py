"""The commands of the queue: enqueue, worker, status, pause, kill, events."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from asterism.apps.cli.lazy_engine import engine
from asterism.apps.cli.options import (
    ERRORS,
    RUN,
    WORK,
    AsJson,
    ContinuedThread,
    Database,
    GraphName,
    Graphs,
    Model,
    RequestText,
    ThreadId,
    exit_with,
    print_json,
    print_text,
    text_of,
)
from asterism.core.values import plain_facts, shorten
from asterism.errors import ConfigurationError

commands = typer.Typer()

Quotas = Annotated[
    list[str] | None,
    typer.Option("--quota", help="A limit of the run: max_tokens=5000; may be repeated."),
]


@commands.command("enqueue", rich_help_panel=WORK)
def enqueue_request(
    graph: GraphName,
    request: RequestText,
    model: Model = None,
    thread: ContinuedThread = None,
    priority: Annotated[int, typer.Option(help="A request of higher priority runs first.")] = 0,
    idempotency_key: Annotated[
        str | None,
        typer.Option(help="A key of yours: two requests with the same key run once."),
    ] = None,
    quota: Quotas = None,
    db: Database = None,
    as_json: AsJson = False,
) -> None:
    """Put a request into the queue, and print the id of its thread.

    Example: asterism enqueue event_planning "Plan a party" --quota max_tokens=5000
    """

    async def work() -> int:
        from asterism.apps.workers.queue import enqueue

        found = await enqueue(
            _postgres(db),
            graph,
            request,
            model=model,
            thread=thread,
            priority=priority,
            key=idempotency_key,
            quotas=quotas_of(quota),
        )
        if as_json:
            print_json(asdict(found))
        else:
            print_text(found.thread)
        return 0

    exit_with(work())


@commands.command("worker", rich_help_panel=WORK)
def run_a_worker(
    concurrency: Annotated[int, typer.Option(min=1, help="How many runs go on at once.")] = 10,
    lease: Annotated[
        float,
        typer.Option(min=1, help="Seconds without a sign of life until others take its runs."),
    ] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Stop when the queue is empty.")] = False,
    ask: Annotated[
        bool,
        typer.Option("--ask", help="Pause a run that exceeds its quota instead of killing it."),
    ] = False,
    versions: Annotated[
        list[str] | None,
        typer.Option(
            "--version",
            help="Take no threads but those that this version of a team stored; may be repeated.",
        ),
    ] = None,
    graphs: Graphs = None,
    db: Database = None,
) -> None:
    """Run requests of the queue until SIGTERM or Ctrl-C. Unfinished runs go back at a step.

    Example: asterism worker --concurrency 4 --graph team:create_team
    """

    async def work() -> int:
        _postgres(db)
        from asterism.apps.workers.worker import JobResult, run_worker

        def show(done: JobResult) -> None:
            said = f"{done.thread}: {done.outcome}" + (f" ({done.error})" if done.error else "")
            ERRORS.print(said, markup=False, highlight=False)

        ERRORS.print(f"Up to {concurrency} runs at once; stop with Ctrl-C.", style="dim")
        config = engine.SupervisorConfig(auto_kill_on_quota=not ask)
        await run_worker(
            _postgres(db),
            concurrency=concurrency,
            graphs=graphs or (),
            lease=lease,
            wait=not once,
            config=config,
            on_done=show,
            versions=versions or (),
        )
        return 0

    exit_with(work())


@commands.command("status", rich_help_panel=WORK)
def show_status(db: Database = None, as_json: AsJson = False) -> None:
    """Show the queue: waiting, running and failed runs, and open questions.

    Example: asterism status --json
    """

    async def work() -> int:
        url = _postgres(db)
        from asterism.apps.workers.supervisor import open_supervisor

        async with open_supervisor(url) as supervisor:  # says what is missing
            progress = await supervisor.aggregate_progress()
        with engine.open_checkpointer(url) as saver:
            _print(saver, progress, as_json=as_json)
        return 0

    exit_with(work())


@commands.command("steer", rich_help_panel=RUN)
def steer_run(
    thread: ThreadId,
    message: Annotated[str, typer.Argument(help="The message, in your words.")],
    to: Annotated[
        str | None, typer.Option(help="The participant that it is for. Default: the supervisor.")
    ] = None,
    idle: Annotated[
        bool, typer.Option("--idle", help="Make it the next request, after the run.")
    ] = False,
    db: Database = None,
) -> None:
    """Send a message into a run, wherever it runs. Where none does, `resume` takes it up.

    Example: asterism steer THREAD "in French, and drop the catering"
    """

    async def work() -> int:
        said = engine.read_message(message, to, "idle" if idle else "asap")
        await engine.steer_thread(engine.open_database(db), thread, said)
        ERRORS.print(f"The message waits beside the thread {thread}.", markup=False)
        return 0

    exit_with(work())


@commands.command("pause", rich_help_panel=WORK)
def pause_run(thread: ThreadId, db: Database = None) -> None:
    """Pause a run of a worker at its next step. `asterism resume THREAD --queue` continues it.

    Example: asterism pause THREAD
    """
    exit_with(_steer(db, lambda supervisor: supervisor.pause_child(thread)))


@commands.command("kill", rich_help_panel=WORK)
def kill_run(
    thread: ThreadId,
    reason: Annotated[
        str, typer.Option(help="The reason, stored with the run.")
    ] = "it was told to stop",
    db: Database = None,
) -> None:
    """Stop a run of a worker at once and for good. Its stored steps are kept.

    Example: asterism kill THREAD --reason "wrong customer"
    """
    exit_with(_steer(db, lambda supervisor: supervisor.kill_child(thread, reason)))


@commands.command("events", rich_help_panel=WORK)
def show_events(db: Database = None, as_json: AsJson = False) -> None:
    """Print the events of all workers, a line each, until Ctrl-C.

    Example: asterism events --json
    """

    def show(event: "engine.Event") -> None:
        said = " ".join(f"{name}={value}" for name, value in event.facts.items())
        if as_json:
            print_json(event.as_json(), indent=None)
        else:
            print_text(shorten(f"{event.source}: {event.type} {said}", 200))

    async def work() -> int:
        url = _postgres(db)
        from asterism.apps.workers.supervisor import open_supervisor

        bus = engine.EventBus(history=0)
        bus.on(None, show)
        async with open_supervisor(url, bus=bus):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return 0

    exit_with(work())


async def resume_queued(db: str | None, thread: str, quota: list[str] | None) -> int:
    """Let a worker go on with a run that was paused, or asks for a quota."""

    async def steer(supervisor: Any) -> None:
        if quota:
            await supervisor.raise_quota(thread, **quotas_of(quota))
        else:
            await supervisor.resume_child(thread)

    return await _steer(db, steer)


def quotas_of(given: list[str] | None) -> dict[str, Any]:
    """Read quotas such as `max_tokens=5000`.

    Raises:
        ConfigurationError: One is none.
    """
    found: dict[str, Any] = {}
    for item in given or ():
        name, _, value = item.partition("=")
        try:
            found[name] = json.loads(value)
        except ValueError as error:
            raise ConfigurationError(
                f"The quota is {item!r}. Allowed: name=number, such as max_tokens=5000; "
                "name=null lifts it."
            ) from error
    return found


async def _steer(db: str | None, steer: Callable[[Any], Awaitable[None]]) -> int:
    url = _postgres(db)
    from asterism.apps.workers.supervisor import open_supervisor

    async with open_supervisor(url) as supervisor:
        await steer(supervisor)
    return 0


def _postgres(db: str | None) -> str:
    url = engine.open_database(db)
    if not engine.is_postgres(url):
        raise ConfigurationError(
            "A queue needs a Postgres database: --db postgresql://user:password@host/name, or "
            "ASTERISM_DB."
        )
    return url


def _print(saver: Any, progress: "engine.AgentProgress", *, as_json: bool) -> None:
    from asterism.apps.workers.status import queue_status

    found = queue_status(saver)
    if as_json:
        questions = [
            {"thread": thread, "id": request.id, "prompt": request.prompt}
            for thread, request in found.questions
        ]
        facts = {**asdict(found), "questions": questions, "progress": asdict(progress)}
        print_json(plain_facts(facts))
        return
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    print_text(f"queue: {counts or 'empty'}; {len(found.workers)} workers")
    if any(found.versions):
        shown = ", ".join(f"{n} of {name or 'none yet'}" for name, n in found.versions.items())
        print_text(f"versions: {shown}")
    if progress.children:
        print_text(
            f"runs: {engine.supervision_summary(progress)}; {progress.percent:.0f} % completed"
        )
    for title, jobs in (
        ("waiting", found.waiting),
        ("running", found.running),
        ("paused", found.paused),
        ("failed", found.failed),
    ):
        if jobs:
            table = Table(title, "graph", "tries", "since", "why", box=None)
            for job in jobs:
                since = f"{job.seconds:.0f} s"
                table.add_row(job.thread, job.graph, str(job.tries), since, job.why or "")
            print_text(text_of(table))
    for thread, request in found.questions:
        print_text(f"{thread} asks: {request.prompt}")
        print_text(f"  asterism resume {thread} 'your answer' --id {request.id}")
