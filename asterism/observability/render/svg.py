"""A graph as SVG: made here, so that notebooks and pages show it without a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import Any

from langchain_core.runnables.graph import Graph

from asterism.core.text_tables import SVG, Bundle

Point = tuple[float, float]

HEIGHT = 36
"""Of a box, in pixels."""
GAP = 48
"""Between layers."""
SPACE = 24
"""Between boxes of one layer."""
MARGIN = 8
FONT = "font-family='system-ui, sans-serif' text-anchor='middle'"
EDGE = "#7a8194"
FILLS = {"supervisor": "#ffe3a3", "human": "#d9f2d9"}
"""The colours of nodes that mean something; they are read on white and on black."""


@dataclass
class Box:
    """A node that is drawn."""

    name: str
    w: float
    h: float = HEIGHT
    xy: Point = (0, 0)
    """Its centre."""

    @classmethod
    def of(cls, name: str) -> "Box":
        """Make the box of a node, as wide as its name."""
        return cls(name, w=28 + 7.4 * max(map(len, _lines(name))))


@dataclass
class SvgLine:
    """An edge that is drawn."""

    both: bool
    """Whether it leads in both directions."""
    dashed: bool
    points: Sequence[Point] = ()

    def setpath(self, points: Sequence[Point]) -> None:
        """Take the points that it passes; the layout calls this."""
        self.points = points


def draw_svg(graph: Graph) -> str:
    """Draw a graph: boxes in layers from top to bottom, one arrow for each pair of nodes."""
    boxes = {name: Box.of(name) for name in graph.nodes}
    lines = _merge_edges(graph)
    _laid_out(boxes, lines)
    left = min(box.xy[0] - box.w / 2 for box in boxes.values()) - MARGIN
    right = max(box.xy[0] + box.w / 2 for box in boxes.values()) + MARGIN
    top = min(box.xy[1] for box in boxes.values()) - HEIGHT / 2 - MARGIN
    bottom = max(box.xy[1] for box in boxes.values()) + HEIGHT / 2 + MARGIN
    size = f"{right - left:.0f}", f"{bottom - top:.0f}"
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{size[0]}' height='{size[1]}' "
            f"viewBox='{left:.0f} {top:.0f} {size[0]} {size[1]}' style='max-width: 100%'>",
            "<defs><marker id='arrow' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' "
            f"markerHeight='7' orient='auto-start-reverse'><path d='M0 0L10 5L0 10z' "
            f"fill='{EDGE}'/></marker></defs>",
            *(_line(line, boxes[a], boxes[b]) for (a, b), line in lines.items()),
            *(part for box in boxes.values() for part in _box(box)),
            "</svg>",
        ]
    )


def svg_bundle(graph: Graph) -> Bundle:
    """Return the picture for a notebook; nothing where the extra `pictures` is not installed."""
    try:
        return {SVG: draw_svg(graph)}
    except ModuleNotFoundError:
        return {}


def _merge_edges(graph: Graph) -> dict[tuple[str, str], SvgLine]:
    """Return one line for each pair of nodes that are joined, in the order of the nodes."""
    place = {name: number for number, name in enumerate(graph.nodes)}
    found: dict[tuple[str, str], SvgLine] = {}
    for edge in sorted(graph.edges, key=lambda edge: (place[edge.source], place[edge.target])):
        back = found.get((edge.target, edge.source))
        if back is not None:
            back.both, back.dashed = True, False
        elif edge.source != edge.target:
            found[edge.source, edge.target] = SvgLine(both=False, dashed=edge.conditional)
    return found


def _laid_out(boxes: dict[str, Box], lines: dict[tuple[str, str], SvgLine]) -> None:
    """Place boxes and lines, each connected part of the graph beside the one before."""
    graphs: Any = import_module("grandalf.graphs")  # untyped, and not needed before this
    layouts: Any = import_module("grandalf.layouts")
    routing: Any = import_module("grandalf.routing")
    vertices = {name: graphs.Vertex(name) for name in boxes}
    edges: list[Any] = []
    for name, vertex in vertices.items():
        vertex.view = boxes[name]
    for (source, target), line in lines.items():
        edges.append(graphs.Edge(vertices[source], vertices[target]))
        edges[-1].view = line
    offset = 0.0
    for part in graphs.Graph(list(vertices.values()), edges).C:
        layout = layouts.SugiyamaLayout(part)
        layout.init_all(roots=[v for v in part.sV if not v.e_in()], optimize=True)
        layout.yspace, layout.xspace = GAP, SPACE
        layout.route_edge = routing.route_with_lines
        layout.draw()
        views: list[Box] = [vertex.view for vertex in part.sV]
        shift = offset - min(box.xy[0] - box.w / 2 for box in views)
        for box in views:
            box.xy = (box.xy[0] + shift, box.xy[1])
        for edge in part.sE:
            edge.view.points = [(x + shift, y) for x, y in edge.view.points]
        offset = max(box.xy[0] + box.w / 2 for box in views) + SPACE


def _line(line: SvgLine, source: Box, target: Box) -> str:
    bends = line.points[1:-1]
    points = [
        _border(source, bends[0] if bends else target.xy),
        *bends,
        _border(target, bends[-1] if bends else source.xy),
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    start = " marker-start='url(#arrow)'" if line.both else ""
    dashes = " stroke-dasharray='5 4'" if line.dashed else ""
    return (
        f"<polyline points='{path}' fill='none' stroke='{EDGE}' stroke-width='1.5'{dashes}"
        f"{start} marker-end='url(#arrow)'/>"
    )


def _border(box: Box, towards: Point) -> Point:
    """Return where a line leaves a box: above or below, nearer to where it goes."""
    (x, y), reach = box.xy, box.w * 0.4
    aside = max(-reach, min(reach, (towards[0] - x) * 0.2))
    return x + aside, y + (HEIGHT / 2 if towards[1] > y else -HEIGHT / 2)


def _box(box: Box) -> Iterator[str]:
    x, y = box.xy
    *above, own = _lines(box.name)
    edge = own in ("START", "END")
    fill = "#e8eaf0" if edge else FILLS.get(own, "#e9e4ff")
    yield (
        f"<rect x='{x - box.w / 2:.1f}' y='{y - box.h / 2:.1f}' width='{box.w:.1f}' "
        f"height='{box.h}' rx='{box.h / 2 if edge else 7}' fill='{fill}' stroke='{EDGE}'/>"
    )
    if above:
        yield _text(x, y - 5, above[0], 10)
    yield _text(x, y + (11 if above else 4.5), own, 13)


def _text(x: float, y: float, said: str, size: int) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-size='{size}' fill='#111'>{escape(said)}</text>"
    )


def _lines(name: str) -> list[str]:
    """Return what stands in the box of a node: its name, below that of what it is a part of."""
    *path, own = name.split(":")
    own = {"__start__": "START", "__end__": "END"}.get(own, own)
    return [" / ".join(path), own] if path else [own]
