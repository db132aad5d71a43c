"""Axes to draw into, given, new, or to be written to a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ppuda_like._files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["finished", "new_axes"]

_DPI = 120


def new_axes(to: Axes | str | os.PathLike[str] | None, size: tuple[float, float]) -> Axes:
    """The axes given, or those of a new figure of that size in inches, which belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if to is not None and not isinstance(to, (str, os.PathLike)):
        return to
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def finished(axis: Axes, to: Axes | str | os.PathLike[str] | None) -> Axes:
    """The axes, without the frame's upper and right lines, written to a file if one was named."""
    axis.spines[["top", "right"]].set_visible(False)
    if isinstance(to, (str, os.PathLike)):
        with replacing(Path(to)) as temporary:
            axis.figure.canvas.print_figure(temporary, dpi=_DPI)
    return axis
