"""What a memory returns, how a model is shown it, and the tools that it calls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool

from asterism.core.sync_async import Steps, arun_steps, run_steps
from asterism.core.values import fence
from asterism.errors import ConfigurationError

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


def create_steps_tool(steps: Callable[..., Steps[str]]) -> BaseTool:
    """Create a tool of steps for sync and async; name and description are the function's."""

    @wraps(steps)
    def call(*args: Any, **kwargs: Any) -> str:
        return run_steps(steps(*args, **kwargs))

    @wraps(steps)
    async def acall(*args: Any, **kwargs: Any) -> str:
        return await arun_steps(steps(*args, **kwargs))

    return StructuredTool.from_function(call, acall)
