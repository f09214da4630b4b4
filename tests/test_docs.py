"""The words: every code block of the README and the docs runs, every link leads somewhere."""

import inspect
import json
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import asterism
from asterism import errors, testing
from asterism.apps.cli.app import app
from asterism.graphs.examples import event_planning
from asterism.graphs.responses import OrchestratorResponse
from asterism.limits.failure_policies import FAILURES
from asterism.nodes.remote.contract import REPLY, ServiceRequest
from asterism.observability.render.svg import draw_svg
from tests.docs_search import QUESTIONS, WORDS, Section, find_faults, read_markdown
from tests.test_layout import PACKAGES

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def pictures(page: Path) -> list[tuple[str, Path]]:
    """The drawings of a page, each with the name of the graph that it is a drawing of."""
    found = re.findall(r"\]\((pictures/(\w+)\.svg)\)", page.read_text())
    return [(name, page.parent / path) for path, name in found]


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
    for name, drawing in pictures(page):
        graph: Any = names[name]
        drawn = draw_svg(graph.get_graph(xray=name == "nested"))
        if not drawing.exists():  # the way to draw it anew: delete it, run this test
            drawing.write_text(drawn)
        assert drawing.read_text() == drawn, f"{drawing} is not the graph {name!r} of the page"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_the_anchors_of_a_page_are_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([\w-]+)\)", page.read_text()):
        linked = page.parent / target if target else page
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.M)
        slugs = [re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings]
        assert anchor in slugs, f"{target}#{anchor}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "sh")], ids=lambda p: p.name)
def test_the_commands_of_a_page_are_commands(page: Path) -> None:
    for line in "".join(blocks(page, "sh")).splitlines():
        if line.startswith("asterism "):
            command, *arguments = shlex.split(line, comments=True)[1:]
            shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
            assert shown.exit_code == 0, line
            for option in (word.split("=")[0] for word in arguments if word.startswith("--")):
                assert re.search(rf"{option}\b", shown.output), line


def test_the_command_line_page_lists_every_command() -> None:
    listed = re.findall(r"`asterism ([a-z]+)", (ROOT / "docs" / "cli.md").read_text())
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert set(listed) == set(re.findall(r"^│ ([a-z]+) ", shown, re.M))


def test_the_targets_of_the_readme_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)|`make (\w+)`", (ROOT / "README.md").read_text(), re.M):
        name = "".join(target)
        assert re.search(rf"^{name}:.*##", makefile, re.M), name


def test_the_kinds_of_failure_are_documented_as_they_are() -> None:
    text = (ROOT / "docs" / "delegation.md").read_text()
    for kind, meaning in FAILURES.items():
        assert f"| `{kind}` | {meaning} |" in text


def test_the_contract_of_services_is_documented_as_it_is() -> None:
    call, replies = blocks(ROOT / "docs" / "remote.md", "json")
    assert ServiceRequest.model_validate_json(call).model_dump() == json.loads(call)
    for line in replies.splitlines():
        reply = REPLY.validate_json(line).model_dump(exclude_unset=True, mode="json")
        assert reply == json.loads(line)


def test_every_public_name_stands_in_the_reference_once() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    named = re.findall(r"^::: asterism\.(.+)$", pages, re.M)
    expected = [*asterism.__all__, *(f"testing.{name}" for name in testing.__all__), "errors"]
    assert sorted(named) == sorted(name for name in expected if name != "AsterismError")


def test_nobody_is_told_to_install_another_project() -> None:
    """On package indexes the name `asterism` is that of a package for genetics."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.toml", "*.yml", "*.yaml", "*.ipynb", "Makefile"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    wrong = re.compile(r"asterism\[(?:ui|workers|postgres|otel|dev)|install '?asterism(?![\w-])")
    named = [f for f in listed if wrong.search((ROOT / f).read_text())]
    assert named == []


@pytest.mark.parametrize("path", ["compose.yaml", ".github/workflows/ci.yml"])
def test_commands_of_deployment_files_are_commands(path: str) -> None:
    text = (ROOT / path).read_text()
    used = re.findall(r"(?:asterism|command: \[) ?(\w+)[ \]](?!enqueue)", text)
    assert used
    for name in used:
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0, name


def test_every_page_is_in_the_navigation_once() -> None:
    settings = (ROOT / "mkdocs.yml").read_text()
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in DOCS]
    assert sorted(re.findall(r": ([\w/-]+\.md)$", settings, re.M)) == sorted(pages)


def test_a_search_finds_the_page_that_answers() -> None:
    """`make docs` checks the index of the built site in the same way."""
    assert find_faults(read_markdown()) == []


def test_a_search_that_leads_elsewhere_is_a_fault() -> None:
    only = [Section("nowhere", "Security", " ".join(QUESTIONS | WORDS))]
    assert len(find_faults(only)) == len(QUESTIONS | WORDS)


RIDDLES = (
    "asks for leave",
    "leave for a tool",
    "decide otherwise",
    "in earnest",
    "the commands.",
    "gone on with",
    "moment it is due",
    "with what there is",
    "what is to be done",
    "what watches",
    "what survives",
    "harms nobody",
    " told ",
    "nothing else passes",
    "you look at the past",
    "for those who know such things",
)
"""Phrases that readers did not understand, in lower case."""


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_page_speaks_in_riddles(page: Path) -> None:
    text = " ".join(page.read_text().lower().split())
    assert [phrase for phrase in RIDDLES if phrase in text] == []


def test_the_hooks_for_commits_are_valid() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == 0


OWNERS = (
    asterism.SupervisorWorkflowBuilder,
    asterism.SupervisorWorkflowBuilder.with_strategy,
    asterism.AgentOrchestrator,
    asterism.BaseSupervisor,
    OrchestratorResponse,
    errors,
    event_planning,
)
"""Whose arguments, methods and names may be named without them."""


def test_what_people_look_for_by_name_is_there() -> None:
    """Each name in the second column: exported, or a part of what its row names."""
    page = (ROOT / "docs" / "names.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| \[", page, re.M)
    assert len(rows) > 100
    for words, cell in rows:
        known = re.findall(r"`([A-Za-z_]+)\b", words + cell)
        owners = [getattr(asterism, name) for name in known if name in asterism.__all__]
        for name in re.findall(r"`(?:asterism\.)?([A-Za-z_.]+)`", cell):
            assert any(has_part(o, name) for o in [*owners, *OWNERS]) or is_found(name), name


def is_found(path: str) -> bool:
    """Whether the package has a name, or what is named has a part."""
    owner, _, part = path.rpartition(".")
    try:
        pkgutil.resolve_name(f"asterism.{path}")
    except (ImportError, AttributeError):
        return owner in asterism.__all__ and has_part(getattr(asterism, owner), part)
    return True


def has_part(thing: Any, name: str) -> bool:
    """Whether a thing has an attribute, a field, or an argument of this name."""
    arguments = inspect.signature(thing).parameters if callable(thing) else ()
    return hasattr(thing, name) or name in arguments


ARCHITECTURE = ROOT / "docs" / "architecture.md"
GUIDES = [
    ARCHITECTURE,
    ROOT / "docs" / "glossary.md",
    ROOT / "docs" / "debugging.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs" / "adr").glob("*.md")),
]
"""The pages that lead through the code."""


def paths_in(text: str) -> list[str]:
    """The files and folders of the repository that a text names in backticks."""
    folders = "asterism|nodes|graphs|prompts|tests|docs|benchmarks|examples"
    found = re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
    return [path for path in found if not re.search("NAME|NNNN", path)]


def section(heading: str) -> str:
    """A section of the architecture page."""
    return ARCHITECTURE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.name)
def test_the_files_that_a_guide_names_exist(page: Path) -> None:
    paths = paths_in(page.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda p: p.stem)
def test_a_decision_names_the_test_that_holds_it(page: Path) -> None:
    text = page.read_text().split("\n## Held by\n")[1]
    tests = [path for path in paths_in(text) if path.startswith("tests/")]
    assert tests
    code = "".join((ROOT / path).read_text() for path in tests)
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in code, name


def test_the_packages_are_documented_in_their_order() -> None:
    rows = re.findall(r"^\| `([\w/.]+)` \|", section("Packages"), re.M)
    names = [row.removeprefix("asterism/").removesuffix(".py") for row in rows]
    places = [next(i for i, level in enumerate(PACKAGES) if name in level) for name in names]
    assert places == sorted(places)
    assert {*names, "__init__", "__main__"} == set[str]().union(*PACKAGES)


WALKS = ("One turn", "One question", "One plan", "One child", "One job")


@pytest.mark.parametrize("walk", WALKS)
def test_what_a_step_of_a_walk_names_stands_in_its_files(walk: str) -> None:
    steps = re.split(r"^\d+\. ", section(walk), flags=re.M)[1:]
    assert 10 <= len(steps) <= 15
    for step in steps:
        files = [path for path in paths_in(step) if path.endswith(".py")]
        code = "".join((ROOT / path).read_text() for path in files)
        names = re.findall(r"`([A-Za-z_][\w.]*)`", step) if files else []
        for name in {part for dotted in names for part in dotted.split(".")}:
            assert re.search(rf"\b{name}\b", code, re.I), f"{name}: {files}"


def test_the_index_leads_from_thirty_words_to_files() -> None:
    rows = re.findall(r"^\| (\w+) \| `([\w/.]+\.py)` \|$", section("Index"), re.M)
    words = [word for word, _ in rows]
    assert len(words) == 30
    assert words == sorted(set(words))


def test_pages_import_from_the_public_doors_only() -> None:
    doors = set(re.findall(r"^\| `(asterism[\w.]*)` \|", section("Public doors"), re.M))
    code = "".join(block for page in PAGES for block in blocks(page, "python"))
    code += "".join(path.read_text() for path in (ROOT / "notebooks").glob("[0-9]*.py"))
    imported = set(re.findall(r"^ *from (asterism[\w.]*) import", code, re.M))
    assert len(imported) > 5
    assert imported <= doors
