"""Search: the passages and the sources that fit words best."""

import math
from collections.abc import Iterable, Sequence

from asterism.nodes.research.folder import MAX_BYTES, Folder, Source
from asterism.nodes.research.passages import Passage, passages
from asterism.nodes.research.words import counts, terms

MAX_SEARCHED = 30_000_000
"""How many bytes one search reads."""

_K1, _B = 1.2, 0.75
"""The usual constants of BM25: how soon repetition stops to count, and how much length does."""


def best_sources(folder: Folder, question: str, limit: int) -> list[str]:
    """Return the paths of the sources that fit a question best, those that it names first.

    Args:
        folder: The folder.
        question: What is asked.
        limit: How many are returned, at most.
    """
    sources = folder.sources()
    named = [s.path for s in sources if s.path.casefold() in question.casefold()]
    everything, _ = read_all(folder, sources)
    found = [passage.path for passage in rank_sources(everything, frozenset(terms(question)))]
    return list(dict.fromkeys([*named, *found]))[:limit]


def read_all(folder: Folder, sources: Iterable[Source]) -> tuple[list[Passage], list[str]]:
    """Read sources into passages; what cannot be searched is noted."""
    everything: list[Passage] = []
    left_out: list[str] = []
    size = 0
    for source in sources:
        size += source.size if source.size <= MAX_BYTES else 0
        if size > MAX_SEARCHED:
            left_out.append(f"{source.path} and what follows (name a path to search it)")
            break
        try:
            everything += passages(*folder.read(source.path))
        except ValueError:
            left_out.append(source.path)
    if not left_out:
        return everything, []
    named = ", ".join(left_out[:5])
    more = f" and {len(left_out) - 5:,} more" if len(left_out) > 5 else ""
    return everything, [f"Not searched, too large or not text: {named}{more}."]


def rank_sources(everything: Sequence[Passage], wanted: frozenset[str]) -> list[Passage]:
    """Return the passages that have a wanted term, the best first by BM25.

    The words of the heading above count as if they stood in the passage.
    """
    found = [
        (passage, hits)
        for passage in everything
        if (hits := counts(f"{passage.heading}\n{passage.text}", wanted))
    ]
    having = {term: sum(term in hits for _, hits in found) for term in wanted}
    rarity = {
        term: math.log(1 + (len(everything) - n + 0.5) / (n + 0.5)) for term, n in having.items()
    }
    usual = sum(len(passage.text) for passage in everything) / max(1, len(everything))

    def score(passage: Passage, hits: dict[str, int]) -> float:
        length = _K1 * (1 - _B + _B * len(passage.text) / max(1.0, usual))
        return sum(rarity[t] * n * (_K1 + 1) / (n + length) for t, n in hits.items())

    order = sorted(found, key=lambda pair: (-score(*pair), pair[0].path, pair[0].line))
    return [passage for passage, _ in order]
