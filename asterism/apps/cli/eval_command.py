"""`asterism eval`: run a team on examples and print its scores. Loads LangSmith.

Tests: tests/asterism/apps/cli/test_eval_command.py.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from asterism.apps.cli.options import ERRORS, FAILED, print_json, print_text
from asterism.apps.evaluation import EvaluationOptions, aevaluate_team
from asterism.apps.evaluation_data import FILES, Dataset, aexamples_from_threads
from asterism.apps.stored_threads import open_database
from asterism.errors import ConfigurationError
from asterism.storage.open import aopen_checkpointer


async def evaluate_dataset(
    team: str,
    dataset: str,
    *,
    threads: Sequence[str],
    evaluators: Sequence[str],
    fail_under: Sequence[str],
    options: EvaluationOptions,
    db: str,
    as_json: bool,
) -> int:
    """Evaluate a team and return the exit code.

    Args:
        team: What `asterism run` takes.
        dataset: A file of examples, or a database of kept threads.
        threads: The kept threads; none: all that are completed.
        evaluators: Their names; none: the ready ones.
        fail_under: Thresholds such as `route=0.9`.
        options: Those of `aevaluate_team`.
        db: Where the threads of the evaluation are stored.
        as_json: Whether the result is printed as JSON.

    Raises:
        ConfigurationError: The team, the examples, the evaluators or a threshold cannot be used.
    """
    minimum = read_thresholds(fail_under)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # evaluators are found as graphs are
    logging.getLogger("langsmith").setLevel(logging.CRITICAL)  # what a run raises is listed below
    examples = await _read_examples(dataset, threads)
    options.setdefault("name", Path(dataset).stem)
    async with aopen_checkpointer(open_database(db)) as saver:
        options["checkpointer"] = saver
        found = await aevaluate_team(team, examples, evaluators or None, **options)
    print_json(found.as_json()) if as_json else print_text(str(found))
    if found.url:
        ERRORS.print(f"The experiment: {found.url}", markup=False, highlight=False)
    shortfalls = found.find_shortfalls(minimum)
    for shortfall in shortfalls:
        ERRORS.print(shortfall, style="red", markup=False)
    return FAILED if shortfalls else 0


async def compare_on_dataset(
    team: str,
    other: str,
    dataset: str,
    *,
    threads: Sequence[str],
    evaluators: Sequence[str],
    options: EvaluationOptions,
    as_json: bool,
) -> bool:
    """Run two teams on the same examples and print both; whether any of them differs.

    The arguments are those of `evaluate_dataset`.
    """
    from asterism.apps.team_comparison import acompare_teams

    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    logging.getLogger("langsmith").setLevel(logging.CRITICAL)
    examples = await _read_examples(dataset, threads)
    found = await acompare_teams(team, other, examples, evaluators or None, **options)
    print_json(found.as_json()) if as_json else print_text(str(found))
    return any(row.differences() for row in found.rows)


def read_thresholds(given: Sequence[str]) -> Mapping[str, float]:
    """Read thresholds such as `route=0.9`.

    Raises:
        ConfigurationError: One is no number from 0 to 1, or names no score.
    """
    found: dict[str, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        with suppress(ValueError):
            if name and 0 <= float(number) <= 1:
                found[name] = float(number)
                continue
        raise ConfigurationError(
            f"The threshold is {text!r}; allowed: a score and a number from 0 to 1, as route=0.9."
        )
    return found


async def _read_examples(dataset: str, threads: Sequence[str]) -> Dataset:
    if Path(dataset).suffix.lower() in FILES:
        if threads:
            raise ConfigurationError(f"--thread goes with a database; {dataset!r} is a file.")
        return dataset
    if "://" not in dataset and not Path(dataset).is_file():
        raise ConfigurationError(
            f"There is no data set {dataset!r}; allowed: a file ({', '.join(FILES)}), or a "
            "database of kept threads."
        )
    async with aopen_checkpointer(open_database(dataset)) as saver:
        found: list[Any] = await aexamples_from_threads(saver, threads or None)
    if not found:
        raise ConfigurationError(f"The database {dataset!r} has no completed thread.")
    return found
