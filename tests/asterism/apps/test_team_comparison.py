"""Two versions of a team on the same examples."""

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner

from asterism import SupervisorWorkflowBuilder, acompare_teams, compare_teams
from asterism.apps.cli.app import app
from tests.asterism.apps.test_evaluation import by_word, desk, says

EXAMPLES = [
    {"request": "a", "route": ["a"]},
    {"request": "a b", "route": ["a", "b"]},
]


old = desk()
new = SupervisorWorkflowBuilder("Desk", finish="forward").with_manager(by_word)
new.participants(a=says("Answer A"), b=says("other"))


def test_what_differs_is_named_by_example() -> None:
    found = compare_teams(old, new, iter(EXAMPLES))
    assert [row.differences() for row in found.rows] == [(), ("answer",)]
    text = str(found)
    assert "a > b" in text and "answer  b." not in text
    assert "answer b. | other" in text
    json.dumps(found.as_json())
    assert asyncio.run(acompare_teams(desk, old, EXAMPLES)).rows[1].differences() == ()


def test_the_command_prints_both_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "examples.jsonl"
    path.write_text("".join(json.dumps(example) + "\n" for example in EXAMPLES))
    names = [f"{__name__}:{name}" for name in ("old", "new")]
    codes = []
    for pair in (names, names[:1] * 2):
        for more in ([], ["--strict"]):
            result = CliRunner().invoke(app, ["compare", *pair, str(path), *more])
            codes.append(result.exit_code)
    assert codes == [0, 1, 0, 0], result.output
    shown = json.loads(CliRunner().invoke(app, ["compare", *names, str(path), "--json"]).stdout)
    assert [row["differences"] for row in shown["rows"]] == [[], ["answer"]]
