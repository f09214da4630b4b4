"""The tools of those who read single sources, and of those who judge among them."""

from pathlib import Path

from langchain_core.tools import BaseTool, tool

from asterism.nodes.research.answers import answer_from_source, excerpt
from asterism.nodes.research.folder import Folder
from asterism.nodes.research.search import rank_sources, read_all
from asterism.nodes.research.tools import number_source_lines, with_error_texts
from asterism.nodes.research.words import terms

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
        try:
            everything, _ = read_all(folder, folder.sources())
        except ValueError as error:
            return f"Cannot weigh documents: {error}"
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
