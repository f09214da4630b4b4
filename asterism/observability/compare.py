"""The difference of two runs: decisions, participants, reports, tokens, money."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import takewhile
from typing import Any, cast

from asterism.core.text_tables import Bundle, as_block
from asterism.observability.record import RoundRecord, RunRecord, plain
from asterism.observability.text_width import fit_text, format_money, one_line
from asterism.observability.wording import end_of, state_of, title_of

LINE_WIDTH = 110
"""How many columns a line takes at most."""
SHOWN_BEFORE = 20
"""How much of a long beginning that two texts share is shown, at its start and at its end."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that differs. None: it is not there."""

    where: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs between two runs."""

    requests: tuple[Change, ...] = ()
    """What was asked for."""
    decisions: tuple[Change, ...] = ()
    """By the place of the decision."""
    reports: tuple[Change, ...] = ()
    """By participant, task and turn."""
    ends: tuple[Change, ...] = ()
    """Status and answer of each request."""
    calls: int = 0
    """How many model calls more the later one made."""
    tokens: int = 0
    cost_usd: Decimal = Decimal(0)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return self != Difference()

    def as_json(self) -> dict[str, Any]:
        """Return the difference as plain JSON values."""
        return cast(dict[str, Any], plain(self))

    def __str__(self) -> str:
        """Draw it: what was with `-`, what is with `+`."""
        if not self:
            return "The runs do not differ.\n"
        lines: list[str] = []
        for title, changes in (
            ("requests", self.requests),
            ("decisions", self.decisions),
            ("reports", self.reports),
            ("end", self.ends),
        ):
            lines += [title, *_draw_changes(changes)] if changes else []
        lines.append(
            f"model calls {self.calls:+,}, tokens {self.tokens:+,}, "
            f"money {'-' if self.cost_usd < 0 else '+'}{format_money(abs(self.cost_usd))}"
        )
        return "\n".join(lines) + "\n"

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        return as_block(str(self))


def compare_runs(before: RunRecord, after: RunRecord) -> Difference:
    """Say what differs between two runs: decisions, reports, ends, tokens and money."""
    was, now = before.usage, after.usage
    return Difference(
        requests=tuple(_find_changes(_requests(before), _requests(after))),
        decisions=tuple(_find_changes(_decisions(before), _decisions(after))),
        reports=tuple(_find_changes(_reports(before), _reports(after))),
        ends=tuple(_find_changes(_ends(before), _ends(after))),
        calls=now.calls - was.calls,
        tokens=now.tokens - was.tokens,
        cost_usd=now.cost_usd - was.cost_usd,
    )


def _find_changes(before: dict[str, str], after: dict[str, str]) -> Iterator[Change]:
    for where in [*before, *(where for where in after if where not in before)]:
        if before.get(where) != after.get(where):
            yield Change(where=where, before=before.get(where), after=after.get(where))


def _requests(run: RunRecord) -> dict[str, str]:
    return {f"request {n}": request.request for n, request in enumerate(run.requests, 1)}


def _decisions(run: RunRecord) -> dict[str, str]:
    many = len(run.requests) > 1
    return {
        (f"request {number}, " if many else "") + f"round {decided.number}": _decision_text(decided)
        for number, request in enumerate(run.requests, 1)
        for decided in request.rounds
    }


def _decision_text(decided: RoundRecord) -> str:
    tasks = [
        f"{task.id} → {task.participant}: {task.description}"
        + (f" (after {', '.join(task.needs)})" if task.needs else "")
        for task in decided.tasks
    ]
    asked = decided.question
    more = [decided.instruction or "", *tasks]
    if asked is not None:
        more += [asked.prompt, asked.answer or ""]
    said = "; ".join(part for part in more if part)
    return f"{title_of(decided)}: {said}" if said else title_of(decided)


def _reports(run: RunRecord) -> dict[str, str]:
    turns: dict[str, int] = defaultdict(int)
    found: dict[str, str] = {}
    for visit in (visit for request in run.requests for visit in request.visits()):
        name = f"{visit.path}, task {visit.task}" if visit.task else visit.path
        turns[name] += 1
        said = visit.error or visit.text
        outcome = f"{state_of(visit)}: {said}" if said else state_of(visit)
        found[f"{name}, turn {turns[name]}"] = outcome
    return found


def _ends(run: RunRecord) -> dict[str, str]:
    return {
        f"request {number}": f"{end_of(request)}{f': {said}' if said else ''}"
        for number, request in enumerate(run.requests, 1)
        for said in [request.answer or request.reason]
    }


def _draw_changes(changes: tuple[Change, ...]) -> Iterator[str]:
    for change in changes:
        yield f"  {fit_text(change.where, LINE_WIDTH)}"
        both = zip(one_line(change.before or ""), one_line(change.after or ""), strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
        for mark, said in zip("-+", (change.before, change.after), strict=True):
            if said is not None:
                yield f"    {mark} {fit_text(_from(one_line(said), same), LINE_WIDTH)}"


def _from(said: str, same: int) -> str:
    """Leave the beginning out where it would hide what differs."""
    if same < LINE_WIDTH - SHOWN_BEFORE:
        return said
    return f"{said[:SHOWN_BEFORE]}… …{said[same - SHOWN_BEFORE :]}"
