"""What a manifest is.

Reads a manifest, and writes it whole or not at all.
"""

import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from asterism.programs.config import validation_faults

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
        ordered = sorted(self.dependencies, key=lambda needed: (needed.place, needed.wants))
        plain = {
            "format": self.format,
            "files": {path: self.files[path].model_dump() for path in sorted(self.files)},
            "dependencies": [d.model_dump() for d in ordered],
        }
        return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"


MAX_BYTES = 200_000_000


def read_manifest(path: Path) -> Manifest | None:
    """Read a manifest; None: there is none yet.

    Raises:
        ValueError: What is there is no manifest, so it must not be written over.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ValueError(f"{str(path)!r} is no file; move it away")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"{str(path)!r} is too large to be a manifest; move it away")
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        faults = list(validation_faults(error))
        listed = "; ".join(faults[:10]) + (f"; and {len(faults) - 10} more" * (len(faults) > 10))
        raise ValueError(
            f"{str(path)!r} is no manifest: {listed}. Mend it, or move it away."
        ) from error
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error.strerror}") from error


def write_manifest(path: Path, manifest: Manifest) -> bool:
    """Write a manifest at once: whoever reads it sees the old one or the new one, whole.

    Returns:
        Whether anything was written; the same content is not written again.

    Raises:
        ValueError: It cannot be written; the old one is untouched.
    """
    content = manifest.text().encode()
    Manifest.model_validate_json(content)  # what would be refused later is not written
    try:
        if path.is_file() and path.read_bytes() == content:
            return False
        _replace(path, content)
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    return True


def temporary_of(path: Path) -> str:
    """Return how the names of unfinished writes of a manifest begin."""
    return f".{path.name}."


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=temporary_of(path), suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644)
            file.write(content)
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
