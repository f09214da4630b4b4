"""The lines of a file: UTF-8, without control characters, and without tags where it is HTML.

A folder of sources, and nothing outside it.
"""

import difflib
import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from asterism.errors import ConfigurationError
from asterism.nodes.examples.tool_arguments import quote_argument

_BOM = b"\xef\xbb\xbf"
_CONTROLS = {code: "�" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n\r\f"}
_READABLE = 0.9
"""The least part of the characters that must be text."""

_HTML = (".html", ".htm", ".xhtml")
_TAG = re.compile(
    r"(?P<comment><!--)|<(?P<hidden>script|style|template)\b[^<>]*>"
    r"|<(?P<close>/?)(?P<name>[a-z][\w-]*)[^<>]*>|<[!?][^<>]*>",
    re.I,
)
_INLINE = frozenset(
    "a abbr b bdi cite code em i kbd mark q s samp small span strong sub sup u var".split()
)
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_OPEN, _CLOSE = "\ue000", "\ue001"
"""Stand in for the tags of headings; both are for private use, so no text has them."""
_ALONE = re.compile(rf"\s*{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}?\s*")


def read_text(name: str, data: bytes) -> list[str]:
    """Turn the content of a file into lines.

    Line numbers are those of the file, also where tags are left out.

    Args:
        name: The file's name; its ending tells whether it is HTML.
        data: The content, or the beginning of it.

    Raises:
        ValueError: It is not text.
    """
    text = data.removeprefix(_BOM).decode("utf-8", "replace").translate(_CONTROLS)
    if b"\x00" in data or text.count("�") > (1 - _READABLE) * len(text) + 3:
        raise ValueError(
            f"the file {quote_argument(name)} is binary or not UTF-8. Use a text file: "
            "txt, md, rst, csv, "
            "json, py or html."
        )
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if PurePosixPath(name).suffix.lower() in _HTML:
        lines = [_tidy(line) for line in _without_tags(text).split("\n")]
    else:
        lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def _without_tags(text: str) -> str:
    """Leave tags out, but no line break in them; mark where headings begin and end.

    Each character is looked at a fixed number of times, whatever stands there.
    """
    kept: list[str] = []
    at = 0
    while match := _TAG.search(text, at):
        end = match.end()
        closing = "-->" if match["comment"] else match["hidden"] and f"</{match['hidden']}[^<>]*>"
        if closing:
            found = re.compile(closing, re.I).search(text, end)
            end = found.end() if found else len(text)
        kept += text[at : match.start()], "\n" * text.count("\n", match.start(), end)
        kept.append(_mark((match["name"] or "p").lower(), closed=bool(match["close"])))
        at = end
    return "".join([*kept, text[at:]])


def _mark(tag: str, *, closed: bool) -> str:
    """Return what stands in for a tag: nothing within a word, a space between blocks."""
    if tag in _INLINE:
        return ""
    if tag in _HEADINGS:
        return _CLOSE if closed else _OPEN
    return " "


def _tidy(line: str) -> str:
    """Write a heading that has its line to itself as in Markdown."""
    heading = _ALONE.fullmatch(line)
    text = f"# {heading[1]}" if heading else line.replace(_OPEN, " ").replace(_CLOSE, " ")
    return " ".join(html.unescape(text).split())


MAX_BYTES = 2_000_000
"""The largest file that is read."""
MAX_FILES = 10_000
"""How many files of a folder are looked at."""

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

    def sources(self) -> list[Source]:
        """List the files, folder by folder, up to `MAX_FILES`."""
        return list(islice(self._walk(), MAX_FILES))

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
            raise ValueError(f"{quote_argument(path)} is a {kind}. Give the path of a file.")
        name = real.relative_to(self.root).as_posix()
        size = real.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(
                f"the file {quote_argument(name)} has {size:,} bytes; at most "
                f"{MAX_BYTES:,} are read. "
                "Split it, or use another source."
            )
        try:
            return name, read_text(name, real.read_bytes())
        except OSError as error:
            raise ValueError(
                f"the file {quote_argument(name)} cannot be read: {error.strerror}. "
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
                "Give the path of a source."
            ) from error
        if not self._allows(real):
            raise ValueError(
                f"{quote_argument(path)} leads out of the folder of sources or to a hidden file. "
                "Give the path of a source."
            )
        return real

    def _allows(self, real: Path) -> bool:
        return real.is_relative_to(self.root) and not any(
            part.startswith(".") for part in real.relative_to(self.root).parts
        )

    def _near(self, path: str) -> str:
        names = [source.path for source in islice(self._walk(), _NEAR_FILES)]
        near = difflib.get_close_matches(path[:200], names, n=1)
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
