"""Rich representations: what a notebook shows of a value, and a terminal in its place."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

Bundle = dict[str, Any]
"""Representations of one value by MIME type, as Jupyter's `_repr_mimebundle_` returns them."""

CELL = 70
"""How many columns of a text a cell should show at most."""
PLAIN, HTML, SVG = "text/plain", "text/html", "image/svg+xml"


def as_block(text: str) -> Bundle:
    """Show a text line by line, as it is."""
    return {
        PLAIN: text.rstrip("\n"),
        HTML: f'<pre style="font-family:monospace;line-height:1.2">{escape(text)}</pre>',
    }


def as_table(head: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Bundle:
    """Show rows below a head.

    Args:
        head: The names of the columns.
        rows: The cells of each row; what is no text is shown as its text.
        title: A line above.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    plain = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *cells)]
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in cells)
    caption = f"<p><b>{escape(title)}</b></p>" if title else ""
    return {
        PLAIN: "\n".join([title, *plain] if title else plain),
        HTML: f"{caption}<table><thead><tr>{_cells('th', head)}</tr></thead>"
        f"<tbody>{body}</tbody></table>",
    }


def nested_table(*bundles: Bundle) -> Bundle:
    """Show several values, one below the other."""
    return {
        PLAIN: "\n\n".join(bundle[PLAIN] for bundle in bundles),
        HTML: "".join(bundle[HTML] for bundle in bundles),
    }


def _cells(tag: str, row: Iterable[str]) -> str:
    return "".join(f'<{tag} style="text-align: left">{escape(cell)}</{tag}>' for cell in row)
