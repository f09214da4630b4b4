"""Where the command line writes, and how it exits. Nothing here loads an engine."""

import json
import logging
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from asterism.core.values import printable_json, printable_text


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
