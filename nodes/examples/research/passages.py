"""Passages: what a search finds and an answer quotes, each with its place.

The words of a text that tell what it is about.
"""

import csv
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from asterism.offline.text_parsing import stem

Kind = Literal["prose", "lines", "row"]
"""How a passage is written: in sentences, line by line, or as one row of a table."""

MAX_LINES = 12
MAX_CHARACTERS = 1_200
MAX_HEADING = 300

_TABLES = (".csv", ".tsv")
_CODE = frozenset(
    ".json .jsonl .ndjson .py .ipynb .js .ts .sh .sql .log .yaml .yml .toml .ini .cfg .xml".split()
)
_MARKED = (".md", ".markdown", ".html", ".htm", ".xhtml")
_UNDERLINED = (".md", ".markdown", ".rst", ".txt")
_UNDERLINE = re.compile(r"([=\-~^\"'*+#])\1{2,}\s*")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(.*?)[\s#]*")
_FENCE = re.compile(r"\s*(```|~~~)")
_BREAK = re.compile(
    r"(?P<end>[.!?…]{1,9}[\"'”’)\]]{0,3})\s+(?=[^a-z\s])"
    r"|(?P<full>[。！？]+[」』”]*)\s*"
    r"|\n(?=\s*(?:[-*+•|>]|\d+[.)])\s)"
)
_MARKER = re.compile(r"(?:[-*+•|>]|\d+[.)])\s")
"""What an item of a list begins with."""
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|[A-Za-z](?:\.[A-Za-z])+|dr|mr|mrs|ms|prof|st|vs|etc|no|fig|approx|cf|"
    r"jr|sr|inc|ltd|co)$",
    re.I,
)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A few lines of a file that belong together."""

    path: str
    line: int
    """Where it begins, from 1."""
    text: str
    heading: str = ""
    """The heading that it stands under."""
    kind: Kind = "prose"

    @property
    def place(self) -> str:
        """Where it is, as it is cited."""
        return f"{self.path}:{self.line}"


def passages(path: str, lines: Sequence[str]) -> list[Passage]:
    """Cut a file into passages: rows of a table, else paragraphs under their headings."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _TABLES:
        try:
            return list(_rows(path, lines))
        except csv.Error:  # a quote that never ends; it is read as lines then
            return list(_paragraphs(path, lines, "lines"))
    return list(_paragraphs(path, lines, "lines" if suffix in _CODE else "prose"))


def sentences(passage: Passage) -> Iterator[Passage]:
    """Cut a passage into what can be quoted alone."""
    if passage.kind == "row":
        yield passage
        return
    start = 0
    for end, after in [*_breaks(passage), (len(passage.text), len(passage.text))]:
        raw = passage.text[start:end]
        text = _MARKER.sub("", " ".join(raw.split()))
        if any(map(str.isalnum, text)):
            before = start + len(raw) - len(raw.lstrip())
            yield Passage(
                path=passage.path,
                line=passage.line + passage.text.count("\n", 0, before),
                text=text,
                heading=passage.heading,
                kind=passage.kind,
            )
        start = after


def heading_at(path: str, lines: Sequence[str], place: int) -> str | None:
    """Return the heading that a line is, or None."""
    suffix = PurePosixPath(path).suffix.lower()
    line = lines[place]
    if len(line) > MAX_HEADING:
        return None
    if suffix in _MARKED and (match := _HEADING.fullmatch(line)):
        return match[1] or None
    below = lines[place + 1] if place + 1 < len(lines) else ""
    title = line.strip()
    alone = not place or not lines[place - 1].strip() or _UNDERLINE.fullmatch(lines[place - 1])
    if suffix in _UNDERLINED and title and alone and _UNDERLINE.fullmatch(below):
        is_rule = _UNDERLINE.fullmatch(line) or len(below.rstrip()) < min(len(title), 4)
        return None if is_rule else title
    return None


def _breaks(passage: Passage) -> Iterator[tuple[int, int]]:
    """Yield where a sentence ends and where the next one begins."""
    if passage.kind == "lines":
        yield from ((match.start(), match.end()) for match in re.finditer("\n", passage.text))
        return
    for match in _BREAK.finditer(passage.text):
        group = match.lastgroup
        before = passage.text[max(0, match.start() - 12) : match.start()]
        if group == "end" and match["end"] == "." and _ABBREVIATION.search(before):
            continue
        yield (match.end(group) if group else match.start()), match.end()


def _paragraphs(path: str, lines: Sequence[str], kind: Kind) -> Iterator[Passage]:
    heading, at, used, fenced = "", 0, True, False
    block: list[str] = []
    for number, line in enumerate(lines, 1):
        if _FENCE.match(line):
            fenced = not fenced
        title = None if fenced or kind == "lines" else heading_at(path, lines, number - 1)
        if block and (title is not None or not line.strip() or _is_full(block)):
            yield from _cut(path, number - len(block), block, heading, kind)
            block, used = [], True
        if title is not None:
            if not used:  # a heading with nothing below it
                yield Passage(path=path, line=at, text=heading, heading=heading)
            heading, at, used = title, number, False
        elif line.strip() and not (at == number - 1 and _UNDERLINE.fullmatch(line)):
            block.append(line)
    if block:
        yield from _cut(path, len(lines) + 1 - len(block), block, heading, kind)
    elif not used:
        yield Passage(path=path, line=at, text=heading, heading=heading)


def _is_full(block: Sequence[str]) -> bool:
    return len(block) >= MAX_LINES or sum(map(len, block)) >= MAX_CHARACTERS


def _cut(path: str, line: int, block: list[str], heading: str, kind: Kind) -> Iterator[Passage]:
    """Make a passage of a block, or several where a single line is too long for one."""
    whole: list[str] = []
    for place, text in enumerate(block):
        if len(text) <= MAX_CHARACTERS:
            whole.append(text)
            continue
        if whole:
            first = line + place - len(whole)
            yield Passage(path=path, line=first, text="\n".join(whole), heading=heading, kind=kind)
            whole = []
        for part in textwrap.wrap(text, MAX_CHARACTERS, break_on_hyphens=False):
            yield Passage(path=path, line=line + place, text=part, heading=heading, kind=kind)
    if whole:
        first = line + len(block) - len(whole)
        yield Passage(path=path, line=first, text="\n".join(whole), heading=heading, kind=kind)


def _rows(path: str, lines: Sequence[str]) -> Iterator[Passage]:
    """Yield the rows of a table, each cell with the name of its column."""
    first = next((line for line in lines if line.strip()), "")
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=max(",;\t|", key=first.count))
    names: list[str] = []
    line, rows = 1, 0
    for row in reader:
        cells = [" ".join(cell.split()) for cell in row]
        if not rows and not names and _are_names(cells):
            names = cells
        elif any(cells):
            rows += 1
            yield Passage(path=path, line=line, text=_cells_by_name(cells, names), kind="row")
        line = reader.line_num + 1
    if names and not rows:
        yield Passage(path=path, line=1, text=", ".join(names), kind="row")


def _cells_by_name(cells: Sequence[str], names: Sequence[str]) -> str:
    named = [f"{name}: {cell}" for name, cell in zip(names, cells, strict=False) if cell]
    return "; ".join([*named, *filter(None, cells[len(names) :])])


def _are_names(cells: Sequence[str]) -> bool:
    """Whether the first row names the columns: it has a text for each."""
    return bool(cells) and not any(re.fullmatch(r"[-+]?[\d.,]*%?", cell) for cell in cells)


STOP_WORDS = frozenset(
    "a about after all also am an and any are as at be because been before being between both but "
    "by can could did do does doing down during each few find for from further give had has have "
    "having he her here hers him his how i if in into is it its itself just let many me more most "
    "much must my no nor not of off on once only or other our ours out over own please same say "
    "says shall she should show so some such tell than that the their theirs them then there these "
    "they this those through to too under until up us very was we were what when where which while "
    "who whom whose why will with would you your yours".split()
)
"""English words that any text has."""

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
"""Japanese and Chinese are written without spaces; pairs of characters stand in for words."""


def fold(text: str) -> str:
    """Fold case, width and accents away."""
    if text.isascii():
        return text.lower()
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def terms(text: str) -> dict[str, str]:
    """Return what to look for by the words of a text: each stem with the word as it is written.

    A stem is always the beginning of the folded word, so it can be looked for as a substring.
    """
    return {_stem(word): word for word in _words(fold(text)) if word not in STOP_WORDS}


def counts(text: str, wanted: frozenset[str]) -> dict[str, int]:
    """Count the wanted terms in a text."""
    folded = fold(text)
    if not any(term in folded for term in wanted):  # most texts have none: this is the fast way
        return {}
    found: dict[str, int] = {}
    for word in _words(folded):
        if (term := _stem(word)) in wanted:
            found[term] = found.get(term, 0) + 1
    return found


def _words(folded: str) -> list[str]:
    found: list[str] = []
    for word in _WORD.findall(folded):
        if _UNSPACED.search(word):
            runs = _UNSPACED.findall(word)
            found += [run[i : i + 2] for run in runs for i in range(max(1, len(run) - 1))]
            found += _WORD.findall(_UNSPACED.sub(" ", word))
        else:
            found.append(word)
    return found


def _stem(word: str) -> str:
    return stem(word) if word.isascii() and word.isalpha() else word
