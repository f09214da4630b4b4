"""Tools by which participants remember and recall, and the values that they return."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool

from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.core.values import fence
from asterism.errors import ConfigurationError, InvalidMemoryError
from asterism.memories.namespaces import user_of

EVERYONE = "shared"
"""Where stands what all participants recall."""


@dataclass(frozen=True, kw_only=True)
class Recollection:
    """Something that was remembered, and found again."""

    key: str
    """Names it in `forget`."""
    text: str
    at: datetime
    """When it was remembered, in UTC."""
    participant: str | None
    """Whose own it is. None: the whole team's."""
    score: float
    """How well it fits, as `found_by` counts; 0 where only the time fits."""
    found_by: str
    """`"semantic"`: by meaning; `"keyword"`: by words, for the store has no embeddings;
    `"time"`: it was remembered at the time that was asked for."""


def recollections_text(found: Sequence[Recollection]) -> str:
    """Write what was recalled for a model: fenced, a line each."""
    lines = [f"- {one.at:%Y-%m-%d}: {' '.join(one.text.split())}" for one in found]
    return fence("memory", "\n".join(lines))


def recollections_from_items(item: Any, ranking: str) -> Recollection:
    """Read what a store has found.

    Raises:
        ConfigurationError: The store has found it without ranking.
    """
    if ranking != "time" and item.score is None:
        raise ConfigurationError(
            "The store does not rank what it finds, for it has no index. Open it with "
            "open_store(url), which ranks by words, or give it an index with embeddings."
        )
    own = str(item.namespace[-1])
    return Recollection(
        key=item.key,
        text=str(item.value.get("text") or ""),
        at=datetime.fromtimestamp(float(item.value.get("at") or 0), UTC),
        participant=None if own == EVERYONE else own.removeprefix("of-"),
        score=0.0 if ranking == "time" else float(item.score),
        found_by=ranking,
    )


_REMEMBER = (
    "Remember a single fact for later conversations, such as a decision, a preference or a name. "
    "Write it so that it can be understood by itself."
)
_RECALL = "Look for facts that were remembered in earlier conversations. Ask in your own words."


class MemoryTarget(Protocol):
    """A memory that the tools work on."""

    @property
    def per_user(self) -> bool:
        """Whether it is kept for each user."""
        ...

    def remembering(
        self, text: str, user: str | None, participant: str | None, key: str | None
    ) -> Steps[str]:
        """Remember a text, and return its key."""
        ...

    def recalling(
        self, query: str, user: str | None, participant: str | None, limit: int | None = None
    ) -> Steps[list[Recollection]]:
        """Return what fits a question best."""
        ...


def memory_tools(memory: MemoryTarget, participant: str | None) -> list[BaseTool]:
    """Make the tools `remember` and `recall` of a memory.

    Args:
        memory: What they work on.
        participant: Whose tools they are. None: the team's.
    """

    def whose(config: RunnableConfig) -> str | None:
        return user_of(config) if memory.per_user else None

    def noting(text: str, config: RunnableConfig) -> Steps[str]:
        user = whose(config)
        try:
            key = yield from memory.remembering(text, user, participant, None)
        except InvalidMemoryError as error:
            return str(error)
        return f"Remembered as {key}."

    def looking(question: str, config: RunnableConfig) -> Steps[str]:
        found = yield from memory.recalling(question, whose(config), participant)
        return recollections_text(found) if found else "Nothing is remembered that fits."

    def remember(text: str, config: RunnableConfig) -> str:
        return run_steps(noting(text, config))

    async def aremember(text: str, config: RunnableConfig) -> str:
        return await arun_steps(noting(text, config))

    def recall(question: str, config: RunnableConfig) -> str:
        return run_steps(looking(question, config))

    async def arecall(question: str, config: RunnableConfig) -> str:
        return await arun_steps(looking(question, config))

    return [
        StructuredTool.from_function(remember, aremember, name="remember", description=_REMEMBER),
        StructuredTool.from_function(recall, arecall, name="recall", description=_RECALL),
    ]
