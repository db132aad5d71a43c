"""Pictures of edits and searches."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ppuda_like._figures import finished, new_axes
from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._search_comparison import SearchComparison
from ppuda_like.search.ncp._table import CodeTable
from ppuda_like.search.ncp._trajectory import EditTrajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["pareto_front", "plot_comparison", "plot_edit"]

_BLUE, _ORANGE, _GREY, _DARK = "#3b6ea5", "#d9822b", "#b4b4b4", "#4d4d4d"
_COLOURS = ("#3b6ea5", "#d9822b", "#3a8f5c", "#c0392b", "#7d5ba6", "#8c6d46", "#1f9aa8", "#c777a8")


def pareto_front(cost: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows that no other one beats by lower cost and higher value, cheapest first.

    >>> pareto_front(np.array([1.0, 2.0, 3.0, 4.0]), np.array([5.0, 7.0, 6.0, 8.0])).tolist()
    [0, 1, 3]
    """
    order = np.lexsort((-value, cost))
    highest = np.maximum.accumulate(np.concatenate(([-np.inf], value[order][:-1])))
    return np.asarray(order[value[order] > highest])


def plot_edit(
    trajectory: EditTrajectory,
    table: CodeTable | None = None,
    to: Axes | str | os.PathLike[str] | None = None,
    *,
    metric: str | None = None,
    where: str | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the predicted metric of the codes of an edit against their exact FLOPs, from each start on.

    Args:
        trajectory: of :func:`edit`.
        table: measured codes to draw behind, with their Pareto front; None for none.
        to: axes to draw into, or a file to write; None for a new figure, which is ``plot_edit(...).figure``.
        metric: one of the trajectory's, ``"<table>.<metric>"``; None for the first.
        where: a condition that the code marked as the best meets; see :meth:`EditTrajectory.best`.
        title: text above; None for what the best code is worth.

    Raises:
        CodeError: if there is no such metric.
        DataError: if no code meets the condition.
    """
    name = trajectory.metrics[0] if metric is None else metric
    if name not in trajectory.metrics:
        raise CodeError(f"the trajectory has no metric '{name}'; there are {', '.join(trajectory.metrics)}")
    axis = new_axes(to, (6.4, 4.6))
    short = name.partition(".")[2]
    if table is not None:
        flops, values = table.space.costs(table.codes)[:, 0], table[short]
        axis.scatter(flops, values, s=7, color=_GREY, alpha=0.5, linewidth=0, label=f"measured, {len(table):,} codes")
        front = pareto_front(flops, values)
        axis.step(flops[front], values[front], where="post", color=_DARK, linewidth=1.2, label="their Pareto front")
        low = np.quantile(values, 0.02)  # a few broken networks would take up the picture
        drawn = trajectory.predictions[:, :, trajectory.metrics.index(name)]
        bottom, top = min(low, drawn.min()), max(values.max(), drawn.max())
        axis.set_ylim(bottom - 0.03 * (top - bottom), top + 0.05 * (top - bottom))
        shown = np.concatenate((flops[values >= bottom], trajectory.costs[:, :, 0].ravel()))
        axis.set_xlim(shown.min() / 1.2, shown.max() * 1.2)
    place = trajectory.metrics.index(name)
    alpha = max(0.08, min(0.9, 3 / trajectory.starts))
    for start in range(trajectory.starts):
        way = trajectory.costs[:, start, 0], trajectory.predictions[:, start, place]
        label = "edited, as predicted" if not start else None
        axis.plot(*way, "-o", color=_BLUE, markersize=2.5, linewidth=1, alpha=alpha, label=label)
    begin = trajectory.costs[0, :, 0], trajectory.predictions[0, :, place]
    axis.scatter(*begin, s=26, facecolor="white", edgecolor=_BLUE, zorder=3, label="start")
    best = trajectory.best(where)
    at = best.flops, best.predictions[name]
    axis.scatter(
        *at, s=130, marker="*", color=_ORANGE, edgecolor=_DARK, linewidth=0.6, zorder=4, label="best objective"
    )
    axis.set_xscale("log")
    axis.set(xlabel="FLOPs, exact", ylabel=name)
    heading = f"best: {short} {at[1]:.2f} as predicted, {best.flops / 1e9:.3g} GFLOPs, {best.params / 1e6:.3g} M params"
    axis.set_title(heading if title is None else title, fontsize="medium")
    axis.legend(loc="lower right", frameon=False, fontsize="small")
    return finished(axis, to)


def plot_comparison(
    comparison: SearchComparison,
    to: Axes | str | os.PathLike[str] | None = None,
    *,
    rank: float | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the true place of what searches found against predictor calls: medians over seeds, and quartiles.

    Args:
        comparison: of :func:`compare_searches`.
        to: axes to draw into, or a file to write; None for a new figure.
        rank: place to draw a line at; None for the best 0.5 %.
        title: text above; None for the size of the space.
    """
    axis = new_axes(to, (7.4, 4.4))
    for number, (name, ranks) in enumerate(comparison.ranks.items()):
        known = ~np.isnan(ranks).any(axis=0)
        calls = comparison.budgets[known]
        low, middle, high = np.quantile(ranks[:, known], (0.25, 0.5, 0.75), axis=0)
        colour = _COLOURS[number % len(_COLOURS)]
        axis.plot(calls, middle, "-o", color=colour, markersize=4, linewidth=1.4, label=name)
        axis.fill_between(calls, low, high, color=colour, alpha=0.1, linewidth=0)
    start = float(np.median(comparison.start_ranks))
    best = f"best of {comparison.train_size} measured"
    axis.axhline(start, color=_DARK, linestyle=":", linewidth=1.2, label=best)
    aim = 0.005 * comparison.size if rank is None else rank
    axis.axhline(aim, color=_GREY, linestyle="--", linewidth=1.2, label=f"rank {aim:.0f}")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set(xlabel="predictor calls", ylabel=f"true rank by {comparison.metric}")
    seeds = len(comparison.start_ranks)
    heading = f"{comparison.size:,} codes; median and quartiles of {seeds} seeds"
    axis.set_title(heading if title is None else title, fontsize="medium")
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize="small")
    return finished(axis, to)
