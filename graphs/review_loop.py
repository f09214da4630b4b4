"""A loop of work and review: a reviewer sends work back until it is good enough.

Open it for what is reviewed, and for how the loop ends. Tests: tests/graphs/test_review_loop.py.
"""

from dataclasses import dataclass, replace
from typing import Any

from asterism.core.numbers import count_faults
from asterism.core.supervisor_decision import AnswerDecision, SupervisorDecision
from asterism.core.sync_async import Call, Steps, arun_steps, run_steps
from asterism.core.values import is_number
from asterism.errors import ConfigurationError
from asterism.graphs.builder import SupervisorWorkflowBuilder
from asterism.nodes.deciders.reviewers import Review, Reviewer
from asterism.nodes.participant_spec import Participant, describe
from asterism.nodes.view import SupervisorView
from asterism.prompts import render

WORKER = "worker"
"""The participant of the loop."""


def create_review_loop(
    worker: Any,
    reviewer: Reviewer,
    *,
    threshold: float = 0.8,
    rounds: int = 3,
    must_pass: bool = False,
    name: str = "review_loop",
) -> SupervisorWorkflowBuilder:
    """Create a workflow in which a reviewer sends the work of a participant back until it is good.

    Build it with a checkpointer to run it, or without one as a participant of a team. The worker
    may be a team itself: then its final answer is reviewed.

    Args:
        worker: Anything that may be a participant.
        reviewer: Who judges, by its criteria; `create_reviewer` makes it.
        threshold: The score, from 0 to 1, that each criterion has to reach.
        rounds: How often the worker may answer.
        must_pass: Whether the request fails where the last answer is not good enough. Otherwise
            it is the answer.
        name: The name of the workflow.

    Raises:
        ConfigurationError: The threshold or the rounds cannot be used.
    """
    faults = [*count_faults("rounds", rounds)]
    if not is_number(threshold) or not 0 <= threshold <= 1:
        faults.append(f"threshold is {threshold!r}; it must be a number from 0 to 1")
    if faults:
        raise ConfigurationError(f"The review loop cannot be made: {'; '.join(faults)}.")
    spec = worker if isinstance(worker, Participant) else Participant(runs=worker)
    about = describe(worker) or "Does what is asked."
    loop = _ReviewLoop(reviewer, threshold=threshold, rounds=rounds, must_pass=must_pass)
    return (
        SupervisorWorkflowBuilder(
            name, finish="forward", description=about, max_iterations=rounds + 1
        )
        .participants(**{WORKER: replace(spec, description=about)})
        .with_manager(loop)
    )


@dataclass(frozen=True)
class _ReviewLoop:
    """Decides whether the worker has to answer again."""

    reviewer: Reviewer
    threshold: float
    rounds: int
    must_pass: bool

    def decide(self, view: SupervisorView) -> SupervisorDecision:
        """Send the work back, or finish."""
        return run_steps(self._deciding(view))

    async def adecide(self, view: SupervisorView) -> SupervisorDecision:
        """Send the work back, or finish."""
        return await arun_steps(self._deciding(view))

    def _deciding(self, view: SupervisorView) -> Steps[SupervisorDecision]:
        if not view.reports:
            return SupervisorDecision(next_agent=WORKER)
        last = view.reports[-1]
        if last["status"] != "ok":
            why = f"{last.get('kind')}: {last.get('error')}"
            return AnswerDecision(next_agent=None, failure=why)
        is_last = len(view.reports) >= self.rounds
        if is_last and not self.must_pass:
            return SupervisorDecision(next_agent=None)
        work = f"Request:\n{view.request}\n\nAnswer:\n{last['text']}"
        review: Review = yield Call(self.reviewer.review, self.reviewer.areview, (work,))
        complaints = [
            f"- {name}: {judged.reason}"
            for name, judged in review.judgements.items()
            if judged.score < self.threshold
        ]
        if not complaints:
            return SupervisorDecision(next_agent=None)
        score = f"{min(judged.score for judged in review.judgements.values()):.2g}"
        if is_last:
            said = f"the answer scored {score} of {self.threshold:g} in its {self.rounds}. round"
            text = "\n".join([said, *complaints])
            return AnswerDecision(next_agent=None, failure=f"agent_failed: {text}")
        instruction = render(
            "improve",
            score=score,
            threshold=f"{self.threshold:g}",
            complaints="\n".join(complaints),
        )
        return SupervisorDecision(next_agent=WORKER, instruction=instruction.strip())
