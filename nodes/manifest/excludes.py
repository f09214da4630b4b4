"""Which files of a project are left out: caches and environments, and what .gitignore says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

IGNORE_FILE = ".gitignore"
DEFAULTS = tuple(
    """
    .git .hg .svn .jj .venv venv .env node_modules __pycache__ *.py[cod] .DS_Store .cache
    .mypy_cache .pytest_cache .ruff_cache .hypothesis .tox .nox .eggs *.egg-info .idea
    .ipynb_checkpoints .langgraph_api .gradle
    """.split()
)
"""What is left out of any project; patterns as in .gitignore."""


@dataclass(frozen=True, kw_only=True)
class ExcludeRules:
    """The patterns that one folder brings along."""

    folder: str
    """From the project folder, with a slash at the end; empty for that folder itself."""
    spec: GitIgnoreSpec


def read_rules(folder: str, lines: Iterable[str]) -> tuple[ExcludeRules, list[str]]:
    """Read patterns, and name those that cannot be read."""
    good: list[str] = []
    bad: list[str] = []
    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
            good.append(line)
        except GitIgnorePatternError:
            bad.append(line)
    return ExcludeRules(folder=folder, spec=GitIgnoreSpec.from_lines(good)), bad


def is_excluded(path: str, rules: Sequence[ExcludeRules], *, is_folder: bool) -> bool:
    """Whether a path is left out; the rules of the nearest folder that has an opinion hold."""
    for found in reversed(rules):
        inner = path.removeprefix(found.folder) + ("/" if is_folder else "")
        said = found.spec.check_file(inner).include
        if said is not None:
            return said
    return False
