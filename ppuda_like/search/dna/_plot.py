"""A picture of the best networks for every budget."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ppuda_like._figures import finished, new_axes
from ppuda_like.search.dna._front import Found, Front

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_front"]

_BLUE, _GREY, _RED = "#3b6ea5", "#8a8a8a", "#c0392b"
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "K"), (1.0, ""))


def plot_front(
    front: Front,
    to: Axes | str | os.PathLike[str] | None = None,
    *,
    others: tuple[ArrayLike, ArrayLike] | None = None,
    marked: Mapping[str, Found] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the predicted losses of the best networks against their first cost, coloured by the second one if any.

    Args:
        front: of one cost, which is drawn as stairs, or of two, which are points.
        to: axes to draw into, or a file to write; None for a new figure, which is ``plot_front(...).figure``.
        others: costs and losses of other networks, random ones for instance, drawn in grey.
        marked: networks to point out, with their names.
        title: text above; None for the space and the number of networks.
    """
    axis = new_axes(to, (6.4, 4.4))
    front = front.pareto()
    cost = front.cost_names[0]
    unit, _ = _unit(front, 0)
    if others is not None:
        xs, ys = (np.asarray(values, dtype=np.float64) for values in others)
        axis.scatter(xs / unit, ys, s=4, color=_GREY, alpha=0.35, linewidth=0, zorder=0, label="other networks")
    places = front.costs[:, 0] / unit
    if len(front.cost_names) == 1:
        axis.step(
            places, front.losses, where="post", color=_BLUE, linewidth=1.4, zorder=1, label="best within the budget"
        )
    else:
        found = axis.scatter(
            places, front.losses, c=front.costs[:, 1] / _unit(front, 1)[0], s=5, cmap="viridis", linewidth=0, zorder=1
        )
        axis.figure.colorbar(found, ax=axis, label=_label(front, 1)).outline.set_visible(False)
    for name, network in ({} if marked is None else marked).items():
        place = network.costs[cost] / unit
        axis.plot(place, network.loss, "o", color=_RED, markersize=5, zorder=2)
        axis.annotate(name, (place, network.loss), xytext=(5, 5), textcoords="offset points", fontsize="small")
    axis.set(xlabel=_label(front, 0), ylabel="predicted loss")
    axis.set_title(f"{front.space.name}: {len(front):,} best networks" if title is None else title, fontsize="medium")
    axis.grid(alpha=0.3)
    if others is not None and len(front.cost_names) == 1:
        axis.legend(frameon=False, fontsize="small")
    return finished(axis, to)


def _unit(front: Front, column: int) -> tuple[float, str]:
    """What a cost is divided by, and the letter for it."""
    largest = front.costs[:, column].max()
    return next((size, letter) for size, letter in _UNITS if largest >= size or size == 1.0)


def _label(front: Front, column: int) -> str:
    name, (_, letter) = front.cost_names[column], _unit(front, column)
    return f"{name}, {letter}" if letter else name
