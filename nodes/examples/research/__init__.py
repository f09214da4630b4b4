"""Tools for research in a folder of text files: list, read, search, and answer from one file."""

from asterism.nodes.examples.research.tools import answer_from_source, create_research_tools

__all__ = ["answer_from_source", "create_research_tools"]
