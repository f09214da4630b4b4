"""Research in a folder of text files: quote from one, read lines, choose the best document."""

from asterism.nodes.examples.research.tools import answer_from_source, create_reader_tools

__all__ = ["answer_from_source", "create_reader_tools"]
