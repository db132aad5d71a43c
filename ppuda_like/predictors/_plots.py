"""Pictures of predictions: how good, from how many networks, by which features, and what embeddings look like."""

from __future__ import annotations

import os
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from ppuda_like._figures import finished, new_axes
from ppuda_like.errors import DataError
from ppuda_like.predictors._comparison import METRICS, Comparison
from ppuda_like.predictors._importance import FeatureImportance
from ppuda_like.predictors._metrics import kendall_tau

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_embedding", "plot_importance", "plot_learning_curves", "plot_predictions"]

_BLUE, _GREY = "#3b6ea5", "#8a8a8a"
_COLOURS = (
    "#3b6ea5",
    "#d9822b",
    "#3a8f5c",
    "#c0392b",
    "#7d5ba6",
    "#8c6d46",
    "#c777a8",
    "#1f9aa8",
    "#4d4d4d",
    "#a3a818",
)
_MARKS = "osD^vP*"  # not as many as colours, so that further predictors differ in one of them


def plot_predictions(
    y: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike | None = None,
    to: Axes | str | os.PathLike[str] | None = None,
    *,
    level: float = 0.9,
    label: str = "",
    title: str | None = None,
) -> Axes:
    """Draw predicted against measured values, with Kendall's tau, and with intervals and their coverage.

    Args:
        y: measured values, ``(n,)``.
        mean: predicted values, ``(n,)``.
        std: standard deviations of the predictions; None for none.
        to: axes to draw into, or a file to write; None for a new figure, which is ``plot_predictions(...).figure``.
        level: probability of the central intervals, between 0 and 1.
        label: what is predicted, with its unit.
        title: text above; None for tau and the number of networks.

    Raises:
        DataError: if the predictions cannot be scored, or ``level`` is out of range.
    """
    tau = kendall_tau(y, mean)
    y, mean = np.asarray(y, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    if not 0 < level < 1:
        raise DataError(f"'level' must lie between 0 and 1, both excluded (got {level})")
    axis = new_axes(to, (4.6, 4.4))
    heading = f"Kendall tau {tau:.3f}, {len(y)} networks"
    if std is not None:
        half = NormalDist().inv_cdf((1 + level) / 2) * np.asarray(std, dtype=np.float64)
        axis.errorbar(y, mean, half, fmt="none", ecolor=_BLUE, elinewidth=0.8, alpha=0.25, zorder=1)
        inside = float(np.mean(np.abs(y - mean) <= half))
        heading += f"\n{level:.0%} intervals hold {inside:.0%}"
    axis.scatter(y, mean, s=14, color=_BLUE, alpha=0.7, linewidth=0, zorder=2)
    ends = float(min(y.min(), mean.min())), float(max(y.max(), mean.max()))
    axis.plot(ends, ends, color=_GREY, linewidth=1, linestyle="--", zorder=0)
    name = f"{label}, " if label else ""
    axis.set(xlabel=f"{name}measured", ylabel=f"{name}predicted")
    axis.locator_params(axis="x", nbins=6)
    axis.set_title(heading if title is None else title, fontsize="medium")
    return finished(axis, to)


def plot_learning_curves(
    comparison: Comparison,
    to: Axes | str | os.PathLike[str] | None = None,
    *,
    metric: str = "kendall",
    predictors: Sequence[str] | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a figure of a comparison against the size of the training set: means, and bands of one standard deviation.

    Baselines are dashed.

    Args:
        comparison: with two sizes or more.
        to: axes to draw into, or a file to write; None for a new figure.
        metric: one of the figures of a comparison, ``"kendall"`` or ``"mae"`` for instance.
        predictors: which to draw; None for all that have the figure.
        title: text above; None for the property.

    Raises:
        DataError: if there is only one size, or no such figure or predictor.
    """
    sizes = comparison.train_sizes
    if len(sizes) < 2:
        raise DataError(f"a learning curve needs two sizes of the training set or more (got {sizes})")
    axis = new_axes(to, (7.4, 4.4))
    for number, name in enumerate(comparison.predictors if predictors is None else predictors):
        found = np.array([comparison.statistic(metric, name, size) for size in sizes])
        if np.isnan(found[:, 0]).all():
            continue
        colour, mark = _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
        line = "--" if name in comparison.baselines else "-"
        axis.plot(sizes, found[:, 0], line, color=colour, marker=mark, markersize=4, linewidth=1.4, label=name)
        low, high = found[:, 0] - found[:, 1], found[:, 0] + found[:, 1]
        axis.fill_between(sizes, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.set_xscale("log")
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.set_xticks([], minor=True)
    top = comparison.runs[0].scores.top
    axis.set(xlabel="networks to learn from", ylabel=METRICS[metric].format(top=top))
    axis.set_title(comparison.property_name if title is None else title, fontsize="medium")
    axis.grid(alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize="small")
    return finished(axis, to)


def plot_importance(
    importance: FeatureImportance,
    to: Axes | str | os.PathLike[str] | None = None,
    *,
    most: int = 15,
    title: str | None = None,
) -> Axes:
    """Draw the features that a predictor goes by as bars, with one standard deviation over repetitions.

    Args:
        importance: from :func:`feature_importance`.
        to: axes to draw into, or a file to write; None for a new figure.
        most: features to draw at most, the most important ones.
        title: text above; None for none.
    """
    shown = slice(0, most)
    names = importance.names[shown]
    axis = new_axes(to, (6.2, 1.1 + 0.26 * len(names)))
    places = np.arange(len(names))[::-1]
    axis.barh(
        places,
        importance.mean[shown],
        xerr=importance.deviation[shown],
        color=_BLUE,
        error_kw={"ecolor": _GREY, "elinewidth": 1},
    )
    axis.set_yticks(places, names, fontsize="small")
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.axvline(0, color=_GREY, linewidth=0.8)
    axis.set_xlabel("fall of Kendall tau when the feature is shuffled")
    if title is not None:
        axis.set_title(title, fontsize="medium")
    return finished(axis, to)


def plot_embedding(
    features: ArrayLike,
    values: ArrayLike,
    to: Axes | str | os.PathLike[str] | None = None,
    *,
    method: Literal["pca", "tsne"] = "pca",
    label: str = "",
    title: str | None = None,
    random_state: int = 0,
) -> Axes:
    """Draw features of networks in two dimensions, coloured by a property.

    Features are standardised first.

    Args:
        features: ``(n, d)``, embeddings for instance; d at least 2.
        values: property of each network, ``(n,)``.
        to: axes to draw into, or a file to write; None for a new figure.
        method: ``"pca"`` for the two directions of the largest variance; ``"tsne"`` for neighbourhoods (van der Maaten
            and Hinton, 2008), in which neither distances between groups nor directions mean anything.
        label: what the property is.
        title: text above; None for the method.
        random_state: seed of ``"tsne"``.

    Raises:
        DataError: if lengths differ, there are fewer than five networks or two features, a number is not finite, or
            ``method`` is neither of its values.
    """
    rows, values = np.asarray(features, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or values.shape != (len(rows),) or len(rows) < 5 or rows.shape[1] < 2:
        raise DataError(
            "an embedding is drawn of five networks or more with two features or more and one value each (got features "
            f"of shape {rows.shape} and values of shape {values.shape})"
        )
    if not (np.isfinite(rows).all() and np.isfinite(values).all()):
        raise DataError("features and values must be finite to be drawn; leave out networks that were not measured")
    axis = new_axes(to, (5.4, 4.4))
    places, names, heading = _in_two(rows, method, random_state)
    found = axis.scatter(places[:, 0], places[:, 1], c=values, s=16, cmap="viridis", linewidth=0)
    axis.set(xlabel=names[0], ylabel=names[1])
    axis.locator_params(nbins=6)
    if method == "tsne":
        axis.set(xticks=[], yticks=[])  # numbers would say nothing
    axis.set_title(heading if title is None else title, fontsize="medium")
    bar = axis.figure.colorbar(found, ax=axis)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return finished(axis, to)


def _in_two(
    rows: NDArray[np.float64], method: str, random_state: int
) -> tuple[NDArray[np.float64], tuple[str, str], str]:
    """Places in the plane, names of its axes, and a title."""
    scaled = StandardScaler().fit_transform(rows)
    if method == "pca":
        pca = PCA(2, svd_solver="full").fit(scaled)
        first, second = pca.explained_variance_ratio_
        names = f"first component, {first:.0%} of the variance", f"second component, {second:.0%}"
        return pca.transform(scaled), names, f"PCA, {len(rows)} networks"
    if method == "tsne":
        perplexity = min(30.0, (len(rows) - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=random_state)
        return tsne.fit_transform(scaled), ("", ""), f"t-SNE, perplexity {perplexity:.0f}, {len(rows)} networks"
    raise DataError(f"'method' must be 'pca' or 'tsne' (got {method!r})")
