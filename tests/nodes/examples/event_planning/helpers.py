"""Help for the tests of tools."""

from collections.abc import Callable
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool


def function_of(tool: BaseTool) -> Callable[..., Any]:
    """The function behind a tool."""
    assert isinstance(tool, StructuredTool) and tool.func
    return tool.func
