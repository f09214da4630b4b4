"""The tools of those who read single sources, and of those who judge among them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from langchain_core.tools import BaseTool, tool

from asterism.core.values import shorten
from asterism.nodes.examples.research.passages import Passage, counts, passages, sentences, terms
from asterism.nodes.examples.research.search import rank_sources, read_all
from asterism.nodes.examples.research.sources import Folder
from asterism.nodes.examples.tool_arguments import explain, quote_argument

MAX_SENTENCES = 5
"""How many sentences an answer has, at most."""
_BEARS = 0.2
"""The least part of a question that a sentence must match to bear on it."""
_AS_GOOD = 0.4
"""The least score of a sentence that is told, as a part of the best one's."""
_HEADING = 0.5
"""What a word in the heading above counts, where one in the sentence counts 1."""
_TELLING = 6
"""How many words of a long question are weighed: it has many that no sentence can hold."""
_WIDTH = 500


def answer_from_source(root: Path, path: str, question: str) -> str:
    """Answer a question with the sentences of one file that bear on it.

    The same file and question give the same answer; nothing is written that is not in the file.

    Returns:
        At most five sentences in the order of the file, each cited as `[path:line]`, or that
        the file holds nothing about it.

    Raises:
        ValueError: The file cannot be read, or the question has no word to look for.
        ConfigurationError: The folder does not exist.
    """
    name, lines = Folder.at(root).read(path)
    wanted = terms(question)
    if not wanted:
        raise ValueError(
            f"the question {quote_argument(question)} has no word to look for. Name what "
            "you want to know."
        )
    quotes = [quote for passage in passages(name, lines) for quote in sentences(passage)]
    best = _bearing(quotes, frozenset(wanted))
    asked = ", ".join(wanted.values())
    if not best:
        return f"{name} holds nothing about this question (looked for: {shorten(asked, 200)})."
    told = [f"- {excerpt(quote.text, wanted, _WIDTH)} [{quote.place}]" for quote in best]
    return "\n".join([f"From {name}:", *told])


def excerpt(text: str, wanted: Mapping[str, str], width: int) -> str:
    """Shorten a text to what stands around the first wanted word."""
    if len(text) <= width:
        return text
    lower = text.casefold()
    places = [lower.find(term) for term in wanted if term in lower]
    start = max(0, min(min(places, default=0) - width // 4, len(text) - width))
    part = text[start : start + width].strip()
    return f"{'… ' if start else ''}{part}{' …' if start + width < len(text) else ''}"


def _bearing(quotes: Sequence[Passage], wanted: frozenset[str]) -> list[Passage]:
    """Return the sentences that bear on the wanted words, in the order of the file."""
    within = [set(counts(quote.text, wanted)) for quote in quotes]
    above = [set(counts(quote.heading, wanted)) for quote in quotes]
    having = {
        term: sum(term in own or term in over for own, over in zip(within, above, strict=True))
        for term in wanted
    }
    weights = {term: math.log(1 + len(quotes) / (n or 0.5)) for term, n in having.items()}
    whole = sum(sorted(weights.values(), reverse=True)[:_TELLING])
    scores = [
        sum(weights[t] for t in own) + _HEADING * sum(weights[t] for t in over - own)
        for own, over in zip(within, above, strict=True)
    ]
    best = max(scores, default=0.0)
    if not whole or best < _BEARS * whole:
        return []
    ranked = sorted(range(len(quotes)), key=lambda place: (-scores[place], place))
    chosen = [place for place in ranked if scores[place] >= _AS_GOOD * best][:MAX_SENTENCES]
    return [quotes[place] for place in sorted(chosen)]


MAX_LINES = 1_000
"""How many lines are read at once."""
_LINE_WIDTH = 2_000
_READ_CHARACTERS = 40_000


def with_error_texts(tools: list[BaseTool]) -> list[BaseTool]:
    """Let tools tell the model of an argument of the wrong type rather than raise."""
    for made in tools:
        made.handle_validation_error = explain
    return tools


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


QUOTE_WIDTH = 500
MAX_QUOTES = 4
"""How much a judge quotes: characters of a passage, and passages."""


def create_reader_tools(root: Path) -> list[BaseTool]:
    """Create the tools of one who reads single sources: quote from one, read lines of it.

    Raises:
        ConfigurationError: The folder does not exist.
    """
    folder = Folder.at(root)

    @tool(parse_docstring=True)
    def quote_source(path: str, question: str) -> str:
        """Quote the sentences of one source that bear on a question, each with its line.

        Args:
            path: The source.
            question: What is asked, in words or sentences.
        """
        try:
            return answer_from_source(root, path, question)
        except ValueError as error:
            return f"Cannot quote source: {error}"

    @tool(parse_docstring=True)
    def read_lines(path: str, start_line: int, lines: int) -> str:
        """Read lines of one source, each with its number.

        Args:
            path: The source.
            start_line: The first line to read, from 1.
            lines: How many lines to read, 1 to 1000.
        """
        try:
            return number_source_lines(*folder.read(path), start_line, lines)
        except ValueError as error:
            return f"Cannot read source: {error}"

    return with_error_texts([quote_source, read_lines])


def create_judge_tools(root: Path, criteria: str) -> list[BaseTool]:
    """Create the tool of a judge: the documents that fit a question best by its criteria.

    Raises:
        ConfigurationError: The folder does not exist.
    """
    folder = Folder.at(root)

    @tool(parse_docstring=True)
    def weigh_documents(question: str) -> str:
        """Find the document that fits a question best by your criteria, and quote from it.

        Args:
            question: What is to be chosen, and for what.
        """
        everything = read_all(folder)
        wanted = terms(criteria)
        best = rank_sources(everything, frozenset(wanted)) or rank_sources(
            everything, frozenset(wanted := terms(question))
        )
        if not best:
            return "Cannot weigh documents: none has any word of the question or the criteria."
        quotes = [
            f"- {excerpt(passage.text, wanted, QUOTE_WIDTH)} [{passage.place}]"
            for passage in best
            if passage.path == best[0].path
        ]
        return "\n".join([f"I choose {best[0].path}.", *quotes[:MAX_QUOTES]])

    return with_error_texts([weigh_documents])
