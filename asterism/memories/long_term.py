"""Long-term memory of a team about its users, across threads and processes."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import run_in_executor
from langchain_core.tools import BaseTool
from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp

from asterism.core.numbers import count_faults, raise_number_faults
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.values import as_list
from asterism.errors import InvalidMemoryError
from asterism.events import utc_now
from asterism.memories.namespaces import (
    in_batches,
    label_of,
    store_of,
    user_of,
    validate_memory_name,
)
from asterism.memories.recall_tools import (
    EVERYONE,
    Recollection,
    create_steps_tool,
    recollections_from_items,
    recollections_text,
)
from asterism.moved import hint_foreign_names

_NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
_AGO = re.compile(rf"\b(\d{{1,3}}|an?|{'|'.join(_NUMBERS)}) (day|week|month|year)s? ago\b")
_DAYS = {"day": 1, "week": 7, "month": 31, "year": 366}


def period_of(text: str, now: datetime) -> tuple[datetime, datetime] | None:
    """Return the beginning and the end of the time that a text names, or None.

    A week begins on Monday. "Last week" and the like reach up to now, for people also mean
    the last seven days by it.
    """
    words = text.casefold()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    week, month = today - timedelta(days=today.weekday()), today.replace(day=1)
    year = today.replace(month=1, day=1)
    named = {
        r"\btoday\b|\bthis (morning|afternoon|evening)\b": (today, now),
        r"\byesterday\b|\blast night\b": (today - timedelta(days=1), today),
        r"\bthis week\b": (week, now),
        r"\b(last|past|previous) week\b": (week - timedelta(days=7), now),
        r"\bthis month\b": (month, now),
        r"\b(last|past|previous) month\b": ((month - timedelta(days=1)).replace(day=1), now),
        r"\bthis year\b": (year, now),
        r"\b(last|past|previous) year\b": ((year - timedelta(days=1)).replace(month=1, day=1), now),
    }
    for pattern, period in named.items():
        if re.search(pattern, words):
            return period
    if found := _AGO.search(words):
        count, unit = found.groups()
        if not count.isdigit():
            count = _NUMBERS.index(count) + 1 if count in _NUMBERS else 1
        start = today - timedelta(days=int(count) * _DAYS[unit])
        return start, start + timedelta(days=_DAYS[unit])
    return None


TEXT_LIMIT = 4_000
"""The longest text that is remembered, in characters."""

_ROOT = "memory"
_TEAM = "team"
_PAGE = 500


@hint_foreign_names(
    "give it team and store, of open_store(url, embeddings=...); "
    "asterism.compat.massgen.LongTermMemory takes them",
    *("backend", "connection_string", "embedding_model"),
)
@dataclass(frozen=True, kw_only=True)
class LongTermMemory:
    """What a team remembers, for one user at a time.

    The user is `user_id` in the config or the context of a run: models cannot name one, and
    what is one user's is never read for another. What a participant remembers for itself only
    it recalls; the rest is the team's.

    Args:
        team: Whose memory it is; other teams on the same store do not see it.
        store: Where it is kept. None: in the store that the workflow was built with.
        per_user: Whether it is kept for each user; then nothing is done without one. False: one
            memory for all.
        limit: How much is recalled at once, where nothing else is asked for.
        clock: The time in UTC.

    Example:
        ```python
        with open_store("sqlite:///memory.db") as store:
            notes = LongTermMemory(store=store, team="trips")
            notes.remember("Ann wants window seats", user="ann")
            notes.recall("Where does she like to sit?", user="ann")
        ```

    Raises:
        InvalidMemoryError: The team has no name.
    """

    team: str
    store: BaseStore | None = None
    per_user: bool = True
    limit: int = 5
    clock: Callable[[], datetime] = field(default=utc_now, repr=False)

    def __post_init__(self) -> None:
        validate_memory_name(self.team, "team")

    # ---- remembering

    def remember(
        self,
        text: str,
        *,
        user: str | None = None,
        participant: str | None = None,
        key: str | None = None,
    ) -> str:
        """Remember a text, and return its key.

        Args:
            text: What to remember; the same text twice is remembered once, as of now.
            user: Whom it is about. None: the user of the run that this is called in.
            participant: Who alone recalls it. None: the whole team.
            key: Its name; what had that name is replaced. None: made of the text.

        Raises:
            InvalidMemoryError: The text or a name is empty or too long, or there is no user.
        """
        return run_steps(self.remembering(text, user, participant, key))

    async def aremember(
        self,
        text: str,
        *,
        user: str | None = None,
        participant: str | None = None,
        key: str | None = None,
    ) -> str:
        """Remember a text, and return its key; see `remember`."""
        return await arun_steps(self.remembering(text, user, participant, key))

    def remembering(
        self, text: str, user: str | None, participant: str | None, key: str | None
    ) -> Steps[str]:
        """Remember a text: `remember` for both worlds."""
        if not isinstance(cast(object, text), str) or not text.strip() or len(text) > TEXT_LIMIT:
            raise InvalidMemoryError(
                f"The text {str(text)[:80]!r} cannot be remembered: it must have 1 to "
                f"{TEXT_LIMIT} characters. Remember single facts, not documents."
            )
        name = key or hashlib.blake2b(text.strip().encode(), digest_size=8).hexdigest()
        value = {"text": text.strip(), "at": self.clock().timestamp()}
        store, place = store_of(self.store), self._place(user, participant)
        yield in_batches(store, [PutOp(place, name, value)])
        return name

    # ---- recalling

    def recall(
        self,
        query: str,
        *,
        user: str | None = None,
        participant: str | None = None,
        limit: int | None = None,
    ) -> list[Recollection]:
        """Return what fits a question best, best first.

        Where the question names a time, as in "what did we decide last week", what was
        remembered then comes first.

        Args:
            query: The question.
            user: Whose memory is searched. None: that of the run's user.
            participant: Who asks, and so also recalls what is its own.
            limit: How much is returned at most.

        Raises:
            InvalidMemoryError: There is no user.
            ConfigurationError: The store cannot rank, or there is none.
        """
        return run_steps(self.recalling(query, user, participant, limit))

    async def arecall(
        self,
        query: str,
        *,
        user: str | None = None,
        participant: str | None = None,
        limit: int | None = None,
    ) -> list[Recollection]:
        """Return what fits a question best, best first; see `recall`."""
        return await arun_steps(self.recalling(query, user, participant, limit))

    def recalling(
        self,
        query: str,
        user: str | None = None,
        participant: str | None = None,
        limit: int | None = None,
    ) -> Steps[list[Recollection]]:
        """Return what fits a question best: `recall` for both worlds."""
        most = self.limit if limit is None else limit
        raise_number_faults(count_faults("limit", most), InvalidMemoryError)
        store = store_of(self.store)
        places = [self._place(user, who) for who in dict.fromkeys((None, participant))]
        period = period_of(query, self.clock())
        then = period and {"at": {"$gte": period[0].timestamp(), "$lt": period[1].timestamp()}}
        asked = query.strip() or None
        ops = [SearchOp(place, limit=most, query=asked) for place in places]
        if then:
            ops += [SearchOp(place, then, most, query=asked) for place in places]
            ops += [SearchOp(place, then, most) for place in places]
        found: list[list[Any]] = yield in_batches(store, ops)
        best: dict[tuple[Any, ...], Recollection] = {}
        for op, items in zip(ops, found, strict=True):
            ranking = getattr(store, "ranking", "semantic") if op.query else "time"
            for item in items:
                one, place = recollections_from_items(item, ranking), (*item.namespace, item.key)
                if place not in best or best[place].score < one.score:
                    best[place] = one

        def order(one: Recollection) -> tuple[bool, float, datetime]:
            fits = period is not None and period[0] <= one.at < period[1]
            return fits, one.score, one.at

        return sorted(best.values(), key=order, reverse=True)[:most]

    # ---- forgetting

    def forget(self, key: str, *, user: str | None = None) -> bool:
        """Forget what has a key; return whether there was something."""
        return bool(run_steps(self._forgetting(self._user_path(user), key)))

    async def aforget(self, key: str, *, user: str | None = None) -> bool:
        """Forget what has a key; return whether there was something."""
        return bool(await arun_steps(self._forgetting(self._user_path(user), key)))

    def forget_user(self, user: str) -> int:
        """Forget everything of a user; return how much it was."""
        return run_steps(self._forgetting(self._user_path(user)))

    async def aforget_user(self, user: str) -> int:
        """Forget everything of a user; return how much it was."""
        return await arun_steps(self._forgetting(self._user_path(user)))

    def forget_all(self) -> int:
        """Forget everything of the team; return how much it was."""
        return run_steps(self._forgetting((_ROOT, label_of(self.team))))

    async def aforget_all(self) -> int:
        """Forget everything of the team; return how much it was."""
        return await arun_steps(self._forgetting((_ROOT, label_of(self.team))))

    def _forgetting(self, path: tuple[str, ...], key: str | None = None) -> Steps[int]:
        return (yield from _forgotten(store_of(self.store), path, key))

    # ---- where it is used

    def tools(self, participant: str | None = None) -> list[BaseTool]:
        """Return the tools `remember` and `recall` for a participant.

        They work for the user of the run that they are called in.

        Args:
            participant: Whose tools they are: it remembers for itself. None: for the team.
        """

        def remember(text: str, config: RunnableConfig) -> Steps[str]:
            """Remember a fact for later conversations, such as a decision; it is read alone."""
            user = user_of(config) if self.per_user else None
            try:
                key = yield from self.remembering(text, user, participant, None)
            except InvalidMemoryError as error:
                return str(error)
            return f"Remembered as {key}."

        def recall(question: str, config: RunnableConfig) -> Steps[str]:
            """Look for facts that were remembered in earlier conversations."""
            user = user_of(config) if self.per_user else None
            found = yield from self.recalling(question, user, participant)
            return recollections_text(found) if found else "Nothing is remembered that fits."

        return [create_steps_tool(remember), create_steps_tool(recall)]

    # ---- places

    def _user_path(self, user: str | None) -> tuple[str, ...]:
        if not self.per_user:
            if user is not None:
                raise InvalidMemoryError(
                    f"This memory is one for all (per_user=False); it has none for {user!r}."
                )
            return (_ROOT, label_of(self.team), _TEAM)
        return (_ROOT, label_of(self.team), _whose(user_of(None) if user is None else user))

    def _place(self, user: str | None, participant: str | None) -> tuple[str, ...]:
        own = EVERYONE
        if participant is not None:
            own = f"of-{label_of(validate_memory_name(participant, 'participant'))}"
        return (*self._user_path(user), own)


def forget_everywhere(store: BaseStore, user: str) -> int:
    """Forget everything of a user in the memories of all teams; return how much it was."""
    return run_steps(_forgotten(store, (_ROOT, "*", _whose(user))))


def _whose(user: str) -> str:
    return f"user-{label_of(validate_memory_name(user, 'user'))}"


def _forgotten(store: BaseStore, path: tuple[str, ...], key: str | None = None) -> Steps[int]:
    """Forget what is below a path, or what has a name there."""
    count = 0
    every = ListNamespacesOp((MatchCondition("prefix", path),), limit=1 << 31)
    (places,) = yield in_batches(store, [every])
    for place in places:
        look: list[Any] = [GetOp(place, key)] if key else [SearchOp(place, limit=_PAGE)]
        while items := [item for item in as_list((yield in_batches(store, look))[0]) if item]:
            yield in_batches(store, [PutOp(place, item.key, None) for item in items])
            count += len(items)
    if hasattr(store, "scrub"):
        scrub: Callable[[], None] = cast(Any, store).scrub
        yield Call(scrub, lambda: run_in_executor(None, scrub))
    return count
