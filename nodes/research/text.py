"""The lines of a file: UTF-8, without control characters, and without tags where it is HTML."""

import html
import re
from pathlib import PurePosixPath

from asterism.nodes.values import quote_argument

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
