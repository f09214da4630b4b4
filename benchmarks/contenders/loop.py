"""The floor: a loop of coroutines, with a transaction per turn and no framework."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.work import ANSWER, INSTRUCTION, UNIT, Tasks, name_in

VERSIONS: tuple[str, ...] = ()


@dataclass
class Team:
    """What the loop needs."""

    store: sqlite3.Connection | None
    participants: int
    turns: int
    stops_at: int | None = None


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as store:
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("PRAGMA synchronous=NORMAL")
        store.execute("CREATE TABLE IF NOT EXISTS turns (thread TEXT, message TEXT)")
        yield store


def build(
    store: sqlite3.Connection | None, *, participants: int, turns: int, stops_at: int | None = None
) -> Team:
    return Team(store, participants, turns, stops_at)


async def _respond(instruction: str) -> str:
    await asyncio.sleep(0)
    return ANSWER


async def _turns(team: Team, thread: str, done: list[str], until: int) -> int:
    for turn in range(len(done), until):
        name = name_in(turn, team.participants)
        done.append(json.dumps([name, await _respond(INSTRUCTION)]))
        if team.store is not None:
            team.store.execute("INSERT INTO turns VALUES (?, ?)", (thread, done[-1]))
            team.store.commit()
    return sum(json.loads(message)[1] == ANSWER for message in done)


async def talk(team: Team, thread: str) -> int:
    return await _turns(team, thread, [], team.stops_at or team.turns)


async def go_on(team: Team, thread: str) -> int:
    assert team.store is not None
    rows = team.store.execute("SELECT message FROM turns WHERE thread = ?", (thread,))
    return await _turns(team, thread, [message for (message,) in rows], team.turns)


def build_fan(store: sqlite3.Connection | None, tasks: Tasks) -> Team:
    return Team(store, len(tasks), 1)


async def fan(team: Team, thread: str) -> int:
    async def work() -> str:
        await asyncio.sleep(UNIT)
        if team.store is not None:
            team.store.execute("INSERT INTO turns VALUES (?, ?)", (thread, ANSWER))
            team.store.commit()
        return ANSWER

    found = await asyncio.gather(*(work() for _ in range(team.participants)))
    return found.count(ANSWER)
