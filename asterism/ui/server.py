"""Serving the page on this machine."""

import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from asterism.errors import ConfigurationError

ADDRESS = "127.0.0.1"
"""Where it listens: what is on this machine alone can call it."""


HEADERS_SECONDS = 10.0
"""Seconds that a connection has to say what it wants."""
CONNECTIONS = 200
"""How many connections may be open at once."""


class Prompt(H11Protocol):
    """A connection that is closed where nothing is asked for long."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.loop.call_later(HEADERS_SECONDS, self._look)

    def _look(self) -> None:
        cycle: object = vars(self).get("cycle")
        if cycle is None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """A server that ends the streams of the page first, so that nobody waits for them."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Prompt,
                limit_concurrency=CONNECTIONS,
                log_level="warning",
                server_header=False,
            )
        )
        self._page = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then the server; the runs end with the app."""
        self._page.state.hub.end()
        await super().shutdown(sockets)


async def serve(app: Starlette, port: int, ready: Callable[[int], None]) -> None:
    """Serve until the process is told to end.

    Args:
        app: The page.
        port: The port; 0: any that is free.
        ready: Is told the port when it is open.

    Raises:
        ConfigurationError: The port is taken.
    """
    try:
        opened = socket.create_server((ADDRESS, port))
    except OSError as error:
        raise ConfigurationError(
            f"The port {port} cannot be opened: {error.strerror}. Choose another with --port; "
            "--port 0 takes any that is free."
        ) from error
    with opened:
        ready(opened.getsockname()[1])
        await Server(app).serve(sockets=[opened])


__all__: Sequence[str] = ("ADDRESS", "Server", "serve")
