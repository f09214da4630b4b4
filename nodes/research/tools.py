"""The tools of a reader: what there is, what stands in it, and where a word is found."""

from collections.abc import Sequence
from pathlib import Path

from langchain_core.tools import BaseTool, tool

from asterism.core.values import shorten
from asterism.nodes.research.answers import excerpt
from asterism.nodes.research.folder import ALL, MAX_BYTES, MAX_FILES, Folder, Source
from asterism.nodes.research.passages import heading_at
from asterism.nodes.research.search import rank_sources, read_all
from asterism.nodes.research.text import read_text
from asterism.nodes.research.words import terms
from asterism.nodes.values import explain, quote_argument

MAX_LISTED = 200
"""How many sources are listed at once."""
MAX_LINES = 1_000
"""How many lines are read at once."""
MAX_PASSAGES = 8
"""How many passages a search returns."""

_HEAD_BYTES = 8_192
_LINE_WIDTH = 2_000
_READ_CHARACTERS = 40_000
_PASSAGE_WIDTH = 600


def create_research_tools(root: Path) -> list[BaseTool]:
    """Create the tools that list, read and search the text files of a folder.

    They see nothing outside the folder and no hidden file, and change nothing.

    Args:
        root: The folder.

    Raises:
        ConfigurationError: It does not exist.
    """
    folder = Folder.at(root)

    @tool(parse_docstring=True)
    def list_sources(pattern: str = ALL) -> str:
        """List the sources: path, size and first heading or line of each.

        Args:
            pattern: Which files, such as "*.md" at any depth or "notes/**/*". Leave it out for
                all.
        """
        try:
            return _list_files(folder, pattern, folder.sources(pattern))
        except ValueError as error:
            return f"Cannot list sources: {error}"

    @tool(parse_docstring=True)
    def read_source(path: str, start_line: int = 1, lines: int = 200) -> str:
        """Read lines of one source, each with its number.

        Args:
            path: The source, as list_sources shows it.
            start_line: The first line to read, from 1.
            lines: How many lines to read, 1 to 1000.
        """
        try:
            return number_source_lines(*folder.read(path), start_line, lines)
        except ValueError as error:
            return f"Cannot read source: {error}"

    @tool(parse_docstring=True)
    def search_sources(query: str, path: str | None = None) -> str:
        """Find the passages that fit a query best, each with its path and line.

        Args:
            query: Words or a sentence to look for.
            path: A source or a folder of them to search in. Leave it out for all.
        """
        try:
            return _found(folder, query, folder.below(path))
        except ValueError as error:
            return f"Cannot search sources: {error}"

    return with_error_texts([list_sources, read_source, search_sources])


def with_error_texts(tools: list[BaseTool]) -> list[BaseTool]:
    """Let tools tell the model of an argument of the wrong type rather than raise."""
    for made in tools:
        made.handle_validation_error = explain
    return tools


def _list_files(folder: Folder, pattern: str, sources: Sequence[Source]) -> str:
    if not sources:
        if not (others := len(folder.sources())):
            return "There are no sources: the folder holds no file that can be listed."
        none = (
            f"No source matches {quote_argument(pattern)}; there are {others:,}. Use "
            f"'{ALL}' for all."
        )
        return "\n".join([none, *_overfull(folder)])
    lines = [f"{len(sources):,} sources:" if len(sources) > 1 else "1 source:"]
    lines += [
        f"{source.path} ({source.size:,} bytes): {_about(folder, source)}"
        for source in sources[:MAX_LISTED]
    ]
    if (more := len(sources) - MAX_LISTED) > 0:
        lines.append(f"... and {more:,} more; use a narrower pattern, such as 'notes/*.md'.")
    return "\n".join([*lines, *_overfull(folder)])


def _overfull(folder: Folder) -> list[str]:
    if not folder.is_overfull():
        return []
    return [f"The folder holds more: only its first {MAX_FILES:,} files were looked at."]


def _about(folder: Folder, source: Source) -> str:
    """Say in a few words what a source is about: its first heading, else its first line."""
    if source.size > MAX_BYTES:
        return f"too large to read (at most {MAX_BYTES:,} bytes)"
    try:
        lines = read_text(source.path, folder.head(source.path, _HEAD_BYTES))
    except ValueError:
        return "not readable as text"
    headings = (heading_at(source.path, lines, place) for place in range(len(lines)))
    said = (line.strip() for line in lines if any(map(str.isalnum, line)))
    return shorten(next((h for h in headings if h), None) or next(said, "empty"), 100)


def number_source_lines(name: str, lines: Sequence[str], start: int, count: int) -> str:
    """Show lines of a source with their numbers, and how to read on.

    Raises:
        ValueError: There is no such line, or too many are asked for.
    """
    if not lines:
        return f"{name} is empty."
    if not 1 <= start <= len(lines):
        raise ValueError(
            f"start_line {quote_argument(start)} is not a line of {name}. Give one from 1 "
            f"to {len(lines):,}."
        )
    if not 1 <= count <= MAX_LINES:
        raise ValueError(f"lines {quote_argument(count)} is not allowed. Give 1 to {MAX_LINES:,}.")
    shown_lines: list[str] = []
    size = 0
    for number, line in enumerate(lines[start - 1 : start - 1 + count], start):
        shown_lines.append(f"{number}: {shorten(line, _LINE_WIDTH)}")
        size += len(shown_lines[-1])
        if size > _READ_CHARACTERS:
            break
    last = start + len(shown_lines) - 1
    rest = [f"(go on with start_line={last + 1})"] if last < len(lines) else []
    head = f"{name}, lines {start:,} to {last:,} of {len(lines):,}:"
    return "\n".join([head, *shown_lines, *rest])


def _found(folder: Folder, query: str, sources: Sequence[Source]) -> str:
    wanted = terms(query)
    asked = shorten(", ".join(wanted.values()), 200)
    if not wanted:
        raise ValueError(
            f"the query {quote_argument(query)} has no word to look for. Name what you "
            "want to find."
        )
    everything, notes = read_all(folder, sources)
    notes += _overfull(folder)
    best = rank_sources(everything, frozenset(wanted))
    if not best:
        none = f"No passage has any of these words: {asked}. Try others, or list_sources."
        return "\n".join([none, *notes])
    texts = [
        f"[{passage.place}]{f' ({passage.heading})' if passage.heading else ''}\n"
        f"{excerpt(passage.text, wanted, _PASSAGE_WIDTH)}"
        for passage in best[:MAX_PASSAGES]
    ]
    head = f"{len(texts)} of {len(best):,} passages with any of {asked}; the best first:"
    return "\n\n".join([head, *texts, *notes])
