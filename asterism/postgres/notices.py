"""Notices: what other processes tell over the database (LISTEN and NOTIFY)."""

import asyncio
from collections.abc import AsyncGenerator

from asterism.postgres.connecting import Address

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
