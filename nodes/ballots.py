"""Votes: read from what voters say, counted, announced."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asterism.core.supervisor_decision import match_name
from asterism.core.values import as_dict

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
