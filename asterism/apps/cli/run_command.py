"""One run from the command line: drive it, show it, ask, stop at a step boundary."""

import asyncio
import base64
import mimetypes
import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command, StateSnapshot
from rich.text import Text

from asterism.apps.cli.options import DEBUG_VARIABLE, ERRORS
from asterism.apps.cli.progress_board import Board
from asterism.core.continuation import Graph
from asterism.core.interrupts import PendingRequest, answer_command, open_requests
from asterism.core.values import printable_text
from asterism.errors import ConfigurationError
from asterism.events import BUS, EventBus
from asterism.nodes.run_context import DEBUG

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""How a process is told to end: by a person, by whoever runs it, by a terminal that is gone."""


@dataclass(frozen=True, kw_only=True)
class CommandOutcome:
    """How a run from the command line stands."""

    snapshot: StateSnapshot
    pending: list[PendingRequest]
    drained: bool = False
    """Whether the user stopped it."""
    handed_over: bool = False
    """Whether another process runs the thread, and was handed the request."""


FILE_LIMIT = 20 * 1024 * 1024
"""How many bytes a file of a request may have: it is stored with the thread."""


def read_request(text: str, files: Sequence[str]) -> dict[str, Any]:
    """Write a request with files as the input of a workflow.

    Args:
        text: What is asked.
        files: Paths, or URLs, which are sent as such.

    Raises:
        ConfigurationError: A file cannot be read, or is too long.
    """
    if not files:
        return {"messages": [("user", text)]}
    return {"messages": [HumanMessage([{"type": "text", "text": text}, *map(_block, files)])]}


def _block(name: str) -> dict[str, Any]:
    """Read a file as a content block; one with text is a text."""
    path = Path(name)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    family = kind.partition("/")[0]
    about = {"type": family if family in ("image", "audio", "video") else "file", "mime_type": kind}
    if "://" in name:
        return {**about, "url": name}
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"The file {name} cannot be read: {error.strerror}.") from error
    if len(data) > FILE_LIMIT:
        raise ConfigurationError(
            f"The file {name} has {len(data)} bytes; allowed: {FILE_LIMIT}. Give its URL instead."
        )
    if family == "text" or kind == "application/json":
        return {"type": "text", "text": f"{path.name}:\n{data.decode(errors='replace')}"}
    named = {} if about["type"] != "file" else {"filename": path.name}
    return {**about, "base64": base64.b64encode(data).decode(), **named}


async def drive(graph: Graph, config: RunnableConfig, given: Any, *, ask: bool) -> CommandOutcome:
    """Run until the end, a question that cannot be asked here, or Ctrl-C.

    Args:
        graph: The graph, with a checkpointer.
        config: The thread.
        given: The request, a command that answers, or None to go on.
        ask: Whether questions may be asked in the terminal.
    """
    while True:
        drained, has_run = await _run(graph, config, given)
        snapshot = await graph.aget_state(config, subgraphs=True)
        if not has_run and isinstance(given, dict):
            return CommandOutcome(snapshot=snapshot, pending=[], handed_over=True)
        pending = open_requests(snapshot)
        if drained or not pending or not (ask and sys.stdin.isatty()):
            return CommandOutcome(snapshot=snapshot, pending=pending, drained=drained)
        try:
            answers = {request.id: _ask_request(request) for request in pending}
        except EOFError:  # Ctrl-D: the questions stay open
            ERRORS.print()
            return CommandOutcome(snapshot=snapshot, pending=pending)
        given = answer_command(pending, answers)


async def _run(
    graph: Graph, config: RunnableConfig, given: Command[Any] | Any
) -> tuple[bool, bool]:
    """Run a graph; return whether the user stopped it, and whether anything ran here."""
    has_run = False
    control = RunControl()
    participants = getattr(getattr(graph, "facts", None), "participants", {})
    bus = EventBus(history=0)
    debug = {DEBUG: True} if os.environ.get(DEBUG_VARIABLE) else {}
    told = merge_configs(config, {"configurable": {BUS: bus, **debug}})
    with Board(participants, ERRORS) as board, _drain_on_signal(control):
        bus.on(None, board.hear)
        try:
            parts = graph.astream(given, told, stream_mode="tasks", subgraphs=True, control=control)
            async for path, task in parts:
                has_run = True
                board.note(cast(tuple[str, ...], path), cast(dict[str, Any], task))
        except GraphDrained:
            return True, True
    return False, has_run


@contextmanager
def _drain_on_signal(control: RunControl) -> Generator[None]:
    """Let the first signal to end finish the step that is running, and the second one not."""
    loop = asyncio.get_running_loop()

    def remove() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def stop() -> None:
        remove()
        ERRORS.print("Stopping after this step; press Ctrl-C again to stop at once.")
        control.request_drain("interrupted")

    try:
        for number in SIGNALS:
            loop.add_signal_handler(number, stop)
    except NotImplementedError:  # Windows has no signal handlers in its event loop
        yield
        return
    try:
        yield
    finally:
        remove()


def _ask_request(request: PendingRequest) -> str:
    ERRORS.print(f"\n{request.participant} asks:", style="bold", markup=False)
    question = Text(f"{printable_text(request.prompt)} ")
    while not (answer := ERRORS.input(question).strip()):
        ERRORS.print("The answer is empty.")
    return answer
