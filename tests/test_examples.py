"""The examples: each runs as a program of its own, offline, and says what it is about."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.processes import run_script

EXAMPLES = Path(__file__).parents[1] / "examples"

SAID: Mapping[str, Sequence[str]] = {
    "programs_and_traces": [
        "attempt 1 failed: ",
        "completed after 2 attempts: ",
        "I am a custom agent. Done: Process this task",
        '{"completed": 1}',
        "success rate 100%",
    ],
    "supervisor_workflow": [
        "→ venue",
        "['venue', 'catering', 'budget', 'logistics']\ncompleted\n",
        "asked: Which city?\ncompleted\n",
        "['Hall A takes 50 people.', 'Hall A costs 2,400 dollars.']",
    ],
    "subagents": [
        "Summary: Search results for: Research quantum computing",
        "Total Subagents Created: 2",
        "└─ ✓ summarize_tool",
        "[('calculator', '105'), ('text_processor', ",
        "Tools: $0.0035",
        "[('calculator', 'ok'), ('text_processor', 'ok')]",
    ],
    "supervision_tree": [
        "Analyze: done in 3 rounds",
        "Try: done in 2 rounds",
        "[runaway] quota_exceeded max_iterations",
        "paused: True\n",
        "killed again: False",
        "3 of 5 children completed",
        "- broken: completed, 1 restarts",
    ],
}
"""What each prints."""


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs_offline_in_an_empty_folder(name: str, tmp_path: Path) -> None:
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < 120
    ran = run_script(path, tmp_path, error=RuntimeWarning)
    assert ran.returncode == 0, ran.stderr
    assert [said for said in SAID[name] if said not in ran.stdout] == []
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if f"`{path.name}`" not in listed] == []
