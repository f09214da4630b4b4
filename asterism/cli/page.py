"""The page, served from the command line."""

import secrets
from collections.abc import Sequence

from pydantic import SecretStr

from asterism.cli.terminal import ERRORS
from asterism.errors import ConfigurationError


async def serve_page(
    *, port: int, db: str | None, graphs: Sequence[str], model: str, pace: float, open_to_all: bool
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

    token = None if open_to_all else SecretStr(secrets.token_urlsafe(24))
    query = "" if token is None else f"/?token={token.get_secret_value()}"

    def ready(opened: int) -> None:
        ERRORS.print(
            f"The page is at http://localhost:{opened}{query} for this machine alone. Ctrl-C ends "
            "it; runs then stop at a step, and can go on.",
            highlight=False,
        )

    await serve(create_app(db=db, graphs=graphs, model=model, pace=pace, token=token), port, ready)
