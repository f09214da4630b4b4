"""A folder of sources, and nothing outside it."""

import difflib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath

from asterism.errors import ConfigurationError
from asterism.nodes.research.text import read_text
from asterism.nodes.values import quote_argument

MAX_BYTES = 2_000_000
"""The largest file that is read."""
MAX_FILES = 10_000
"""How many files of a folder are looked at."""
ALL = "**/*"
"""The pattern of every file."""

_PATTERN_LIMIT = 200
_NEAR_FILES = 1_000
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that may be listed."""

    path: str
    """Where it is, from the folder, with forward slashes."""
    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder of sources. Hidden files are not among them, nor what links lead to outside."""

    root: Path
    """The folder itself, with its links resolved."""

    @classmethod
    def at(cls, root: Path) -> "Folder":
        """Open a folder.

        Raises:
            ConfigurationError: There is no folder of that name.
        """
        real = Path(root).expanduser().resolve()
        if not real.is_dir():
            raise ConfigurationError(
                f"The folder of sources is {str(root)!r}, which is no folder. Give one that exists."
            )
        return cls(root=real)

    def sources(self, pattern: str = ALL) -> list[Source]:
        """List the files that match a pattern, folder by folder; at most `MAX_FILES` are looked at.

        Raises:
            ValueError: The pattern leads outside.
        """
        wanted = _pattern(pattern)
        return [
            source
            for source in islice(self._walk(), MAX_FILES)
            if _matches(source.path.casefold().split("/"), wanted)
        ]

    def is_overfull(self) -> bool:
        """Whether there are files that are not looked at."""
        return next(islice(self._walk(), MAX_FILES, None), None) is not None

    def below(self, path: str | None) -> list[Source]:
        """List the files of a folder within, or the one file that `path` names; None: all.

        Raises:
            ValueError: The path is not allowed, or nothing is there.
        """
        if path is None or path.strip() in ("", ".", "./", "/"):
            return self.sources()
        real = self._within(path)
        name = real.relative_to(self.root).as_posix()
        if real.is_dir():
            return [s for s in self.sources() if s.path.startswith(f"{name}/")]
        return [Source(path=name, size=real.stat().st_size)]

    def read(self, path: str) -> tuple[str, list[str]]:
        """Read a file.

        Returns:
            Its path as `sources` has it, and its lines.

        Raises:
            ValueError: The path is not allowed, or the file is missing, too large or binary.
        """
        real = self._within(path)
        if not real.is_file():
            kind = "folder" if real.is_dir() else "special file"
            raise ValueError(
                f"{quote_argument(path)} is a {kind}. Give a file that list_sources shows."
            )
        name = real.relative_to(self.root).as_posix()
        size = real.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(
                f"the file {quote_argument(name)} has {size:,} bytes; at most "
                f"{MAX_BYTES:,} are read. "
                "Split it, or use another source."
            )
        return name, read_text(name, self._bytes(real, MAX_BYTES))

    def head(self, path: str, size: int) -> bytes:
        """Read the first bytes of a file that `sources` listed."""
        return self._bytes(self.root / path, size)

    def _bytes(self, real: Path, size: int) -> bytes:
        try:
            with real.open("rb") as file:
                return file.read(size)
        except OSError as error:
            raise ValueError(
                f"the file {quote_argument(real.name)} cannot be read: {error.strerror}. "
                "Use another source."
            ) from error

    def _within(self, path: str) -> Path:
        """Return what a path leads to, if that is within the folder and not hidden."""
        parts = _parts(path)
        try:
            real = self.root.joinpath(*parts).resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: links that go in a circle
            raise ValueError(
                f"there is no file {quote_argument(path)}.{self._near(path)} "
                "Give a path that list_sources shows."
            ) from error
        if not self._allows(real):
            raise ValueError(
                f"{quote_argument(path)} leads out of the folder of sources or to a hidden file. "
                "Give a path that list_sources shows."
            )
        return real

    def _allows(self, real: Path) -> bool:
        return real.is_relative_to(self.root) and not any(
            part.startswith(".") for part in real.relative_to(self.root).parts
        )

    def _near(self, path: str) -> str:
        names = [source.path for source in islice(self._walk(), _NEAR_FILES)]
        near = difflib.get_close_matches(path[:_PATTERN_LIMIT], names, n=1)
        near = near or [name for name in names if name.split("/")[-1] == path.split("/")[-1]][:1]
        return f" Did you mean {near[0]!r}?" if near else ""

    def _walk(self) -> Iterator[Source]:
        for place, folders, files in os.walk(self.root):  # does not follow links to folders
            folders[:] = sorted(name for name in folders if _is_listed(name))
            for name in sorted(filter(_is_listed, files)):
                file = Path(place) / name
                try:
                    real = file.resolve(strict=True)
                    if real.is_file() and self._allows(real):
                        path = file.relative_to(self.root).as_posix()
                        yield Source(path=path, size=real.stat().st_size)
                except (OSError, RuntimeError):  # a link to nowhere, or a file that went away
                    continue


def _is_listed(name: str) -> bool:
    """Whether a name is shown: hidden ones are not, nor those that cannot be printed."""
    return not name.startswith(".") and name.isprintable()


def _parts(path: str) -> tuple[str, ...]:
    """Split a path, if it is one from the folder downwards."""
    way = "Give a path below the folder of sources, such as notes/a.md."
    if not path.strip() or not path.isprintable():
        raise ValueError(f"the path {quote_argument(path)} is not allowed. {way}")
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if _DRIVE.match(path) or "/" in parts or "//" in parts or ".." in parts:
        raise ValueError(
            f"the path {quote_argument(path)} leads out of the folder of sources. {way}"
        )
    if any(part.startswith(".") for part in parts):
        raise ValueError(f"the path {quote_argument(path)} names a hidden file. {way}")
    return parts


def _pattern(pattern: str) -> list[str]:
    """Split a pattern; one without a slash matches at any depth."""
    if not pattern.strip() or len(pattern) > _PATTERN_LIMIT:
        raise ValueError(
            f"the pattern {quote_argument(pattern)} is empty or longer than "
            f"{_PATTERN_LIMIT} characters. "
            "Use one such as '*.md', 'notes/*' or '**/*'."
        )
    parts = pattern.strip().casefold().removeprefix("./").split("/")
    if ".." in parts or not parts[0] or _DRIVE.match(pattern):
        raise ValueError(
            f"the pattern {quote_argument(pattern)} leads out of the folder of sources. "
            "Use one such as '*.md', 'notes/*' or '**/*'."
        )
    parts = ["**", *parts] if len(parts) == 1 else parts
    return [*parts, "*"] if parts[-1] == "**" else parts


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Whether a path matches; `**` stands for any number of folders."""
    reached = {0}
    for wanted in pattern:
        if wanted == "**":
            reached = set(range(min(reached, default=len(parts) + 1), len(parts) + 1))
        else:
            reached = {i + 1 for i in reached if i < len(parts) and fnmatchcase(parts[i], wanted)}
    return len(parts) in reached
