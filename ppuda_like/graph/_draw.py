"""Pictures of computational graphs."""

from __future__ import annotations

import io
import math
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ppuda_like.errors import GraphError
from ppuda_like.graph._distance import levels
from ppuda_like.graph._dot import render_dot, to_dot
from ppuda_like.graph._graph import ComputationalGraph
from ppuda_like.graph._layout import Layout, layout
from ppuda_like.graph._palette import node_groups, text_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

Direction = Literal["auto", "lr", "tb"]
Labels = Literal["auto", "full", "op", "none"]
Engine = Literal["layout", "graphviz"]

PICTURES = (".png", ".pdf", ".svg")
SOURCES = (".dot", ".gv")
LINE = "#6b7078"
ROUND = frozenset({"sum", "concat", "cse", "add", "mul", "cat"})
OP_LETTERS = 14
NAME_LETTERS = 22
SMALLEST_FONT = 4.0
# Inches:
MARGIN = 0.2
TITLE = 0.25
UNFOLDED = 12.0
LARGEST_SIDE = 80.0


@dataclass(frozen=True)
class _Detail:
    """How much a node shows; lengths in inches, font sizes in points."""

    name: str
    box: tuple[float, float]
    gap: tuple[float, float]
    font: float
    head: float
    line: float


def draw(
    graph: ComputationalGraph,
    to: Axes | str | os.PathLike[str] | None = None,
    *,
    direction: Direction = "auto",
    labels: Labels = "auto",
    legend: bool = True,
    title: str | None = None,
    aspect: float = 1.5,
    dpi: int = 150,
    engine: Engine = "layout",
) -> Axes | None:
    """Draw a graph: nodes in levels along the flow, deep graphs folded into rows, a colour per primitive.

    The longest path runs straight; branches and skip connections run beside it, and all edges of a node that skip
    levels share one line.  Every second row runs backward, as the arrowheads show.  Lowered graphs have a colour per
    primitive, full traces one per family of operations.  Inputs and outputs have a heavy outline.

    Args:
        graph: any graph; 10 to 1,000 nodes make a readable picture.
        to: a file to write, by suffix ``.png``, ``.pdf``, ``.svg`` (pictures), ``.dot`` or ``.gv`` (Graphviz source);
            or the matplotlib axes to draw into; None for a new figure, which is ``draw(graph).figure``.
        direction: ``"lr"`` for levels from left to right, ``"tb"`` from top to bottom, ``"auto"`` for left to right
            unless the graph is wider than deep.
        labels: what nodes show: ``"full"`` for operation, name and shape, ``"op"`` for the operation, ``"none"``;
            ``"auto"`` chooses by the number of nodes and the room there is.
        legend: whether to list the colours, with the number of nodes of each.
        title: text above the picture; the default names the graph and its size.
        aspect: width by height to fold for; axes given have their own.
        dpi: pixels per inch of a PNG.
        engine: ``"layout"`` draws with matplotlib, ``"graphviz"`` with the program ``dot``, to a file only.

    Returns:
        The axes, or None where matplotlib was not used.

    Raises:
        GraphError: if the suffix or an option is unknown, the folder is not there, or Graphviz is asked for but not
            installed.
    """
    for name, value, known in (
        ("direction", direction, ("auto", "lr", "tb")),
        ("labels", labels, ("auto", "full", "op", "none")),
        ("engine", engine, ("layout", "graphviz")),
    ):
        if value not in known:
            raise GraphError(f"'{name}' must be one of {', '.join(map(repr, known))} (got {value!r})")
    path = Path(to) if isinstance(to, (str, os.PathLike)) else None
    if path is not None:
        _check_path(path)
    if engine == "graphviz" or (path is not None and path.suffix.lower() in SOURCES):
        if path is None:
            raise GraphError("engine='graphviz' draws to a file: give its path")
        source = to_dot(graph, vertical=direction != "lr")
        content = source.encode() if path.suffix.lower() in SOURCES else render_dot(source, path.suffix.lower()[1:])
        _write(path, content)
        return None
    axes = _picture(graph, None if path else to, direction, labels, legend, title, aspect)  # type: ignore[arg-type]
    if path is not None:
        figure = axes.get_figure(root=True)
        assert figure is not None
        content_of = io.BytesIO()
        figure.savefig(content_of, format=path.suffix.lower()[1:], dpi=dpi)
        _write(path, content_of.getvalue())
    return axes


def _picture(
    graph: ComputationalGraph,
    axes: Axes | None,
    direction: Direction,
    labels: Labels,
    legend: bool,
    title: str | None,
    aspect: float,
) -> Axes:
    """Draw into axes, or into a new figure of the size the picture needs."""
    groups = node_groups(graph)
    title = _title(graph) if title is None else title
    details = _details(graph, labels)
    if axes is None:
        detail = details[0]
        found = _place(graph, detail, direction, aspect)
        width, height = found.high - found.low
        scale = min(1.0, LARGEST_SIDE / max(width, height))
        axes = _new_axes(width * scale, height * scale, len(set(groups)) if legend else 0)
    else:
        window = axes.get_window_extent()
        for detail in details:
            found = _place(graph, detail, direction, window.width / window.height, unfolded=0.0)
            width, height = found.high - found.low
            scale = min(window.width / width, window.height / height) / axes.get_figure(root=True).dpi
            if detail.font * scale >= SMALLEST_FONT:
                break
    _paint(axes, graph, found, detail, scale, [color for _, color in groups])
    if title:
        axes.set_title(title, fontsize=9, loc="left")
    if legend:
        _add_legend(axes, Counter(groups))
    return axes


def _details(graph: ComputationalGraph, labels: Labels) -> list[_Detail]:
    """What nodes could show, the richest first."""
    longest = max(min(len(op), OP_LETTERS) for op in graph.ops)
    rich = max(len(line) for node in range(graph.num_nodes) for line in _lines(graph, node)[1:])
    full = _Detail("full", (0.2 + max(0.068 * longest, 0.05 * rich), 0.46), (0.3, 0.2), font=7.5, head=0.09, line=1.0)
    op = _Detail("op", (0.14 + 0.066 * longest, 0.21), (0.2, 0.15), font=7.0, head=0.07, line=0.8)
    none = _Detail("none", (0.16, 0.16), (0.12, 0.1), font=0.0, head=0.05, line=0.6)
    if labels != "auto":
        return [{"full": full, "op": op, "none": none}[labels]]
    return [full, op, none][0 if graph.num_nodes <= 40 else 1 if graph.num_nodes <= 320 else 2 :]


def _lines(graph: ComputationalGraph, node: int) -> tuple[str, str, str]:
    """What a node can show: its operation, its name, and the shape of its first parameter or of its window."""
    op, name = graph.ops[node], graph.names[node]
    shape = next(iter(graph.param_shapes[node]), tuple(graph.attributes[node].get("kernel_size", ())))
    return (
        op if len(op) <= OP_LETTERS else op[: OP_LETTERS - 1] + "…",
        name if len(name) <= NAME_LETTERS else "…" + name[1 - NAME_LETTERS :],
        "×".join(map(str, shape)),
    )


def _place(
    graph: ComputationalGraph, detail: _Detail, direction: Direction, aspect: float, unfolded: float = UNFOLDED
) -> Layout:
    level = levels(graph)
    wide = int(level.bincount().max()) > int(level.max()) + 1
    return layout(
        graph.edge_index,
        graph.num_nodes,
        graph.inputs,
        box=detail.box,
        gap=detail.gap,
        vertical=direction == "tb" or (direction == "auto" and wide),
        aspect=aspect,
        head=detail.head,
        unfolded=unfolded,
    )


def _new_axes(width: float, height: float, legend: int) -> Axes:
    """Axes of that size in inches in a figure with margins for a title and a legend of so many entries."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    full = max(width, 6.0) + 2 * MARGIN
    below = MARGIN + 0.2 * math.ceil(legend / _columns(full)) if legend else 0.0
    figure = Figure(figsize=(full, height + 2 * MARGIN + TITLE + below))
    FigureCanvasAgg(figure)
    total = figure.get_figheight()
    return figure.add_axes((MARGIN / full, (MARGIN + below) / total, 1 - 2 * MARGIN / full, height / total))


def _columns(width: float) -> int:
    """Entries in one line of the legend."""
    return max(1, int(width / 1.7))


def _paint(
    axes: Axes, graph: ComputationalGraph, found: Layout, detail: _Detail, scale: float, colors: Sequence[str]
) -> None:
    from matplotlib.collections import PatchCollection, PolyCollection
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path as Outline

    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="datalim" if axes.get_autoscale_on() else "box")
    axes.set_xlim(found.low[0], found.high[0])
    axes.set_ylim(found.low[1], found.high[1])

    if len(found.curves):
        codes = np.tile([Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4], len(found.curves))
        edges = Outline(found.curves.reshape(-1, 2), codes)
        axes.add_patch(PathPatch(edges, fill=False, edgecolor=LINE, linewidth=detail.line * scale, zorder=1))
        back, side = found.flow * detail.head, found.flow[:, ::-1] * (0.4 * detail.head, -0.4 * detail.head)
        heads = np.stack((found.tips, found.tips - back + side, found.tips - back - side), axis=1)
        axes.add_collection(PolyCollection(heads, facecolor=LINE, linewidth=0, zorder=2))

    ends = {*graph.inputs, *graph.outputs}
    width, height = detail.box
    boxes = []
    for node, (x, y) in enumerate(found.centers):
        rounding = 0.5 * height if graph.ops[node] in ROUND else 0.2 * min(height, 0.2)
        style = f"round,pad=0,rounding_size={rounding}"
        boxes.append(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle=style))
    axes.add_collection(
        PatchCollection(
            boxes,
            facecolors=colors,
            edgecolors=["#000000" if node in ends else "#00000055" for node in range(graph.num_nodes)],
            linewidths=[(2.2 if node in ends else 0.5) * scale for node in range(graph.num_nodes)],
            zorder=3,
        )
    )
    if detail.font * scale >= SMALLEST_FONT:
        for node, (x, y) in enumerate(found.centers):
            _write_on(axes, detail, scale, x, y, _lines(graph, node), text_color(colors[node]))


def _write_on(
    axes: Axes, detail: _Detail, scale: float, x: float, y: float, lines: tuple[str, str, str], color: str
) -> None:
    """The lines of text of one node."""
    shown = [line for line in lines if line] if detail.name == "full" else [lines[0]]
    pitch = 0.145
    for row, line in enumerate(shown):
        axes.text(
            x,
            y + pitch * ((len(shown) - 1) / 2 - row),
            line,
            ha="center",
            va="center_baseline",
            color=color,
            fontsize=(detail.font if row == 0 else 0.8 * detail.font) * scale,
            fontweight="bold" if row == 0 and detail.name == "full" else "normal",
            zorder=4,
            clip_on=True,
        )


def _add_legend(axes: Axes, groups: Counter[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    figure = axes.get_figure(root=True)
    assert figure is not None
    width = axes.get_window_extent().width / figure.dpi
    handles = [
        Patch(facecolor=color, edgecolor="#00000055", label=f"{label} ({count:,})")
        for (label, color), count in groups.most_common()
    ]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=0.6,
        ncols=min(len(handles), _columns(width)),
        frameon=False,
        fontsize=8,
        handlelength=1.2,
    )


def _title(graph: ComputationalGraph) -> str:
    name = f"{graph.name}: " if graph.name else ""
    params = f", {_short(graph.num_params)} parameters" if graph.num_params else ""
    macs = f", {_short(graph.macs)} multiply-accumulates" if graph.macs else ""
    return f"{name}{graph.num_nodes:,} nodes, {graph.num_edges:,} edges{params}{macs}"


def _short(number: int) -> str:
    for unit, letter in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{letter}"
    return str(number)


def _check_path(path: Path) -> None:
    if path.suffix.lower() not in (*PICTURES, *SOURCES):
        known = ", ".join((*PICTURES, *SOURCES))
        raise GraphError(f"a picture's suffix must be one of {known} (got '{path.name}')")
    if not path.parent.is_dir():
        raise GraphError(f"cannot write '{path}': there is no folder '{path.parent}'; make it first")


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
