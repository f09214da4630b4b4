"""What files of a project declare to depend on. Pure: a text in, dependencies out."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from asterism.core.values import as_dict, as_list, redact
from asterism.nodes.examples.manifest.manifest_file import Dependency

MAX_BYTES = 2_000_000
"""The largest file that is read for dependencies."""

_REQUIREMENTS = re.compile(r"(?:.*[-_.])?requirements(?:[-_.].*)?\.(?:txt|in)", re.I)
_NPM = {
    "dependencies": "main",
    "devDependencies": "dev",
    "peerDependencies": "peer",
    "optionalDependencies": "optional",
}

Found = tuple[str, str, str]
"""A name, the versions that fit, and the group."""


def declares(name: str) -> bool:
    """Whether a file of that name declares dependencies."""
    return name in _READERS or bool(_REQUIREMENTS.fullmatch(name))


def read_declared_dependencies(path: str, content: bytes) -> tuple[list[Dependency], list[str]]:
    """Read what a file declares.

    Returns:
        The dependencies, and the lines that cannot be read, each with its place.

    Raises:
        ValueError: The whole of it cannot be read.
    """
    problems: list[str] = []
    read, ecosystem = _READERS.get(path.rsplit("/", 1)[-1], (_requirements, "pypi"))
    try:
        found = set(read(content.decode("utf-8-sig"), problems))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    dependencies = [
        Dependency(
            name=name, wants=redact(wants), group=group, ecosystem=ecosystem, declared_in=path
        )
        for name, wants, group in sorted(found)
    ]
    return dependencies, [f"{path}: {redact(problem)}" for problem in problems]


def _pyproject(text: str, problems: list[str]) -> Iterator[Found]:
    table = tomllib.loads(text)
    project = as_dict(table.get("project"))
    yield from _pep508(project.get("dependencies"), "main", problems)
    for group, lines in as_dict(project.get("optional-dependencies")).items():
        yield from _pep508(lines, group, problems)
    for group, lines in as_dict(table.get("dependency-groups")).items():
        yield from _pep508(lines, group, problems)
    yield from _pep508(as_dict(table.get("build-system")).get("requires"), "build", problems)


def _pep508(lines: object, group: str, problems: list[str]) -> Iterator[Found]:
    for line in as_list(lines) if lines is not None else ():
        if isinstance(line, str):
            yield from _requirement(line, group, problems)
        elif not as_dict(line).get("include-group"):
            problems.append(f"{repr(line)[:100]} is no requirement")


def _requirements(text: str, problems: list[str]) -> Iterator[Found]:
    for raw in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        line = re.split(r"\s--\w", line, maxsplit=1)[0]
        if line and not line.startswith("-"):  # options, and other files, which stand by themselves
            yield from _requirement(line, "main", problems)


def _requirement(line: str, group: str, problems: list[str]) -> Iterator[Found]:
    try:
        found = Requirement(line)
    except InvalidRequirement:
        problems.append(f"{line[:100]!r} is no requirement")
        return
    name = canonicalize_name(found.name)
    extras = f"[{','.join(sorted(found.extras))}]" if found.extras else ""
    marker = f" ; {found.marker}" if found.marker else ""
    yield name, f"{extras}{found.url or found.specifier}{marker}", group


def _package_json(text: str, problems: list[str]) -> Iterator[Found]:
    table = as_dict(json.loads(text))
    for key, group in _NPM.items():
        for name, wants in as_dict(table.get(key)).items():
            if name and isinstance(wants, str):
                yield name, wants, group
            else:
                problems.append(f"{key}.{name[:100]}: {repr(wants)[:100]} is no version")


_READERS: Mapping[
    str, tuple[Callable[[str, list[str]], Iterator[Found]], Literal["npm", "pypi"]]
] = {"pyproject.toml": (_pyproject, "pypi"), "package.json": (_package_json, "npm")}
