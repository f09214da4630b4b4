"""The page, served from the command line."""

from collections.abc import Sequence

from asterism.cli.terminal import ERRORS
from asterism.errors import ConfigurationError


async def serve_page(
    *, port: int, db: str | None, graphs: Sequence[str], model: str, pace: float
) -> None:
    """Serve the page until the process is told to end.

    Raises:
        ConfigurationError: What it needs is not installed, or the port is taken.
    """
    try:
        from asterism.ui.app import create_app
        from asterism.ui.server import serve
    except ImportError as error:
        raise ConfigurationError(
            f"The page needs packages ({error.name} is missing): pip install 'asterism[ui]'."
        ) from error

    def ready(opened: int) -> None:
        ERRORS.print(
            f"The page is at http://localhost:{opened} for this machine alone. Ctrl-C ends it; "
            "runs then stop at a step, and can go on.",
            highlight=False,
        )

    await serve(create_app(db=db, graphs=graphs, model=model, pace=pace), port, ready)
