"""Pictures of computational graphs."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ppuda_like._files import replacing
from ppuda_like.errors import GraphError
from ppuda_like.graph._dot import render_dot, to_dot
from ppuda_like.graph._graph import ComputationalGraph
from ppuda_like.graph._paint import Direction, Labels, paint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ppuda_like.graph._partition import Partition

__all__ = ["draw"]

Engine = Literal["layout", "graphviz"]

PICTURES = (".png", ".pdf", ".svg")
SOURCES = (".dot", ".gv")


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
    partition: Partition | None = None,
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
        partition: blocks of the graph, to be told apart by colour instead of the operations; the legend lists their
            parameters and multiply-accumulates.

    Returns:
        The axes, or None where matplotlib was not used.

    Raises:
        GraphError: if the suffix or an option is unknown, the folder is not there, Graphviz is asked for but not
            installed, or the partition is of another graph.
    """
    for name, value, known in (
        ("direction", direction, ("auto", "lr", "tb")),
        ("labels", labels, ("auto", "full", "op", "none")),
        ("engine", engine, ("layout", "graphviz")),
    ):
        if value not in known:
            raise GraphError(f"'{name}' must be one of {', '.join(map(repr, known))} (got {value!r})")
    if not isinstance(to, (str, os.PathLike)):
        if engine == "graphviz":
            raise GraphError("engine='graphviz' draws to files only: give the path of one")
        return paint(graph, to, direction, labels, legend, title, aspect, partition)
    path = Path(to)
    suffix = _suffix(path)
    if suffix in SOURCES or engine == "graphviz":
        source = to_dot(graph, vertical=direction != "lr", partition=partition)
        _write(path, source.encode() if suffix in SOURCES else render_dot(source, suffix[1:]))
        return None
    axes = paint(graph, None, direction, labels, legend, title, aspect, partition)
    picture = io.BytesIO()
    axes.figure.canvas.print_figure(picture, format=suffix[1:], dpi=dpi)
    _write(path, picture.getvalue())
    return axes


def _suffix(path: Path) -> str:
    """The suffix of a path that can be written."""
    suffix = path.suffix.lower()
    if suffix not in (*PICTURES, *SOURCES):
        known = ", ".join((*PICTURES, *SOURCES))
        raise GraphError(f"a picture's name must end in one of {known} (got '{path.name}')")
    if not path.parent.is_dir():
        raise GraphError(f"cannot write '{path}': there is no folder '{path.parent}'; make it first")
    return suffix


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
