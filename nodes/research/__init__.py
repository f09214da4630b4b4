"""Tools for research in a folder of text files: list, read, search, and answer from one file."""

from asterism.nodes.research.answers import answer_from_source
from asterism.nodes.research.tools import create_research_tools

__all__ = ["answer_from_source", "create_research_tools"]
