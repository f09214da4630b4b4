"""Connections to Postgres, their errors without passwords, and LISTEN/NOTIFY."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Any

from asterism.core.values import MASK, redact
from asterism.errors import ConfigurationError, StorageError

_DEFAULTS = {"application_name": "asterism", "connect_timeout": "10"}
_WAYS_OUT = {
    "password authentication": "Check the user and the password in the URL.",
    "does not exist": "Create the database, or name another one.",
    "could not translate host name": "Check the host in the URL.",
    "too many clients": "Raise max_connections of the server, or run fewer workers.",
    "No space left": "Make room on the server's disk; what was stopped goes on with proceed().",
    "Is the server running": "Start the server, or correct the host and the port in the URL; what "
    "was stopped goes on with proceed().",
    "a closed database": "Keep open_checkpointer() open for as long as the workflow runs.",
    "read-only": "Connect to the primary server, not to a copy that is only read.",
}


class Address:
    """Where a Postgres database is, and how to connect to it."""

    def __init__(self, url: str) -> None:
        try:
            from psycopg import ProgrammingError
            from psycopg.conninfo import conninfo_to_dict, make_conninfo
        except ImportError as error:
            raise ConfigurationError(
                "Postgres needs packages: pip install 'asterism-agents[postgres]'."
            ) from error
        try:
            parts: dict[str, Any] = {**conninfo_to_dict(url)}
        except ProgrammingError:
            raise StorageError(  # without its cause, which may quote a part of the password
                "The URL of the Postgres database cannot be read. Allowed: "
                "postgresql://user:password@host:5432/name, with special characters of the "
                "password written as %XX."
            ) from None
        self._password = str(parts.get("password") or "")
        self.conninfo: str = make_conninfo(**{**_DEFAULTS, **parts})
        """What libpq connects with; it holds the password."""
        place = f"{parts.get('host') or 'localhost'}/{parts.get('dbname') or ''}"
        self.shown = f"postgresql://{place}"
        """What may be printed."""

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    def connect(self) -> Any:
        """Open a connection that commits each statement."""
        from psycopg import Connection

        return Connection.connect(self.conninfo, **settings())

    def error(self, error: BaseException) -> StorageError:
        """Say what is wrong with the database, and what can be done."""
        from psycopg import DataError

        said = redact(" ".join(str(error).split()))
        if self._password:
            said = said.replace(self._password, MASK)
        if isinstance(error, DataError):  # the database is well, and what stands in it is not
            return StorageError(f"A row is none that this library writes: {said}.")
        way = next((way for words, way in _WAYS_OUT.items() if words in said), "")
        return StorageError(
            f"The database {self.shown!r} cannot be used: {said}. {way}".strip().replace("..", ".")
        )

    @contextmanager
    def faults(self) -> Generator[None]:
        """Turn the errors of the database into those of Asterism."""
        from psycopg import Error
        from psycopg_pool import PoolTimeout

        try:
            yield
        except (Error, PoolTimeout) as error:
            raise self.error(error) from error


def settings() -> dict[str, Any]:
    """Return how LangGraph wants its connections."""
    from psycopg.rows import dict_row

    return {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}


def is_gone(error: BaseException) -> bool:
    """Whether an error means that the connection is lost, or the server not ready."""
    from psycopg import InterfaceError, OperationalError
    from psycopg.errors import DiskFull, TooManyConnections
    from psycopg_pool import PoolTimeout

    if isinstance(error, DiskFull | TooManyConnections):
        return False
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout)


LOOK = 30.0
"""Seconds of silence after which the connection is tried."""
PAUSE = 1.0
"""Seconds until a connection that was lost is made again."""


async def notices(address: Address, channel: str) -> AsyncGenerator[str | None]:
    """Yield what is told on a channel, as it is told.

    A database that is gone is waited for. None is yielded at the beginning and after each such
    gap: what was told before, or meanwhile, is told nobody.
    """
    from psycopg import AsyncConnection, OperationalError

    while True:
        try:
            connected = await AsyncConnection.connect(address.conninfo, autocommit=True)
            async with connected as connection:
                await connection.execute(f"LISTEN {channel}".encode())
                yield None
                while True:
                    async for notice in connection.notifies(timeout=LOOK):
                        yield notice.payload
                    await connection.execute("SELECT 1")
        except OperationalError:
            await asyncio.sleep(PAUSE)
