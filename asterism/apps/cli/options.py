"""Options, consoles and exit codes that commands share. Nothing here loads LangGraph."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Coroutine, Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from asterism.core.defaults import METHOD_VARIABLE, OFFLINE, Method
from asterism.core.values import describe_error, printable_json, printable_text
from asterism.errors import FALLBACK_WAY, AsterismError


class SafeConsole(Console):
    """A console that is steered by nothing that it shows."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render something; control characters in its texts are left out."""
        for part in super().render(renderable, options):
            yield part if part.control else part._replace(text=printable_text(part.text))


class SafeFormatter(logging.Formatter):
    """Writes what is logged, without what would steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        return printable_text(super().format(record))


ERRORS = SafeConsole(stderr=True, soft_wrap=True, markup=False, emoji=False)
"""Where progress and questions go; the result alone goes to stdout."""

NEEDS_INPUT = 3
"""The exit code when a question is open and nobody is there to answer it."""
STOPPED = 130
"""The exit code after Ctrl-C, as shells have it."""
FAILED = 1
"""The exit code of every end that is not a result."""


def print_text(text: str) -> None:
    """Print a text to stdout, without what would steer a terminal."""
    sys.stdout.write(f"{printable_text(text)}\n")
    sys.stdout.flush()


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print JSON to stdout."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    sys.stdout.write(f"{printable_json(text)}\n")
    sys.stdout.flush()


def print_models(models: Sequence[str], graph: str = "") -> None:
    """Say which models a graph calls; the offline model is never passed off as another one."""
    about = f"{graph}: " if graph else ""
    if tuple(models) == (OFFLINE,):
        said = (
            "Offline model: fixed rules instead of a language model, no key needed. "
            "Choose another with --model."
        )
    elif models:
        named = [f"{name} (fixed rules)" if name == OFFLINE else name for name in models]
        said = f"Model{'s' if len(named) > 1 else ''}: {', '.join(named)}."
    else:
        return
    ERRORS.print(f"{about}{said}", style="dim", markup=False, highlight=False)


RUN, LOOK, KEEP, WORK = "Run", "Look", "Databases", "Workers"
"""The groups of commands in `asterism --help`."""

ThreadId = Annotated[
    str, typer.Argument(help="The id of a thread, as `asterism threads` lists it.")
]
RequestText = Annotated[str, typer.Argument(help="The request, in your words.")]
ContinuedThread = Annotated[
    str | None,
    typer.Option(help="The id of a thread: continue it, or begin it. Default: a new thread."),
]
Model = Annotated[
    str | None,
    typer.Option(
        envvar="ASTERISM_MODEL",
        help="A model: provider:model or offline. Default: that of the graph, or offline.",
    ),
]


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
        help="How a supervisor's model returns its decision. Default: as the model is able to.",
    ),
]
DEBUG_VARIABLE = "ASTERISM_DEBUG"
"""The environment variable that lets every failure end a command with its traceback."""


def _set_debug(value: bool) -> bool:
    if value:
        os.environ[DEBUG_VARIABLE] = "1"
    return value


Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        envvar=DEBUG_VARIABLE,
        callback=_set_debug,
        help="Stop at the first error of a participant, and print its traceback.",
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--db",
        envvar="ASTERISM_DB",
        help="A sqlite file, postgresql://... or :memory:. Default: a file in your home folder.",
    ),
]
Files = Annotated[
    list[str] | None,
    typer.Option("--file", help="A file or URL that belongs to the request; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
OWN_GRAPH = "module:attribute or ./file.py:attribute"
"""How a graph is named that is not a shipped one."""
GraphName = Annotated[str, typer.Argument(help=f"A shipped graph (`asterism list`), {OWN_GRAPH}.")]
Graphs = Annotated[
    list[str] | None,
    typer.Option(
        "--graph",
        help=f"A graph of yours: {OWN_GRAPH}; may be repeated.",
    ),
]


def exit_with(work: Coroutine[Any, Any, int]) -> None:
    """Run a command; every failure becomes one sentence and an exit code."""
    try:
        code = asyncio.run(work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = STOPPED
    except AsterismError as error:
        ERRORS.print(_with_ways_out(str(error)), style="red", markup=False, highlight=False)
        code = FAILED
    except BaseException as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        ERRORS.print(_sentence(error), style="red", markup=False, highlight=False)
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
