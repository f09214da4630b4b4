"""The commands that keep running for others: watch, signal, mcp."""

import json
from contextlib import closing
from typing import Annotated, Any, cast

import typer

from asterism.apps.cli.lazy_engine import engine
from asterism.apps.cli.options import (
    ERRORS,
    RUN,
    WORK,
    Database,
    Decisions,
    GraphName,
    Model,
    exit_with,
    print_models,
)
from asterism.errors import ConfigurationError

commands = typer.Typer()


@commands.command("watch", rich_help_panel=WORK)
def watch_waits(
    graph: GraphName,
    once: Annotated[
        bool, typer.Option("--once", help="Look once and stop, as for a timer of your own.")
    ] = False,
    poll: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 30.0,
    model: Model = None,
    db: Database = None,
) -> None:
    """Continue runs of a graph whose timer is over, or whose event has arrived.

    Example: asterism watch team:create_team --db threads.db
    """

    async def work() -> int:
        from asterism.apps.question_clock import acheck_questions, awatch_questions
        from asterism.graphs.workflow import Workflow

        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            workflow: Any = engine.open_graph(graph, model=model, checkpointer=saver)
            if not isinstance(cast(object, workflow), Workflow):
                raise ConfigurationError(f"{graph!r} is no workflow of this library.")
            if once:
                await acheck_questions(workflow)
            else:
                ERRORS.print(f"Looks every {poll:g} seconds; press Ctrl-C to stop.")
                await awatch_questions(workflow, poll=poll)
        return 0

    exit_with(work())


@commands.command("signal", rich_help_panel=WORK)
def send_event(
    token: Annotated[str, typer.Argument(help="What the event is called.")],
    value: Annotated[str, typer.Argument(help="Its value, as JSON.")] = "null",
    db: Database = None,
) -> None:
    """Send an event to the run that waits for it, or will; `asterism watch` takes it in.

    Example: asterism signal payment-17 '{"paid": true}' --db threads.db
    """

    async def work() -> int:
        from asterism.apps.question_clock import store_event
        from asterism.storage.open import open_transactions

        try:
            read = json.loads(value)
        except ValueError as error:
            raise ConfigurationError(f"The value {value!r} is no JSON: {error}.") from error
        with closing(open_transactions(engine.open_database(db))) as transactions:
            store_event(transactions, token, read)
        ERRORS.print("Stored.")
        return 0

    exit_with(work())


@commands.command("mcp", rich_help_panel=RUN)
def serve_by_mcp(
    graph: GraphName,
    model: Model = None,
    decisions: Decisions = None,
    port: Annotated[
        int | None, typer.Option(help="Serve HTTP at this port; 0: any free one.")
    ] = None,
    db: Database = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="HTTP without a token.")] = False,
) -> None:
    """Serve a graph as a tool of an MCP server, for clients of this machine.

    Example: asterism mcp event_planning
    """

    async def work() -> int:
        async with engine.aopen_checkpointer(engine.open_database(db)) as saver:
            opened = engine.open_graph(graph, model=model, checkpointer=saver)
            print_models(engine.models_of(opened))
            labels = engine.config_of("", graph, model).get("metadata") or {}
            return await engine.serve_mcp(opened, labels, port=port, open_to_all=no_token)

    exit_with(work())
