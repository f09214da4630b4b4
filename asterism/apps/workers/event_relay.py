"""Events that reach other processes: told on a channel of the database, in small groups."""

import asyncio
import json
import logging
from collections import deque
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from asterism.apps.workers.queue import Queue
from asterism.core.values import as_dict, describe_error
from asterism.events import Event, EventBus
from asterism.events.types import TYPES
from asterism.storage.postgres.connection import Address, notices

CHANNEL = "asterism_events"
"""The channel on which events are told."""
PAUSE = 0.25
"""Seconds for which events are gathered: each time that they are told is a transaction."""
BACKLOG = 10_000
"""How many events wait for a database that is gone; the oldest ones are not told then."""
ROOM = 7_500
"""How many bytes an event may have; Postgres takes 8,000."""

_log = logging.getLogger(__name__)


class Relay:
    """Tells the events of a bus to whoever listens at the database."""

    def __init__(self, queue: Queue, bus: EventBus) -> None:
        self._queue = queue
        self._waiting: deque[Event] = deque(maxlen=BACKLOG)
        self._stopped = asyncio.Event()
        bus.on(None, self._waiting.append)

    async def run(self) -> None:
        """Tell events as they come, until `stop` is called; then the last ones."""
        while not self._stopped.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), PAUSE)
            await self._tell()

    def stop(self) -> None:
        """Tell what waits, and no more; a cancelled `run` might lose what it is telling."""
        self._stopped.set()

    async def _tell(self) -> None:
        if not self._waiting:
            return
        lines = [event_to_json(self._waiting.popleft()) for _ in range(len(self._waiting))]
        try:
            await self._queue.app.connector.execute_query_all_async(
                # as JSON: psycopg takes far longer to write an array of texts
                "SELECT pg_notify(%(channel)s, line) "
                "FROM json_array_elements_text(%(lines)s::json) AS line",
                channel=CHANNEL,
                lines=json.dumps(lines),
            )
        except Exception as error:  # noqa: BLE001 - runs go on without being heard
            _log.warning("%d events were not told: %s", len(lines), describe_error(error))


async def receive_events(address: Address, bus: EventBus, ready: asyncio.Event) -> None:
    """Tell a bus what workers of a database tell, until cancelled.

    Args:
        address: The database.
        bus: The bus.
        ready: Is set as soon as nothing is missed any more.
    """
    async with aclosing(notices(address, CHANNEL)) as told:
        async for line in told:
            if line is None:
                ready.set()
                continue
            with suppress(ValueError, KeyError, TypeError):  # of another version
                _emit(bus, json.loads(line))


def _emit(bus: EventBus, told: dict[str, Any]) -> None:
    bus.emit(
        TYPES[told["type"]],
        str(told["source"]),
        as_dict(told["facts"]),
        run=str(told["run"]),
        at=datetime.fromisoformat(told["at"]),
    )


def event_to_json(event: Event) -> str:
    """Return an event as one line that a notice has room for; long facts are left out."""
    facts = dict(event.facts)
    while len(line := json.dumps(replace(event, facts=facts).as_json())) > ROOM and facts:
        longest = max(facts, key=lambda name: len(json.dumps(facts[name])))
        del facts[longest]
    return line
