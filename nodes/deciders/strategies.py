"""Strategies: deciders without a model, for sequential, parallel, voting or led teams.

A strategy is a pure function of what has been reported so far. Its tasks carry its name, so a
run that goes on after a stop goes on with the strategy that it began with. Open it for how votes
are read and counted as well. Tests: tests/graphs/test_strategies.py.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from langgraph.errors import GraphBubbleUp

from asterism.core.agent_spec import Agent
from asterism.core.plan import SubAgentTask
from asterism.core.state import Report
from asterism.core.supervisor_decision import (
    AnswerDecision,
    PlanDecision,
    SupervisorDecision,
    match_name,
)
from asterism.core.values import as_dict, is_number, log_failure
from asterism.limits.failure_policies import (
    Action,
    AskPerson,
    Compensation,
    Delegate,
    Policy,
    UseCached,
)
from asterism.nodes.view import SupervisorView, fenced_report
from asterism.prompts import render

_log = logging.getLogger(__name__)

_LINE = re.compile(
    r"^\W*(?:(?:my\s+)?vote\W*[:=]|i\s+vote\s+for\b)\s*(.+)$", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True)
class Vote:
    """What one voter said."""

    choice: str | None
    """Who it voted for. None: it named nobody."""
    reason: str
    """Why, in its own words."""


@dataclass(frozen=True, kw_only=True)
class VoteCount:
    """A vote that was counted."""

    votes: Mapping[str, Vote]
    """By voter."""
    winner: str | None
    """Whose answer won. None: nobody's."""

    def describe(self) -> str:
        """Say who voted for whom."""
        return ", ".join(
            f"{voter} for {vote.choice or 'nobody'}" for voter, vote in self.votes.items()
        )

    def dissent(self) -> dict[str, str]:
        """Return the reasons of those who did not vote for the winner."""
        return {
            voter: f"{vote.choice or 'nobody'}: {vote.reason}"
            for voter, vote in self.votes.items()
            if vote.choice != self.winner
        }

    def fields(self, answers: Mapping[str, str]) -> dict[str, Any]:
        """Return the result as plain values: winner, answer, votes, dissent."""
        return {
            "winner": self.winner,
            "answer": answers[self.winner or ""],
            "votes": {voter: vote.choice for voter, vote in self.votes.items()},
            "dissent": self.dissent(),
        }

    def announce(self, answers: Mapping[str, str]) -> str:
        """Write the winner's answer, then the votes and the dissent."""
        given = sum(vote.choice == self.winner for vote in self.votes.values())
        dissent = "".join(f"\n- {voter}: {said}" for voter, said in self.dissent().items())
        return (
            f"{answers[self.winner or '']}\n\n"
            f"Winner: {self.winner}, with {given} of {len(self.votes)} votes "
            f"({self.describe()}).\nDissent: {dissent or 'none.'}"
        )


def read_vote(said: str, names: Sequence[str]) -> Vote:
    """Read who a voter votes for: JSON with `vote`, a line `vote: name`, or the name alone.

    Args:
        said: What the voter answered.
        names: Who may be voted for.
    """
    start, end = said.find("{"), said.rfind("}")
    if 0 <= start < end:
        try:
            fields = as_dict(json.loads(said[start : end + 1]))
        except ValueError:
            fields = {}
        if choice := match_name(str(fields.get("vote", "")), names):
            return Vote(choice, str(fields.get("reason") or "").strip())
    for line in _LINE.findall(said):
        if choice := _find_name(line, names):
            return Vote(choice, _rest(said, line))
    first = said.strip().splitlines()[:1]
    alone = bool(first) and len(re.findall(r"[\w-]+", first[0])) == 1
    choice = _find_name(first[0], names) if alone else None
    return Vote(choice, said.strip())


def count_votes(
    votes: Mapping[str, Vote], names: Sequence[str], *, majority: float, first_wins: bool
) -> VoteCount:
    """Count votes; abstentions count against a majority.

    Args:
        votes: By voter.
        names: Who may win, in their order.
        majority: A winner has more than this share of all voters.
        first_wins: Whether, without a majority, the first of those with most votes wins.
    """
    counts = Counter(vote.choice for vote in votes.values() if vote.choice)
    best = max(names, key=lambda name: counts[name])
    wins = counts[best] > majority * len(votes) or (first_wins and counts[best] > 0)
    return VoteCount(votes=votes, winner=best if wins else None)


def _find_name(line: str, names: Sequence[str]) -> str | None:
    """Return the one name that stands in a line, or None where none or several do."""
    words = re.findall(r"[\w-]+", line)
    found = {name for word in words if (name := match_name(word, names))}
    return found.pop() if len(found) == 1 else None


def _rest(said: str, line: str) -> str:
    return " ".join(part for part in said.splitlines() if line not in part).strip()


def sequential_decider(view: SupervisorView) -> SupervisorDecision:
    """Send the next participant to work, or answer with what all have reported.

    Each is sent the request as it was written. Where one fails, those after it do not work,
    and the request fails.
    """
    for report in view.reports:
        if report["status"] != "ok":
            why = f"{report.get('kind')}: {report['participant']}: {report.get('error')}"
            return AnswerDecision(next_agent=None, failure=why)
    reported = {report["participant"] for report in view.reports}
    for name in view.participants:
        if name not in reported:
            return SupervisorDecision(next_agent=name)
    answer = "\n\n".join(report["text"] for report in view.reports)
    return AnswerDecision(next_agent=None, answer=answer)


StrategyName = Literal["sequential", "parallel", "consensus", "hierarchical"]
"""One after the other; all at once; answers and votes; one leads the others."""

TieRule = Literal["revote", "first", "fail"]
"""What happens without a winner: vote once more, take the first of the best, or fail."""

TeamChoice = Callable[[str], Sequence[str | Agent]]
"""Chooses for a request who works on it: participants by id, or specs of agents to create."""

Selector = Callable[[str], StrategyName]
"""Picks the strategy for a request."""


@dataclass(frozen=True, kw_only=True)
class TeamStrategy:
    """How a team works on a request."""

    name: StrategyName | Selector
    """The strategy, or what picks it for a request."""
    create_agents_for_task: TeamChoice | None = None
    """Who works on a request. None: all participants."""
    majority: float = 0.5
    """Consensus: a winner has more than this share of the votes."""
    tie: TieRule = "revote"
    """Consensus: what happens without a winner."""
    without_consensus: Action | None = None
    """Consensus: what is done where it fails. None: the request fails."""

    def decide(self, view: SupervisorView) -> SupervisorDecision:
        """Give the next plan, or finish."""
        given = self.name
        name = _find_strategy(view) or (given if isinstance(given, str) else given(view.request))
        if name not in STRATEGIES:
            raise ValueError(f"the strategy is {name!r}; allowed: {', '.join(STRATEGIES)}")
        chosen = self._team(view)
        if not chosen and not view.iterations:
            said = f"create_agents_for_task chose nobody for {view.request[:200]!r}"
            return AnswerDecision(next_agent=None, failure=f"agent_failed: {said}")
        created = [agent for agent in chosen if isinstance(agent, Agent)]
        names = [agent.agent_id if isinstance(agent, Agent) else agent for agent in chosen]
        decision = STRATEGIES[name](self, view, names)
        new = [agent for agent in created if agent.agent_id not in view.participants]
        if new and isinstance(decision, PlanDecision):
            return decision.model_copy(update={"subagents": new})
        return decision

    async def adecide(self, view: SupervisorView) -> SupervisorDecision:
        """Give the next plan, or finish."""
        return self.decide(view)

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with the options of the strategy."""
        if isinstance(self.name, str) and self.name not in STRATEGIES:
            yield f"the strategy is {self.name!r}; allowed: {', '.join(STRATEGIES)}, or a function"
        if not is_number(self.majority) or not 0 <= self.majority < 1:
            yield f"majority is {self.majority!r}; it must be a share, from 0 to less than 1"
        if self.tie not in ("revote", "first", "fail"):
            yield f"tie is {self.tie!r}; allowed: 'revote', 'first', 'fail'"

    def with_policies(self, policies: Sequence[Policy]) -> "TeamStrategy":
        """Return this strategy with what the policies of its workflow do about a failed vote."""
        made_up = (p.actions for p in policies if isinstance(p, Compensation))
        actions: Iterator[Any] = (a["consensus_failed"] for a in made_up if "consensus_failed" in a)
        return replace(self, without_consensus=next(actions, None))

    def _team(self, view: SupervisorView) -> Sequence[str | Agent]:
        if self.create_agents_for_task is None:
            return tuple(view.participants)
        if view.iterations:
            at_work = {report["participant"] for report in view.reports}
            return [name for name in view.participants if name in at_work]
        return tuple(self.create_agents_for_task(view.request))


def _sequential(strategy: TeamStrategy, view: SupervisorView, names: Sequence[str]) -> PlanDecision:
    """One after the other; each gets what all before it have reported."""
    if _is_over(view):
        return _done()
    tasks = [
        _task("sequential", name, "Do your part, given what those before you have done.",
              [_id("sequential", other) for other in names[:place]])
        for place, name in enumerate(names)
    ]  # fmt: skip
    return _plan(tasks)


def _parallel(strategy: TeamStrategy, view: SupervisorView, names: Sequence[str]) -> PlanDecision:
    """All at once, each for itself."""
    if _is_over(view):
        return _done()
    return _plan([_task("parallel", name, "Do your part.") for name in names])


def _hierarchical(
    strategy: TeamStrategy, view: SupervisorView, names: Sequence[str]
) -> PlanDecision:
    """The first leads: it says what is to be done, the others do it, it puts that together."""
    if _is_over(view):
        return _done()
    lead, *others = names
    begin = _task("hierarchical", lead, render("lead", team=", ".join(others)), part="lead")
    work = [
        _task("hierarchical", name, "Do the part that the lead gives you.", [begin.task_id])
        for name in others
    ]
    needs = [begin.task_id, *(task.task_id for task in work)]
    end = _task("hierarchical", lead, "Put the results together.", needs, part="result")
    return _plan([begin, *work, end])


def _consensus(
    strategy: TeamStrategy, view: SupervisorView, names: Sequence[str]
) -> SupervisorDecision:
    """All answer, all vote on the answers, and the answer with a majority wins."""
    if not view.iterations:
        return _plan([_task("consensus", name, "Give your answer.") for name in names])
    if made_up := _finish_without_consensus(strategy, view):
        return made_up
    reports = _reports_of(view, "answer", names)
    answers = {r["participant"]: r["text"] for r in reports if r["status"] == "ok"}
    if len(answers) < 2 and view.state.get("decision", view) is None:  # a person has answered
        return _plan([_task("consensus", name, "Give your answer.") for name in names])
    if len(answers) < 2:
        reasons = "; ".join(r["error"] for r in reports if "error" in r)
        return _without(strategy, f"{len(answers)} of {len(names)} answered ({reasons})")
    votes = [r for r in _reports_of(view, "vote", names) if r["round"] == view.iterations]
    if not votes:
        return _vote(names, answers, again=None)
    ballot = _ballot(votes, answers, strategy)
    if ballot.winner is None and strategy.tie == "revote" and view.iterations == 2:
        return _vote(names, answers, again=ballot)
    if ballot.winner is None:
        return _without(strategy, ballot.describe())
    fields = ballot.fields(answers)
    return AnswerDecision(next_agent=None, answer=ballot.announce(answers), fields=fields)


def _ballot(
    votes: Sequence[Report], answers: Mapping[str, str], strategy: TeamStrategy
) -> VoteCount:
    read = {vote["participant"]: read_vote(vote["text"], list(answers)) for vote in votes}
    return count_votes(
        read, list(answers), majority=strategy.majority, first_wins=strategy.tie == "first"
    )


def _vote(
    names: Sequence[str], answers: Mapping[str, str], again: VoteCount | None
) -> PlanDecision:
    words = {
        "answers": "\n\n".join(fenced_report(name, text) for name, text in answers.items()),
        "names": ", ".join(answers),
        "before": "" if again is None else f"The last vote had no winner: {again.describe()}",
    }
    ballots = {name: render("vote", name=name, **words) for name in names}
    return _plan([_task("consensus", name, text, part="vote") for name, text in ballots.items()])


STRATEGIES: Mapping[
    str, Callable[[TeamStrategy, SupervisorView, Sequence[str]], SupervisorDecision]
] = {
    "sequential": _sequential,
    "parallel": _parallel,
    "consensus": _consensus,
    "hierarchical": _hierarchical,
}
"""Every strategy by its name."""


def _id(strategy: str, name: str, part: str = "answer") -> str:
    return f"{strategy}.{part}.{name}"


def _task(
    strategy: str, name: str, words: str, needs: Sequence[str] = (), *, part: str = "answer"
) -> SubAgentTask:
    return SubAgentTask(
        task_id=_id(strategy, name, part),
        agent_id=name,
        task_description=words,
        dependencies=list(needs),
    )


def _is_over(view: SupervisorView) -> bool:
    """Whether the plan was followed. It is followed again where all failed and the run goes on."""
    reopened = "decision" in view.state and view.state["decision"] is None
    done = any(report["status"] == "ok" for report in view.reports)
    return bool(view.iterations) and (done or not reopened)


def _find_strategy(view: SupervisorView) -> str | None:
    """Return the strategy that the request has been worked on by so far."""
    named = [report.get("task", "").split(".")[0] for report in view.reports]
    return named[0] if view.iterations and named else None


def _reports_of(view: SupervisorView, part: str, names: Sequence[str]) -> list[Report]:
    """Return the reports of one part, in the order of the team: they come as they are done."""
    found = [r for r in view.reports if r.get("task", "").split(".")[1:2] == [part]]
    return sorted(found, key=lambda report: names.index(report["participant"]))


def _plan(tasks: Sequence[SubAgentTask]) -> PlanDecision:
    return PlanDecision(next_agent=None, tasks=list(tasks))


def _done() -> PlanDecision:
    return PlanDecision(next_agent=None)


def _without(strategy: TeamStrategy, reason: str) -> SupervisorDecision:
    """Decide what follows where there is no consensus."""
    match strategy.without_consensus:
        case UseCached() as action:
            try:
                return AnswerDecision(next_agent=None, answer=action.read())
            except GraphBubbleUp:
                raise
            except Exception as error:  # noqa: BLE001 - the failure that it was to make up for stays
                log_failure(_log, "the compensation of consensus_failed failed", error=error)
                return _finish_failed(reason)
        case Delegate(name):
            return SupervisorDecision(
                next_agent=name, instruction=f"There is no consensus: {reason}"
            )
        case AskPerson(prompt):
            return SupervisorDecision(next_agent=None, user_input_needed=True, user_prompt=prompt)
        case _:
            return _finish_failed(reason)


def _finish_without_consensus(
    strategy: TeamStrategy, view: SupervisorView
) -> SupervisorDecision | None:
    """Finish with what somebody has said who was to decide without a consensus."""
    last = view.reports[-1] if view.reports else None
    if last is None or "task" in last:
        return None
    return _done() if last["status"] == "ok" else _finish_failed(last.get("error", last["status"]))


def _finish_failed(reason: str) -> AnswerDecision:
    return AnswerDecision(next_agent=None, failure=f"consensus_failed: {reason}")
