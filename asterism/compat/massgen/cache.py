"""`IntelligentCache`: the response cache, by the words of MassGen."""

from typing import Any, Literal

from asterism.errors import ConfigurationError
from asterism.memories.cache.response_cache import ResponseCache


class IntelligentCache(ResponseCache):
    """A cache of model calls; give it to an `Agent`, or a model to `cache.on(model)`.

    Args:
        strategy: `"semantic"` also answers similar calls, `"exact"` the very same call alone.
        similarity_threshold: The least similarity, from above 0 to 1.
        ttl: Seconds for which an answer is good. None: for ever.
        max_size: How many answers are kept.
        **options: Those of `ResponseCache`: `url`, `embeddings`, `events`, `clock`. Without
            `embeddings`, requests are similar that are written alike.
    """

    def __init__(
        self,
        strategy: Literal["semantic", "exact"] = "semantic",
        similarity_threshold: float = 0.95,
        ttl: float | None = None,
        max_size: int = 10_000,
        **options: Any,
    ) -> None:
        if strategy not in ("semantic", "exact"):
            raise ConfigurationError(f"strategy is {strategy!r}; allowed: 'semantic', 'exact'")
        threshold = similarity_threshold if strategy == "semantic" else None
        super().__init__(ttl=ttl, max_size=max_size, similarity_threshold=threshold, **options)
