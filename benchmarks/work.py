"""The scripted work that every contender does, and what a contender is.

It imports no framework, so that it serves each in an environment of its own.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

ANSWER = "x" * 1_600
"""What a participant answers at once, in every turn."""
INSTRUCTION = "Do your part"
REQUEST = "Please do all of it."
SMALL = 4
"""How many participants a team has where that is not the point."""

Tasks = Mapping[str, tuple[float, tuple[str, ...]]]
"""What is to be done at once: per participant its seconds, and whose work it needs first."""
UNIT = 0.05
"""Seconds of one unit of the plan below, and of each task of a fan-out."""
CHAINS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "a1": (8, ()), "b1": (1, ()), "c1": (1, ()),
    "a2": (1, ("a1",)), "b2": (8, ("b1",)), "c2": (1, ("c1",)),
    "a3": (1, ("a2",)), "b3": (1, ("b2",)), "c3": (8, ("c2",)),
    "a4": (2, ("a3",)), "b4": (2, ("b3",)), "c4": (2, ("c3",)),
}  # fmt: skip
"""Twelve tasks: units of time and dependencies. Each chain has its long task elsewhere, so the
critical path takes 12 units, and whoever waits for whole waves takes 26."""


def fan_of(participants: int) -> Tasks:
    return dict.fromkeys(names_of(participants), (UNIT, ()))


def plan_of() -> Tasks:
    return {name: (units * UNIT, needs) for name, (units, needs) in CHAINS.items()}


def names_of(participants: int) -> list[str]:
    return [f"p{place}" for place in range(participants)]


def name_in(turn: int, participants: int) -> str:
    """Who works in a turn: one after the other."""
    return f"p{turn % participants}"


class Contender(Protocol):
    """A module of `benchmarks.contenders`. What one of them cannot do, it leaves out."""

    VERSIONS: tuple[str, ...]
    """The distributions whose versions are told."""

    def opened(self, path: Path) -> AbstractAsyncContextManager[Any]:
        """Open what conversations are stored in."""
        ...

    def build(
        self, store: Any, *, participants: int, turns: int, stops_at: int | None = None
    ) -> Any:
        """Build a team that takes so many turns, and asks a person before one of them."""
        ...

    async def talk(self, team: Any, thread: str) -> int:
        """Hold a conversation and return how many answers it has."""
        ...

    async def go_on(self, team: Any, thread: str) -> int:
        """Go on with a conversation that stopped, and return how many answers it has."""
        ...

    async def many(self, team: Any, threads: list[str]) -> list[int]:
        """Hold many conversations; without it, `talk` is called for all at once."""
        ...

    def build_fan(self, store: Any, tasks: Tasks) -> Any:
        """Build a team whose participants all work, as soon as they may."""
        ...

    async def fan(self, team: Any, thread: str) -> int:
        """Let all of them work and return how many answers there are."""
        ...


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(
        (Path(place) / name).stat().st_size for place, _, names in os.walk(folder) for name in names
    )
