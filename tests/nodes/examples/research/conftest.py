from pathlib import Path
from typing import Any

import pytest

from asterism.nodes.examples.research import create_reader_tools
from tests.nodes.examples.research.helpers import PAGE, PRICES, WHEAT, Use


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with three sources."""
    folder = tmp_path / "sources"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes" / "wheat.md").write_text(WHEAT)
    (folder / "prices.csv").write_text(PRICES)
    (folder / "page.html").write_text(PAGE)
    return folder


@pytest.fixture
def use(root: Path) -> Use:
    """Uses a tool by its name."""
    tools = {tool.name: tool for tool in create_reader_tools(root)}

    def call(name: str, **arguments: Any) -> str:
        return str(tools[name].invoke({"start_line": 1, "lines": 200, **arguments}))

    return call
