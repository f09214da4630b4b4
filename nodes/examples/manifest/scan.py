"""Which files of a project are left out: caches and environments, and what .gitignore says.

What kind of file a name tells of.

Reads a project folder: its files, what they declare, and what could not be read.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

from asterism.nodes.examples.manifest.dependencies import (
    MAX_BYTES,
    declares,
    read_declared_dependencies,
)
from asterism.nodes.examples.manifest.manifest_file import WITHIN, Dependency, FileEntry, Manifest

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


_SUFFIXES = {
    "python": ".py .pyi .pyx",
    "javascript": ".js .mjs .cjs .jsx",
    "typescript": ".ts .tsx",
    "code": ".c .h .cc .cpp .hpp .rs .go .java .kt .rb .php .swift .sh .bash .sql .lua .r",
    "notebook": ".ipynb",
    "document": ".md .rst .txt .pdf .docx .odt .html .htm .tex",
    "data": ".json .jsonl .csv .tsv .xml .parquet .db .sqlite",
    "config": ".toml .yaml .yml .ini .cfg .conf .properties",
    "style": ".css .scss .less",
    "image": ".png .jpg .jpeg .gif .svg .webp .ico .bmp .tiff",
    "media": ".mp3 .mp4 .wav .ogg .webm .mov .flac",
    "archive": ".zip .tar .gz .bz2 .xz .7z .whl .jar",
}
_KINDS: Mapping[str, str] = {
    suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}


def file_kind(name: str, head: bytes) -> str:
    """Name the kind of a file by its name, else by its first bytes: `text` or `binary`."""
    known = _KINDS.get(PurePosixPath(name).suffix.lower())
    return known or ("binary" if b"\0" in head else "text")


MAX_FILES = 100_000
"""How many files a project may have."""
MAX_SIZE = 2**31
"""The largest file that is read, in bytes."""
_CHUNK = 2**20
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(kw_only=True)
class Scan:
    """What a project folder holds."""

    files: dict[str, FileEntry] = field(default_factory=dict[str, FileEntry])
    dependencies: list[Dependency] = field(default_factory=list[Dependency])
    problems: list[str] = field(default_factory=list[str])
    """What could not be read, each with its path."""
    unread: set[str] = field(default_factory=set[str])
    """Paths that are there and could not be read; of folders, with all below them."""

    def covers(self, path: str) -> bool:
        """Whether it is known if a path is there."""
        parts = path.split("/")
        return not any("/".join(parts[:end]) in self.unread for end in range(len(parts) + 1))

    def manifest(self) -> Manifest:
        """Make a manifest of it."""
        return Manifest(files=self.files, dependencies=self.dependencies)


def scan_project(
    root: Path, leave_out: Callable[[str], bool], *, max_files: int = MAX_FILES
) -> Scan:
    """Read a project folder. Nothing outside of it is read, whatever links say.

    Raises:
        ValueError: It is no folder that can be read, or has too many files.
    """
    scan = Scan()
    defaults, _ = read_rules("", DEFAULTS)
    todo: list[tuple[str, list[ExcludeRules]]] = [("", [defaults])]
    while todo:
        folder, rules = todo.pop()
        entries = _entries(root, folder, scan)
        if any(name == IGNORE_FILE for name, _ in entries):
            rules = [*rules, _own_rules(root, folder, scan)]
        for name, is_folder in entries:
            path = f"{folder}{name}"
            if is_excluded(path, rules, is_folder=is_folder) or leave_out(path):
                continue
            if not path.isprintable():
                _unreadable(path, ValueError("its name cannot be printed"), scan)
            elif is_folder:
                todo.append((f"{path}/", rules))
            else:
                _take(root, path, scan)
        if len(scan.files) > max_files:
            raise ValueError(
                f"{str(root)!r} has more than {max_files:,} files; name what can be left out in "
                f"{IGNORE_FILE}"
            )
    scan.problems.sort()
    return scan


def _entries(root: Path, folder: str, scan: Scan) -> list[tuple[str, bool]]:
    """List a folder: names, and whether each is a folder."""
    try:
        if (root / folder).resolve(strict=True) != root / folder:
            raise ValueError("it has become a link")
        with os.scandir(root / folder) as found:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    except (OSError, ValueError) as error:
        if not folder:
            raise ValueError(f"the folder {str(root)!r} cannot be read: {error}") from error
        _unreadable(folder.rstrip("/"), error, scan)
        return []


def _own_rules(root: Path, folder: str, scan: Scan) -> ExcludeRules:
    path = f"{folder}{IGNORE_FILE}"
    text = ""
    try:
        text = b"".join(_chunks(root / path, MAX_BYTES)).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        scan.problems.append(f"{path}: it cannot be read, so nothing is left out for it: {error}")
    rules, bad = read_rules(folder, text.splitlines())
    scan.problems += [f"{path}: {line[:100]!r} is no pattern" for line in bad]
    return rules


def _take(root: Path, path: str, scan: Scan) -> None:
    """Take a file into a scan, or note why it cannot be."""
    place = root / path
    try:
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            _take_link(root, path, scan)
        elif not stat.S_ISREG(mode):
            scan.problems.append(f"{path}: it is no file (a pipe, a socket, a device); left out")
        else:
            _take_file(place, path, scan)
    except FileNotFoundError:
        scan.problems.append(f"{path}: it vanished while the folder was read")
    except (OSError, ValueError) as error:
        _unreadable(path, error, scan)


def _take_file(place: Path, path: str, scan: Scan) -> None:
    kept, size, head = hashlib.sha256(), 0, b""
    whole: list[bytes] | None = [] if declares(place.name) else None
    for chunk in _chunks(place, MAX_SIZE if whole is None else MAX_BYTES):
        head = head or chunk[:8_192]
        kept.update(chunk)
        size += len(chunk)
        if whole is not None:
            whole.append(chunk)
    kind = file_kind(place.name, head)
    scan.files[path] = FileEntry(kind=kind, size=size, sha256=kept.hexdigest())
    if whole is not None:
        _take_declared(path, b"".join(whole), scan)


def _take_declared(path: str, content: bytes, scan: Scan) -> None:
    """Take the dependencies that a file declares, or note that they are not known."""
    try:
        found, problems = read_declared_dependencies(path, content)
    except ValueError as error:
        _unreadable(f"{path}{WITHIN}", error, scan)
    else:
        scan.dependencies += found
        scan.problems += problems


def _take_link(root: Path, path: str, scan: Scan) -> None:
    """Take a link as what it is, if it stays inside; what it leads to is not read for it."""
    target = (root / path).readlink()
    try:
        end = (root / path).resolve()
        inside = end.is_relative_to(root) and not end.is_symlink()  # a circle, from Python 3.13 on
    except RuntimeError:  # a circle
        inside = False
    if not inside:
        scan.problems.append(f"{path}: the link leads out of the folder, or nowhere; left out")
        return
    said = os.fsencode(target)
    scan.files[path] = FileEntry(
        kind="link", size=len(said), sha256=hashlib.sha256(said).hexdigest()
    )


def _chunks(place: Path, most: int) -> Iterator[bytes]:
    """Yield the content of a regular file, which may not be a link.

    Raises:
        OSError: It cannot be read.
        ValueError: It has more than `most` bytes, or is no file any more.
    """
    handle = os.open(place, os.O_RDONLY | _SAFELY)
    with open(handle, "rb", buffering=0) as file:  # noqa: PTH123 - a handle, opened safely
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no file any more")
        size = 0
        while chunk := file.read(_CHUNK):
            if (size := size + len(chunk)) > most:
                raise ValueError(f"it has more than {most:,} bytes")
            yield chunk


def _unreadable(path: str, error: Exception, scan: Scan) -> None:
    said = error.strerror if isinstance(error, OSError) else str(error)
    shown = path if path.isprintable() else ascii(path)
    scan.problems.append(f"{shown.removesuffix(WITHIN)}: it cannot be read: {said}")
    scan.unread.add(path)
