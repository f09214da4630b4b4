"""The plan of a research: which sources bear on a question, and who reads which."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asterism.core.plan import SubAgentTask
from asterism.core.supervisor_decision import AnswerDecision, PlanDecision, SupervisorDecision
from asterism.nodes.research.folder import Folder
from asterism.nodes.research.search import best_sources
from asterism.nodes.view import SupervisorView
from asterism.prompts import render


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
        """Plan who reads what, or finish."""
        return self.decide(view)

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
