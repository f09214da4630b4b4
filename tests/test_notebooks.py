"""The notebooks run headless and offline, and are stored with the outputs that they have."""

from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

from notebooks.run import run, sources


def code(notebook: Any) -> list[tuple[str, str]]:
    return [(cell["cell_type"], cell["source"]) for cell in notebook.cells]


def texts(notebook: Any) -> list[str]:
    return [
        output.get("text") or output["data"].get("text/plain")
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    ]


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_runs_and_is_stored_with_its_outputs(source: Path) -> None:
    stored = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert code(stored) == code(jupytext.read(source))
    assert texts(run(source)) == texts(stored)


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)
def test_a_notebook_holds_nothing_of_the_machine(source: Path) -> None:
    text = source.with_suffix(".ipynb").read_text()
    assert str(Path.home()) not in text
    assert "0x" not in text
