"""Boxes and arrows out of characters, aligned whatever stands in them."""

from collections.abc import Iterable, Sequence

from asterism.observability.text_width import pad_text, width_of

TextBlock = list[str]
"""Lines of equal width."""

STEM = 3
"""The column, counted from a box's left side, where arrows come in and go out."""
GAP = 2
"""Columns between boxes that stand side by side."""


def draw_box(title: str, lines: Iterable[str], *, least: int = 0) -> TextBlock:
    """Draw a box with a title around lines that are ready to be drawn."""
    inside = list(lines)
    width = max([least - 4, width_of(title) + 1, STEM, *map(width_of, inside)])
    top = f"┌ {title} {'─' * (width - width_of(title))}┐"
    return [top, *(f"│ {pad_text(line, width)} │" for line in inside), f"└{'─' * (width + 2)}┘"]


def box_rows(blocks: Iterable[TextBlock], width: int) -> list[list[TextBlock]]:
    """Put blocks side by side, in as many rows as it takes."""
    rows: list[list[TextBlock]] = []
    used = 0
    for block in blocks:
        own = width_of(block[0]) + GAP
        if not rows or used + own > width + GAP:
            rows.append([])
            used = 0
        rows[-1].append(block)
        used += own
    return rows


def beside(blocks: Sequence[TextBlock]) -> TextBlock:
    """Put blocks side by side, all as high as the highest."""
    height = max(len(block) for block in blocks)
    tall = [_stretch(block, height) for block in blocks]
    return [(" " * GAP).join(parts) for parts in zip(*tall, strict=True)]


def connector_rows(blocks: Sequence[TextBlock]) -> list[int]:
    """Return the columns of the arrows of blocks that stand side by side."""
    places: list[int] = []
    left = 0
    for block in blocks:
        places.append(left + STEM)
        left += width_of(block[0]) + GAP
    return places


def fork(places: Sequence[int]) -> TextBlock:
    """Draw the arrows from one box to several."""
    if len(places) == 1:
        return [_marks(places, "│"), _marks(places, "▼")]
    return [_bar(places, "├", "┬", "┐"), _marks(places, "▼")]


def join(places: Sequence[int]) -> TextBlock:
    """Draw the lines from several boxes to where one arrow goes on."""
    return [] if len(places) == 1 else [_marks(places, "│"), _bar(places, "├", "┴", "┘")]


def _stretch(block: TextBlock, height: int) -> TextBlock:
    wide = width_of(block[0]) - 2
    return [*block[:-1], *[f"│{' ' * wide}│"] * (height - len(block)), block[-1]]


def _marks(places: Sequence[int], mark: str) -> str:
    line = ""
    for place in places:
        line = f"{line:<{place}}{mark}"
    return line


def _bar(places: Sequence[int], first: str, between: str, last: str) -> str:
    line = f"{' ' * places[0]}{first}"
    for place in places[1:]:
        line = line.ljust(place, "─") + between
    return line[:-1] + last
