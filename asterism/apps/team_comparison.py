"""Two versions of a team on the same examples, side by side: route, answer, turns, cost.

Tests: tests/asterism/apps/test_team_comparison.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack

from asterism.apps.evaluation import (
    EvaluationOptions,
    EvaluationRow,
    Evaluator,
    TeamEvaluation,
    TeamLike,
    aevaluate_team,
    evaluate_team,
)
from asterism.apps.evaluation_data import Dataset, load_examples
from asterism.core.text_tables import PLAIN, Bundle, as_table
from asterism.core.values import shorten

_SAME = "="


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """One example with the runs of both versions."""

    before: EvaluationRow
    after: EvaluationRow

    def differences(self) -> tuple[str, ...]:
        """Name what differs: `"error"`, `"status"`, `"route"`, `"answer"`, `"turns"`."""
        was, now = self.before.outputs, self.after.outputs
        keys = ("status", "route", "answer", "structured_response", "turns")
        failed = ("error",) * (bool(self.before.error) != bool(self.after.error))
        return (*failed, *(key for key in keys if was.get(key) != now.get(key)))


@dataclass(frozen=True, kw_only=True)
class TeamComparison:
    """Two versions of a team on the same examples."""

    rows: tuple[ComparedRow, ...]
    means: tuple[Mapping[str, float], Mapping[str, float]]
    """The mean scores of both."""

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        rows = [{**asdict(row), "differences": row.differences()} for row in self.rows]
        return {"means": list(self.means), "rows": rows}

    def __str__(self) -> str:
        return str(self._repr_mimebundle_()[PLAIN])

    def _repr_mimebundle_(self, **kwargs: Any) -> Bundle:
        keys = list(dict.fromkeys(key for means in self.means for key in means))
        names = ("request", "status", "route", "answer", "turns", "USD", *keys)
        scores = (_pair(*(f"{m[k]:.2f}" if k in m else "-" for m in self.means)) for k in keys)
        mean = ["mean", *[""] * 5, *scores]
        return as_table(names, [*(_cells(row, keys) for row in self.rows), mean])


def compare_teams(
    team: TeamLike,
    other: TeamLike,
    dataset: Dataset,
    evaluators: Sequence[Evaluator] | None = None,
    **options: Unpack[EvaluationOptions],
) -> TeamComparison:
    """Run two versions of a team on the same examples.

    Args:
        team: The one; see `evaluate_team`, which runs both.
        other: The other one.
        dataset: The examples.
        evaluators: What scores them.
        **options: See `EvaluationOptions`.
    """
    examples = load_examples(dataset)
    before = evaluate_team(team, examples, evaluators, **options)
    return _join(before, evaluate_team(other, examples, evaluators, **options))


async def acompare_teams(
    team: TeamLike,
    other: TeamLike,
    dataset: Dataset,
    evaluators: Sequence[Evaluator] | None = None,
    **options: Unpack[EvaluationOptions],
) -> TeamComparison:
    """Run two versions of a team on the same examples; see `compare_teams`."""
    examples = load_examples(dataset)
    before = await aevaluate_team(team, examples, evaluators, **options)
    return _join(before, await aevaluate_team(other, examples, evaluators, **options))


def _join(before: TeamEvaluation, after: TeamEvaluation) -> TeamComparison:
    pairs = zip(before.rows, after.rows, strict=True)
    rows = tuple(ComparedRow(before=was, after=now) for was, now in pairs)
    return TeamComparison(rows=rows, means=(before.means, after.means))


def _cells(row: ComparedRow, keys: Sequence[str]) -> list[str]:
    both = (row.before, row.after)
    answers = [shorten(" ".join(str(one.outputs.get("answer", "")).split()), 40) for one in both]
    is_same = not {"answer", "structured_response"} & set(row.differences())
    return [
        shorten(" ".join(row.before.request.split()), 30),
        _pair(*(str(one.outputs.get("status", "raised")) for one in both)),
        _pair(*(" > ".join(one.outputs.get("route") or ()) or "-" for one in both)),
        _SAME if is_same else f"{answers[0]} | {answers[1]}",
        _pair(*(str(one.outputs.get("turns", "-")) for one in both)),
        _pair(*(_money(one.outputs.get("cost_usd")) for one in both)),
        *(
            _pair(*(f"{one.scores[key]:.2f}" if key in one.scores else "-" for one in both))
            for key in keys
        ),
    ]


def _money(cost: float | None) -> str:
    return "?" if cost is None else f"{cost:.4f}"


def _pair(before: str, after: str) -> str:
    return before if before == after else f"{before} | {after}"
