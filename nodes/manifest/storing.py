"""Reads a manifest, and writes it whole or not at all."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from asterism.nodes.manifest.model import Manifest
from asterism.programs.config import validation_faults

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
            os.fchmod(handle, _mode(path))
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


def _mode(path: Path) -> int:
    """Return the mode of a file that is replaced, or that of a new one."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    return 0o644
