"""Paint a laid-out graph with matplotlib, by its object interface alone: no pyplot, no global state."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ppuda_like.graph._block_colors import block_groups, short
from ppuda_like.graph._distance import levels
from ppuda_like.graph._graph import ComputationalGraph
from ppuda_like.graph._layout import Layout, layout
from ppuda_like.graph._palette import node_groups, text_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ppuda_like.graph._partition import Partition

__all__ = ["Direction", "Labels", "paint"]

Direction = Literal["auto", "lr", "tb"]
Labels = Literal["auto", "full", "op", "none"]

LINE = "#6b7078"
ROUND = frozenset({"sum", "concat", "cse", "add", "mul", "cat"})
OP_LETTERS = 14
NAME_LETTERS = 22
SMALLEST_FONT = 4.0
# Inches:
MARGIN = 0.2
TITLE = 0.25
PITCH = 0.15
UNFOLDED = 12.0
LARGEST_SIDE = 80.0
ENTRY = 1.45  # of a legend of operations
BLOCK_ENTRY = 2.9  # of one of blocks


@dataclass(frozen=True)
class _Detail:
    """How much a node shows; lengths in inches, font sizes in points."""

    name: str
    box: tuple[float, float]
    gap: tuple[float, float]
    font: float
    head: float
    line: float


def paint(
    graph: ComputationalGraph,
    axes: Axes | None,
    direction: Direction,
    labels: Labels,
    legend: bool,
    title: str | None,
    aspect: float,
    partition: Partition | None = None,
) -> Axes:
    """Draw a graph into axes, or into a new figure of the size the picture needs; see ``draw``."""
    groups = node_groups(graph) if partition is None else block_groups(graph, partition)
    entry = ENTRY if partition is None else BLOCK_ENTRY
    title = _title(graph) if title is None else title
    details = _details(graph, labels)
    if axes is None:
        detail = details[0]
        found = _place(graph, detail, direction, aspect)
        width, height = found.high - found.low
        scale = min(1.0, LARGEST_SIDE / max(width, height))
        axes = _new_axes(width * scale, height * scale, len(set(groups)) if legend else 0, entry)
    else:
        window = axes.get_window_extent()
        for detail in details:
            found = _place(graph, detail, direction, window.width / window.height, unfolded=0.0)
            width, height = found.high - found.low
            scale = min(window.width / width, window.height / height) / axes.figure.dpi
            if detail.font * scale >= SMALLEST_FONT:
                break
    _paint(axes, graph, found, detail, scale, [color for _, color in groups])
    if title:
        axes.set_title(title, fontsize=9, loc="left")
    if legend and partition is None:
        _add_legend(
            axes, [(f"{name} ({count:,})", color) for (name, color), count in Counter(groups).most_common()], entry
        )
    elif legend:
        _add_legend(axes, sorted(set(groups), key=groups.index), entry)
    return axes


def _details(graph: ComputationalGraph, labels: Labels) -> list[_Detail]:
    """What nodes could show, the richest first."""
    longest = max(min(len(op), OP_LETTERS) for op in graph.ops)
    shown = [_lines(graph, node) for node in range(graph.num_nodes)]
    rich = max(len(line) for lines in shown for line in lines[1:])
    most = max(sum(map(bool, lines)) for lines in shown)
    full = _Detail(
        "full",
        (0.2 + max(0.068 * longest, 0.052 * rich), 0.11 + PITCH * most),
        (0.3, 0.2),
        font=7.5,
        head=0.09,
        line=1.0,
    )
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
        "x".join(map(str, shape)),
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


def _new_axes(width: float, height: float, legend: int, entry: float) -> Axes:
    """Axes of that size in inches in a figure with margins for a title and a legend of so many entries so wide."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    full = max(width, 6.0) + 2 * MARGIN
    below = MARGIN + 0.2 * math.ceil(legend / _columns(full, entry)) if legend else 0.0
    figure = Figure(figsize=(full, height + 2 * MARGIN + TITLE + below))
    FigureCanvasAgg(figure)
    total = figure.get_figheight()
    return figure.add_axes((MARGIN / full, (MARGIN + below) / total, 1 - 2 * MARGIN / full, height / total))


def _columns(width: float, entry: float) -> int:
    """Entries in one line of the legend."""
    return max(1, int(width / entry))


def _paint(
    axes: Axes, graph: ComputationalGraph, found: Layout, detail: _Detail, scale: float, colors: Sequence[str]
) -> None:
    from matplotlib.collections import PatchCollection, PolyCollection
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path as Outline

    axes.set_axis_off()
    axes.set_aspect("equal", adjustable="box", anchor="W")
    edge = 0.03  # room for the outlines
    axes.set_xlim(found.low[0] - edge, found.high[0] + edge)
    axes.set_ylim(found.low[1] - edge, found.high[1] + edge)

    if len(found.curves):
        codes = np.tile([Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4], len(found.curves))
        edges = Outline(found.curves.reshape(-1, 2), codes)
        axes.add_patch(PathPatch(edges, fill=False, edgecolor=LINE, linewidth=detail.line * scale, zorder=1))
        back, side = found.flow * detail.head, found.flow[:, ::-1] * (0.4 * detail.head, -0.4 * detail.head)
        heads = np.stack((found.tips, found.tips - back + side, found.tips - back - side), axis=1)
        axes.add_collection(PolyCollection(list(heads), facecolor=LINE, linewidth=0, zorder=2))

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
    for row, line in enumerate(shown):
        axes.text(
            x,
            y + PITCH * ((len(shown) - 1) / 2 - row),
            line,
            ha="center",
            va="center",
            color=color,
            fontsize=(detail.font if row == 0 else 0.8 * detail.font) * scale,
            fontweight="bold" if row == 0 and detail.name == "full" else "normal",
            zorder=4,
            clip_on=True,
        )


def _add_legend(axes: Axes, entries: Sequence[tuple[str, str]], entry: float) -> None:
    from matplotlib.patches import Patch

    width = axes.get_window_extent().width / axes.figure.dpi
    handles = [Patch(facecolor=color, edgecolor="#00000055", label=label) for label, color in entries]
    columns = min(len(handles), _columns(width, entry))
    # Matplotlib fills column by column; entries are to be read line by line.
    handles = [handle for column in range(columns) for handle in handles[column::columns]]
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        borderaxespad=0.6,
        ncols=columns,
        frameon=False,
        fontsize=8,
        handlelength=1.2,
    )


def _title(graph: ComputationalGraph) -> str:
    name = f"{graph.name}: " if graph.name else ""
    params = f", {short(graph.num_params)} parameters" if graph.num_params else ""
    macs = f", {short(graph.macs)} multiply-accumulates" if graph.macs else ""
    return f"{name}{graph.num_nodes:,} nodes, {graph.num_edges:,} edges{params}{macs}"
