"""Shared memory: notes that the participants of a team write for each other."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.tools import BaseTool
from langgraph.store.base import BaseStore, PutOp, SearchOp

from asterism.core.numbers import count_faults, fraction_faults, raise_number_faults
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.thread_lease import Release, take_lease
from asterism.core.values import fence
from asterism.errors import InvalidMemoryError, StorageError
from asterism.memories.namespaces import in_batches, label_of, store_of, validate_memory_name
from asterism.memories.recall_tools import create_steps_tool
from asterism.moved import hint_foreign_names

Eviction = Literal["least_recently_used", "least_important"]
"""What is given up where there is no room: what was not read or written for longest, or what
is least important (of equals, what was not used for longest)."""

LEASE_POLL = 0.002
"""Seconds between two looks at a memory that somebody else is writing to."""
LEASE_WAIT = 30.0
"""Seconds after which that is given up."""

_ROOT = "shared-memory"
_ALL = 1 << 31


def approximate_tokens(text: str) -> int:
    """Count tokens without a tokenizer: four bytes are one."""
    return -(-len(text.encode()) // 4)


@dataclass(frozen=True, kw_only=True)
class MemoryNote:
    """Something that was written for the team."""

    key: str
    text: str
    by: str | None
    """Who wrote it."""
    importance: float
    """From 0 to 1."""
    tokens: int
    """What it takes of the capacity."""
    used: int
    """When it was last written or read, as a count of uses."""


def notes_to_evict(
    notes: Collection[MemoryNote], needed: int, capacity: int, rule: Eviction
) -> list[MemoryNote]:
    """Return the notes that are given up so that a new one has room."""
    taken = sum(note.tokens for note in notes)
    important = rule == "least_important"
    gone: list[MemoryNote] = []
    for note in sorted(notes, key=lambda note: (note.importance if important else 0, note.used)):
        if taken + needed <= capacity:
            break
        gone.append(note)
        taken -= note.tokens
    return gone


@hint_foreign_names(
    "give it team, store and capacity_tokens; asterism.compat.massgen.SharedMemory takes them",
    *("capacity", "persistence", "storage_path"),
)
@dataclass(frozen=True, kw_only=True)
class SharedMemory:
    """Notes of a team, within a capacity, kept on a store.

    Several participants may write at once, in threads and in processes: with a store of
    `open_store` one at a time does, so the capacity is never exceeded and no note is half
    written. With another store that holds within one process.

    Args:
        team: Whose notes they are; other teams on the same store do not see them.
        store: Where they are kept. None: in the store that the workflow was built with.
        capacity_tokens: How many tokens all notes may have together.
        evict: What is given up where there is no room.
        count_tokens: Counts the tokens of a text.

    Example:
        ```python
        board = SharedMemory(store=store, team="trips", capacity_tokens=2_000)
        board.write("hotel", "Hotel Lisboa, 120 EUR a night", by="hotels")
        board.read("hotel")
        ```

    Raises:
        InvalidMemoryError: The team has no name, or the capacity is no whole number from 1.
    """

    team: str
    store: BaseStore | None = None
    capacity_tokens: int = 4_000
    evict: Eviction = "least_recently_used"
    count_tokens: Callable[[str], int] = approximate_tokens

    def __post_init__(self) -> None:
        validate_memory_name(self.team, "team")
        raise_number_faults(
            count_faults("capacity_tokens", self.capacity_tokens), InvalidMemoryError
        )
        if self.evict not in ("least_recently_used", "least_important"):
            raise InvalidMemoryError(
                f"evict is {self.evict!r}; allowed: 'least_recently_used', 'least_important'"
            )

    def write(
        self, key: str, text: str, *, by: str | None = None, importance: float = 0.5
    ) -> list[str]:
        """Write a note, and return the keys of those that were given up for it.

        Args:
            key: Its name; the note of that name is replaced.
            text: What it says.
            by: Who writes it.
            importance: From 0 to 1.

        Raises:
            InvalidMemoryError: It has no text, or more tokens than there may be.
        """
        return run_steps(self._writing(key, text, by, importance))

    async def awrite(
        self, key: str, text: str, *, by: str | None = None, importance: float = 0.5
    ) -> list[str]:
        """Write a note, and return the keys of those that were given up; see `write`."""
        return await arun_steps(self._writing(key, text, by, importance))

    def read(self, key: str) -> str | None:
        """Return what a note says, or None; it counts as used."""
        return run_steps(self._reading(key))

    async def aread(self, key: str) -> str | None:
        """Return what a note says, or None; it counts as used."""
        return await arun_steps(self._reading(key))

    def notes(self) -> list[MemoryNote]:
        """Return all notes, by key; this does not count as use."""
        return run_steps(self._notes())

    async def anotes(self) -> list[MemoryNote]:
        """Return all notes, by key; this does not count as use."""
        return await arun_steps(self._notes())

    def forget(self, *keys: str) -> int:
        """Forget notes by key, or all where none is named; return how many there were."""
        return run_steps(self._forgetting(keys))

    async def aforget(self, *keys: str) -> int:
        """Forget notes by key, or all where none is named; return how many there were."""
        return await arun_steps(self._forgetting(keys))

    def tools(self, participant: str | None = None) -> list[BaseTool]:
        """Return the tools `write_shared_memory` and `read_shared_memory`.

        Args:
            participant: Who writes with them.
        """

        def write_shared_memory(key: str, text: str, importance: float = 0.5) -> Steps[str]:
            """Write a note that the whole team can read; importance is from 0 to 1."""
            try:
                gone = yield from self._writing(key, text, participant, importance)
            except InvalidMemoryError as error:
                return str(error)
            return f"Written. Given up for it: {', '.join(gone)}." if gone else "Written."

        def read_shared_memory(key: str | None = None) -> Steps[str]:
            """Read the team's note of that key, or all notes where no key is given."""
            if key is None:
                found = yield from self._notes()
                text = "\n".join(f"- {n.key} ({n.by or 'unknown'}): {n.text}" for n in found)
            else:
                text = (yield from self._reading(key)) or ""
            return fence("memory", text) if text else "There is no such note."

        return [create_steps_tool(write_shared_memory), create_steps_tool(read_shared_memory)]

    # ---- for both worlds

    def _writing(self, key: str, text: str, by: str | None, importance: float) -> Steps[list[str]]:
        validate_memory_name(key, "key")
        tokens = self.count_tokens(f"{key}\n{text}") if text.strip() else 0
        if not 1 <= tokens <= self.capacity_tokens:
            raise InvalidMemoryError(
                f"The note {key!r} has {tokens} tokens; allowed: 1 to "
                f"{self.capacity_tokens}, which is the capacity of the memory."
            )
        raise_number_faults(fraction_faults("importance", importance), InvalidMemoryError)
        store = store_of(self.store)
        release = yield from self._alone(store)
        try:
            known = yield from self._notes()
            others = [note for note in known if note.key != key]
            gone = notes_to_evict(others, tokens, self.capacity_tokens, self.evict)
            use = 1 + max((note.used for note in known), default=0)
            value = {"key": key, "text": text, "by": by, "importance": float(importance)}
            new = self._put(key, {**value, "tokens": tokens, "used": use})
            yield in_batches(store, [*(self._put(note.key, None) for note in gone), new])
        finally:
            release()
        return [note.key for note in gone]

    def _reading(self, key: str) -> Steps[str | None]:
        store = store_of(self.store)
        release = yield from self._alone(store)
        try:
            known = yield from self._notes()
            note = next((note for note in known if note.key == key), None)
            if note is None:
                return None
            use = 1 + max(note.used for note in known)
            yield in_batches(store, [self._put(key, {**vars(note), "used": use})])
            return note.text
        finally:
            release()

    def _forgetting(self, keys: Sequence[str]) -> Steps[int]:
        store = store_of(self.store)
        release = yield from self._alone(store)
        try:
            known = yield from self._notes()
            gone = [note.key for note in known if not keys or note.key in keys]
            yield in_batches(store, [self._put(key, None) for key in gone])
            return len(gone)
        finally:
            release()

    def _notes(self) -> Steps[list[MemoryNote]]:
        store = store_of(self.store)
        (found,) = yield in_batches(store, [SearchOp(self._place(), limit=_ALL)])
        return sorted((MemoryNote(**item.value) for item in found), key=lambda note: note.key)

    def _alone(self, store: BaseStore) -> Steps[Release]:
        """Wait until nobody else writes."""
        until = time.monotonic() + LEASE_WAIT
        # It takes microseconds; in a worker thread, a cancelled caller would leave it taken.
        while (release := take_lease(store, ".".join(self._place()))) is None:
            if time.monotonic() >= until:
                raise StorageError(
                    f"Somebody has been writing to the shared memory of {self.team!r} for "
                    f"{LEASE_WAIT:g} seconds. Try again."
                )
            yield Call(time.sleep, asyncio.sleep, (LEASE_POLL,))
        return release

    def _put(self, key: str, value: dict[str, Any] | None) -> PutOp:
        return PutOp(self._place(), label_of(key), value, index=False)

    def _place(self) -> tuple[str, str]:
        return (_ROOT, label_of(self.team))
