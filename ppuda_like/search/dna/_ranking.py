"""How well ratings order networks by accuracy, beside what their size alone says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import DataError
from ppuda_like.predictors import kendall_tau, spearman_rho

__all__ = ["RankingReport", "RankingRow", "rank_report"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RankingRow:
    """How one number orders the networks.

    Attributes:
        name: of the number.
        baseline: whether it is a size.
        kendall: Kendall's tau-b with the accuracies.
        spearman: rank correlation.
        pearson: correlation.
        similar: Kendall's tau over the pairs of networks of similar size alone; None if there is no such pair.
    """

    name: str
    baseline: bool
    kendall: float
    spearman: float
    pearson: float
    similar: float | None


@dataclass(frozen=True, kw_only=True)
class RankingReport:
    """What :func:`rank_report` found.

    Attributes:
        rows: sizes last.
        networks: how many were ordered.
        size: that tells which networks are similar.
        band: by how much, at most, the larger of two similar ones exceeds the smaller, in its sizes.
        pairs: how many pairs of similar size there are.
    """

    rows: tuple[RankingRow, ...]
    networks: int
    size: str
    band: float
    pairs: int

    def __getitem__(self, name: str) -> RankingRow:
        for row in self.rows:
            if row.name == name:
                return row
        raise DataError(f"the report has no row {name!r}, only {[row.name for row in self.rows]}")

    def beats_size(self, name: str) -> bool:
        """Whether a number orders the networks better, by Kendall's tau, than every size does.

        Raises:
            DataError: if there is no row of the name.
        """
        return self[name].kendall > max(row.kendall for row in self.rows if row.baseline)

    def table(self) -> str:
        """The report as a table in Markdown."""
        within = f"tau, {self.size} within {self.band:.0%} ({self.pairs} pairs)"
        lines = [
            f"| {self.networks} networks | Kendall tau | Spearman rho | Pearson r | {within} |",
            "|---|---|---|---|---|",
        ]
        for row in self.rows:
            name = f"{row.name} (size alone)" if row.baseline else row.name
            similar = "-" if row.similar is None else f"{row.similar:.3f}"
            lines.append(f"| {name} | {row.kendall:.3f} | {row.spearman:.3f} | {row.pearson:.3f} | {similar} |")
        return "\n".join(lines)


def rank_report(
    accuracies: ArrayLike,
    sizes: Mapping[str, ArrayLike],
    *,
    losses: Mapping[str, ArrayLike] | None = None,
    scores: Mapping[str, ArrayLike] | None = None,
    band: float = 0.05,
) -> RankingReport:
    """Compare orders of networks with their accuracies, always beside the orders by size.

    Larger networks tend to be better, so a rating that grows with size correlates with accuracy even if it knows
    nothing else.  It is worth something if it orders better than size does, or orders networks of the same size.

    Args:
        accuracies: of trained networks, shape (n,).
        sizes: MACs, parameters and the like, each of shape (n,); larger ones are expected to be better.  The first
            tells which networks are of similar size.
        losses: numbers that are lower for better networks, such as ratings.
        scores: numbers that are higher for better networks, such as predicted accuracies.
        band: sizes are similar if the larger one exceeds the smaller by this share of it at most.

    Raises:
        DataError: if there is no size, a name is given twice, lengths differ, there are fewer than two networks, a
            number is not finite, a size is not positive, or all accuracies are the same.

    Example:
        >>> report = rank_report([70, 72, 75], {"macs": [1.0, 3.0, 2.0]}, losses={"rating": [0.5, 0.4, 0.3]})
        >>> round(report["rating"].kendall, 3), round(report["macs"].kendall, 3), report.beats_size("rating")
        (1.0, 0.333, True)
    """
    if not sizes:
        raise DataError("'sizes' must hold at least one size: orders are always compared with that of the sizes")
    if not 0 <= band < np.inf:
        raise DataError(f"'band' must be finite and not negative (got {band})")
    y = np.asarray(accuracies, dtype=np.float64)
    losses, scores = losses or {}, scores or {}
    names = [*losses, *scores, *sizes]
    if len(set(names)) < len(names):
        raise DataError(f"names must be different, among losses, scores and sizes together (got {names})")
    signed = {name: -np.asarray(values, dtype=np.float64) for name, values in losses.items()}
    signed |= {name: np.asarray(values, dtype=np.float64) for name, values in (*scores.items(), *sizes.items())}
    first = next(iter(sizes))
    kendall = {name: kendall_tau(y, values) for name, values in signed.items()}  # checks all of them
    if (signed[first] <= 0).any():
        raise DataError(f"size '{first}' must be positive (got {signed[first].min()})")
    before, after = np.triu_indices(len(y), k=1)
    small, large = np.sort((signed[first][before], signed[first][after]), axis=0)
    near = large <= small * (1 + band)
    pairs = before[near], after[near]
    return RankingReport(
        rows=tuple(
            RankingRow(
                name=name,
                baseline=name in sizes,
                kendall=kendall[name],
                spearman=spearman_rho(y, values),
                pearson=_pearson(y, values),
                similar=_tau_of_pairs(y, values, *pairs),
            )
            for name, values in signed.items()
        ),
        networks=len(y),
        size=first,
        band=band,
        pairs=int(near.sum()),
    )


def _pearson(y: Floats, values: Floats) -> float:
    """Correlation; 0 for values that are all the same, as for ranks."""
    if (values == values[0]).all():
        return 0.0
    return float(np.corrcoef(y, values)[0, 1])


def _tau_of_pairs(y: Floats, values: Floats, before: NDArray[np.int64], after: NDArray[np.int64]) -> float | None:
    """Kendall's tau-b over some pairs; None if the accuracies differ in none of them."""
    true = np.sign(y[before] - y[after])
    said = np.sign(values[before] - values[after])
    if not true.any():
        return None
    if not said.any():
        return 0.0
    return float((true * said).sum() / np.sqrt(np.abs(true).sum() * np.abs(said).sum()))
