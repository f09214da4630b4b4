"""The command line: `asterism run event_planning "..."`."""

import gc
import logging

GARBAGE = 50_000
"""How many new objects the process looks through for garbage at a time.

Python's 700 take a tenth of the time of a command: what is loaded stays, and is looked through
again and again.
"""


def main() -> None:
    """Run the command line."""
    gc.set_threshold(GARBAGE)
    from asterism.apps.cli.app import app
    from asterism.apps.cli.options import SafeFormatter

    if logging.lastResort is not None:
        logging.lastResort.setFormatter(SafeFormatter())
    app()


__all__ = ["main"]
