"""Run the notebooks: make each .ipynb anew from its .py, with outputs.

`python -m notebooks.run` writes them; `run(path)` returns one without writing it.
"""

from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
SECONDS = 120


def run(source: Path) -> nbformat.NotebookNode:
    """Execute a notebook from its percent source, in the folder of the repository."""
    notebook = jupytext.read(source)
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place}"
    resources = {"metadata": {"path": str(FOLDER.parent)}}
    offline = ["--IPKernelApp.exec_lines=import notebooks.offline"]
    NotebookClient(
        notebook,
        timeout=SECONDS,
        resources=resources,
        extra_arguments=offline,
        coalesce_streams=True,
    ).execute()
    for cell in notebook.cells:
        cell.get("metadata", {}).pop("execution", None)
    notebook.metadata.pop("language_info", None)
    return notebook


def sources() -> list[Path]:
    """Return the notebooks' sources, in their order."""
    return sorted(path for path in FOLDER.glob("[0-9]*.py"))


if __name__ == "__main__":
    for source in sources():
        nbformat.write(run(source), source.with_suffix(".ipynb"))
