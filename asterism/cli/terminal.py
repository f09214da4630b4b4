"""Where the command line writes, and how it exits. Nothing here loads an engine."""

import json
import sys
from typing import Any

from rich.console import Console

ERRORS = Console(stderr=True, soft_wrap=True)
"""Where progress and questions go; the result alone goes to stdout."""

NEEDS_INPUT = 3
"""The exit code when a question is open and nobody is there to answer it."""
STOPPED = 130
"""The exit code after Ctrl-C, as shells have it."""
FAILED = 1
"""The exit code of every end that is not a result."""


def print_json(value: Any) -> None:
    """Print JSON to stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
