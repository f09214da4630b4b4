"""The source: nothing swallows an interrupt or a cancellation."""

import ast
import os
from pathlib import Path

import pytest

from tests.test_layout import MODULES

BROAD = {"Exception", "BaseException"}
PASSED_ON = {"GraphBubbleUp", "GraphInterrupt"}


def names(node: ast.expr | None) -> set[str]:
    if node is None:
        return {"BaseException"}
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {
        part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in parts
    }


def always_raises(handler: ast.ExceptHandler) -> bool:
    """Whether a handler ends by raising, whatever happens in it."""
    return isinstance(handler.body[-1], ast.Raise)


def hands_on(handler: ast.ExceptHandler) -> bool:
    """Whether a handler gives the error to whoever waits, who raises it again."""
    return any(way in ast.unparse(handler) for way in ("steps.throw", ".set_exception("))


def swallowers(path: Path) -> list[int]:
    """The lines of broad handlers that an interrupt or a cancellation could end in."""
    found: list[int] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Try):
            continue
        passed_on: set[str] = set()
        for handler in node.handlers:
            caught = names(handler.type)
            if caught & PASSED_ON and always_raises(handler):
                passed_on |= caught
            if not caught & BROAD or always_raises(handler) or hands_on(handler):
                continue
            if "BaseException" in caught or not passed_on:
                found.append(handler.lineno)
    return found


def runs_graphs(module: str) -> bool:
    """Whether the code of a module can stand between an interrupt and the engine."""
    return module.split(".")[0] in ("graphs", "nodes")


@pytest.mark.parametrize("module", [name for name in MODULES if runs_graphs(name)])
def test_no_handler_can_swallow_an_interrupt_or_a_cancellation(module: str) -> None:
    assert swallowers(MODULES[module]) == []


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("try:\n    f()\nexcept Exception:\n    pass", [3]),
        ("try:\n    f()\nexcept:\n    pass", [3]),
        ("try:\n    f()\nexcept (KeyError, Exception):\n    pass", [3]),
        ("try:\n    f()\nexcept BaseException:\n    log()\n    raise", []),
        ("try:\n    f()\nexcept GraphBubbleUp:\n    raise\nexcept Exception:\n    pass", []),
        ("try:\n    f()\nexcept GraphBubbleUp:\n    pass\nexcept Exception:\n    pass", [5]),
        ("try:\n    f()\nexcept GraphBubbleUp:\n    raise\nexcept BaseException:\n    pass", [5]),
        ("try:\n    f()\nexcept ValueError:\n    pass", []),
    ],
)
def test_the_check_finds_what_it_looks_for(body: str, lines: list[int], tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(body)
    assert swallowers(path) == lines


def test_the_repository_speaks_of_the_project_alone() -> None:
    root = Path(__file__).parents[1]
    seen = 0
    for place, folders, files in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith(".") and f != "site-packages"]
        for path in (Path(place, file) for file in files):
            if path.suffix in (".py", ".md", ".toml", ".json", ".txt"):
                text = path.read_text()
                assert str(root) not in text, path
                assert "index" + "-url" not in text, path
                seen += 1
    assert seen > 300
