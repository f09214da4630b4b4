"""The notebooks run headless and offline, and are stored with the outputs that they have."""

import re
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import jupytext
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from notebooks.run import run, sources

SECONDS = 20
"""How much CPU time a notebook may take."""
CHANCE = (
    r"\d+\.\d+(?= s\b| of )|(?<=-)[0-9a-f]{8}\b|\d{4}-\d\d-\d\d"
    r"|\d[\d,]*(?= tokens)|(?<=tokens )[+-]\d+|\d,\d{3}|0\.0\d+|─+"
)
"""What is another one each time: seconds, ids, days; tokens and cents, with each new prompt."""
PICTURES = ("image/svg+xml", "text/html")
NOTEBOOKS = pytest.mark.parametrize("source", sources(), ids=lambda path: path.stem)


def code(notebook: Any) -> list[tuple[str, str]]:
    return [(cell["cell_type"], cell["source"]) for cell in notebook.cells]


def outputs(notebook: Any) -> list[dict[str, list[str]]]:
    """What the cells show, in every form: lines and rows, whatever their order."""
    shown = [
        dict(output.get("data") or output)
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    ]
    for data in shown:
        if "image/svg+xml" in data:  # LangGraph's drawing in characters is another each time
            del data["text/plain"]
    return [{form: lines(text) for form, text in data.items()} for data in shown]


def lines(shown: object) -> list[str]:
    same = re.sub(CHANCE, "…", str(shown))
    return sorted(" ".join(line.split()) for line in re.split(r"\n|(?=<tr)", same))


def cpu_time() -> float:
    """Seconds that the kernels have worked, whatever else the machine does."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@NOTEBOOKS
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_runs_and_is_stored_with_its_outputs(source: Path) -> None:
    stored = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert code(stored) == code(jupytext.read(source))
    began = cpu_time()
    assert outputs(run(source)) == outputs(stored)
    assert 0 < cpu_time() - began < SECONDS


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_has_no_network(tmp_path: Path) -> None:
    source = tmp_path / "calls.py"
    source.write_text(
        "# %%\nimport socket\nsocket.create_connection(('192.0.2.1', 80), timeout=1)\n"
    )
    with pytest.raises(CellExecutionError, match=r"the notebook wants the network: 192\.0\.2\.1"):
        run(source)


@NOTEBOOKS
def test_a_notebook_holds_nothing_of_the_machine(source: Path) -> None:
    text = source.with_suffix(".ipynb").read_text()
    assert str(Path.home()) not in text
    assert "0x" not in text


@NOTEBOOKS
def test_a_notebook_shows_pictures_that_need_no_network(source: Path) -> None:
    """Whatever reads the file draws them: GitHub draws no Mermaid in notebooks."""
    stored = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    shown = [o["data"] for cell in stored.cells for o in cell.get("outputs", ()) if "data" in o]
    pictures = [data[form] for data in shown for form in PICTURES if form in data]
    assert pictures
    for picture in pictures:
        assert not re.search(r"""(src|href)=|url\(['"]?http|<script""", picture)
