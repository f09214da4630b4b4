"""The command line: `asterism run event_planning "..."`."""

import gc

GARBAGE = 50_000
"""How many new objects the process looks through for garbage at a time.

Python's 700 take a tenth of the time of a command: what is loaded stays, and is looked through
again and again.
"""


def main() -> None:
    """Run the command line."""
    gc.set_threshold(GARBAGE)
    from asterism.cli.app import app

    app()


__all__ = ["main"]
