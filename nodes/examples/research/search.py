"""Search: the passages and the sources that fit words best.

The plan of a research: which sources bear on a question, and who reads which.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from langchain_core.runnables import run_in_executor

from asterism.core.plan import SubAgentTask
from asterism.core.supervisor_decision import AnswerDecision, PlanDecision, SupervisorDecision
from asterism.nodes.examples.research.passages import Passage, counts, passages, terms
from asterism.nodes.examples.research.sources import MAX_BYTES, Folder
from asterism.nodes.view import SupervisorView
from asterism.prompts import render

MAX_SEARCHED = 30_000_000
"""How many bytes one search reads."""

_K1, _B = 1.2, 0.75
"""The usual constants of BM25: how soon repetition stops to count, and how much length does."""


def best_sources(folder: Folder, question: str, limit: int) -> list[str]:
    """Return the paths of the sources that fit a question best, those that it names first."""
    named = [s.path for s in folder.sources() if s.path.casefold() in question.casefold()]
    best = rank_sources(read_all(folder), frozenset(terms(question)))
    found = [passage.path for passage in best]
    return list(dict.fromkeys([*named, *found]))[:limit]


def read_all(folder: Folder) -> list[Passage]:
    """Read what is text, up to `MAX_SEARCHED`, as passages."""
    everything: list[Passage] = []
    size = 0
    for source in folder.sources():
        size += source.size if source.size <= MAX_BYTES else 0
        if size > MAX_SEARCHED:
            break
        with suppress(ValueError):  # it is no text, or too large
            everything += passages(*folder.read(source.path))
    return everything


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


@dataclass(frozen=True, kw_only=True)
class ResearchPlanner:
    """Gives each reader its sources, all at once; then the answer is written.

    The plan takes no model: the sources that fit the question best are found by search.
    """

    root: Path
    """The folder of sources."""
    max_sources: int = 8
    """How many sources are read for a question, at most."""

    def decide(self, view: SupervisorView) -> SupervisorDecision:
        """Plan who reads what, or finish."""
        if view.iterations:
            return SupervisorDecision(next_agent=None)
        folder = Folder.at(self.root)
        chosen = best_sources(folder, view.request, self.max_sources)
        if not chosen:
            return AnswerDecision(
                next_agent=None,
                answer=f"No source in the folder has any word of this: {view.request}",
            )
        return PlanDecision(next_agent=None, tasks=self._tasks(chosen, view))

    async def adecide(self, view: SupervisorView) -> SupervisorDecision:
        """Plan who reads what, or finish; files are read in a thread, which may block."""
        return await run_in_executor(None, self.decide, view)

    def _tasks(self, sources: Sequence[str], view: SupervisorView) -> list[SubAgentTask]:
        readers = tuple(view.participants)
        return [
            SubAgentTask(
                task_id=f"read {path}"[:100],
                agent_id=readers[place % len(readers)],
                task_description=render("read_source", path=path, question=view.request),
            )
            for place, path in enumerate(sources)
        ]
