"""What a manifest is."""

import json
from pathlib import PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_PATH = 4_096
WITHIN = "//"
"""Stands between a file and what is declared in it; no path has it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileEntry(_Part):
    """One file of a project."""

    kind: str = Field(min_length=1, max_length=40)
    """What it holds, as `python` or `document`; `link` for a symbolic link."""
    size: int = Field(ge=0)
    """Bytes; of a link, those of its target's path."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of its content; of a link, of its target's path."""


class Dependency(_Part):
    """Something that a project declares to need."""

    name: str = Field(min_length=1)
    ecosystem: Literal["npm", "pypi"]
    group: str
    """What it is needed for: `main`, `dev`, `build`, an extra, ..."""
    wants: str
    """The versions that fit, as they are declared; empty: any."""
    declared_in: str
    """The file that says so."""

    @property
    def place(self) -> str:
        """Where it is declared, as entries are named."""
        return f"{self.declared_in}{WITHIN}{self.name} ({self.group})"


class Manifest(_Part):
    """The files of a project and what it depends on."""

    format: Literal[1] = 1
    files: dict[str, FileEntry]
    """By path from the folder, with forward slashes."""
    dependencies: list[Dependency]

    @field_validator("files")
    @classmethod
    def _paths_stay_inside(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        for path in files:
            parts = PurePosixPath(path).parts
            plain = path == "/".join(parts) and len(path) <= MAX_PATH
            if not plain or not parts or parts[0] == "/" or ".." in parts:
                raise ValueError(f"{path[:100]!r} is no path below the folder")
        return files

    def text(self) -> str:
        """Write it as JSON, sorted, so that the same content is the same text."""
        plain = {
            "format": self.format,
            "files": {path: self.files[path].model_dump() for path in sorted(self.files)},
            "dependencies": [d.model_dump() for d in sorted(self.dependencies, key=_order)],
        }
        return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"


def _order(dependency: Dependency) -> tuple[str, str]:
    return dependency.place, dependency.wants
