"""`asterism.serve`: the page on a team, in one line of Python."""

import asyncio
import threading
import webbrowser
from typing import Any

from asterism.core.sync_async import running_loop


def serve(
    team: Any,
    *,
    port: int = 8000,
    db: str = ":memory:",
    name: str | None = None,
    open_browser: bool = True,
) -> None:
    """Open the page on a team, for this machine alone, until Ctrl-C.

    In a notebook, whose event loop runs already, it returns at once and serves in a thread.

    Args:
        team: A workflow, its builder, another compiled graph, or a function that makes one.
        port: The port; 0: any that is free.
        db: Where threads are stored: a sqlite file, `postgresql://...`, or `:memory:`.
        name: What the page calls it. None: its own name.
        open_browser: Whether a browser is opened.

    Raises:
        ConfigurationError: The port is taken, or what the page needs is not installed.
    """
    from asterism.apps.cli.engine import serve_page

    called = name or str(getattr(team, "name", None) or getattr(team, "__name__", None) or "team")
    work = serve_page(
        port=port,
        db=db,
        teams={called: team},
        on_open=webbrowser.open if open_browser else lambda address: None,
    )
    if running_loop() is None:
        asyncio.run(work)
    else:
        threading.Thread(target=asyncio.run, args=(work,), daemon=True).start()
