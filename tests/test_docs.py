"""The words: every code block of the README and the docs runs, every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asterism.cli.app import app
from asterism.resilience import FAILURES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_the_python_of_a_page_runs(
    page: Path,
    postgres: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The blocks of a page run one after the other, and print what their comments say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTERISM_DB", postgres)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)
        printed = capsys.readouterr().out
        for said in re.findall(r"^ *print\(.*\)  # (.+)$", block, re.M):
            assert all(part.strip() in printed for part in said.split("...")), said


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_commands_of_the_readme_are_commands() -> None:
    for block in blocks(ROOT / "README.md", "sh"):
        for line in block.splitlines():
            if line.startswith("asterism "):
                arguments = shlex.split(line, comments=True)[1:]
                result = CliRunner().invoke(app, [arguments[0], "--help"])
                assert result.exit_code == 0, line


def test_the_targets_of_the_readme_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)|`make (\w+)`", (ROOT / "README.md").read_text(), re.M):
        name = "".join(target)
        assert re.search(rf"^{name}:.*##", makefile, re.M), name


def test_the_kinds_of_failure_are_documented_as_they_are() -> None:
    text = (ROOT / "docs" / "delegation.md").read_text()
    for kind, meaning in FAILURES.items():
        assert f"| `{kind}` | {meaning} |" in text
