"""What the commands share: options, the database, and how a command ends."""

import asyncio
import os
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
from rich.table import Table

from asterism.cli.terminal import ERRORS, FAILED, STOPPED, SafeConsole
from asterism.core.agent_spec import METHOD_VARIABLE, Method
from asterism.core.values import describe_error
from asterism.errors import FALLBACK_WAY, AsterismError

Model = Annotated[str, typer.Option(envvar="ASTERISM_MODEL", help="provider:model, or offline.")]


def _set_decisions(value: Method | None) -> Method | None:
    """Let every model of this process be asked in one way."""
    if value:
        os.environ[METHOD_VARIABLE] = value
    return value


Decisions = Annotated[
    Method | None,
    typer.Option(
        envvar=METHOD_VARIABLE,
        callback=_set_decisions,
        help="How models are asked to decide; nothing: as each of them is able to.",
    ),
]
Database = Annotated[
    str | None,
    typer.Option("--db", envvar="ASTERISM_DB", help="A sqlite file, postgresql://... or :memory:."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
GraphName = Annotated[str, typer.Argument(help="A shipped graph, or module:attribute.")]
Graphs = Annotated[
    list[str] | None,
    typer.Option("--graph", help="A graph of yours, as module:attribute; may be repeated."),
]


def exit_with(work: Coroutine[Any, Any, int]) -> None:
    """Run a command; every failure becomes one sentence and an exit code."""
    try:
        code = asyncio.run(work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = STOPPED
    except AsterismError as error:
        ERRORS.print(_with_ways_out(str(error)), style="red", markup=False)
        code = FAILED
    except BaseException as error:
        if os.environ.get("ASTERISM_DEBUG"):
            raise
        ERRORS.print(_sentence(error), style="red", markup=False)
        code = FAILED
    raise typer.Exit(code)


def _with_ways_out(text: str) -> str:
    """Name the ways out that there are on a command line, where there is no builder."""
    ways = "Try another --model"
    if "--decisions" not in text:
        ways += f", or --decisions json_schema or json ({METHOD_VARIABLE})"
    text = text.replace(FALLBACK_WAY, f"{ways}; see `asterism trace THREAD --tools`.")
    return text.replace("go on with proceed()", "go on with `asterism resume THREAD`")


def _sentence(error: BaseException) -> str:
    """Say in one sentence what went wrong outside of Asterism."""
    said = " ".join(describe_error(error).split())
    if type(error).__module__.split(".")[0] in ("openai", "anthropic", "httpx", "httpx2"):
        return f"The model's server cannot be used: {said}"
    return said


def text_of(table: Table) -> str:
    """Return a table as text, of one width wherever it is printed."""
    console = SafeConsole(width=120, color_system=None, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()
