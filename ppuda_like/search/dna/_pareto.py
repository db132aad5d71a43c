"""Which of many candidates can be the best under some limit on their costs."""

from __future__ import annotations

from bisect import bisect_right, insort

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_COSTS", "undominated"]

MAX_COSTS = 2
"""Costs that can be limited at once."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_CHUNK = 4096  # candidates that are compared with the front at once


def undominated(costs: Integers, losses: Floats, keep: int = 1) -> Integers:
    """Candidates that are among the best ``keep`` under some limits, ascending.

    A candidate dominates another if none of its costs and its loss are greater, and, all being equal, it stands before
    it.  What fewer than ``keep`` others dominate is given; with two costs and ``keep`` above 1 some others as well.

    Args:
        costs: shape (n, 1) or (n, 2).
        losses: shape (n,).
        keep: how many of the best are wanted.

    Returns:
        Their places, ascending, shape (k,).

    Example:
        >>> undominated(np.array([[1], [2], [3], [3]]), np.array([0.5, 0.7, 0.4, 0.4]))
        array([0, 2])
    """
    columns = [costs[:, place] for place in range(costs.shape[1])]
    order = np.lexsort((losses, *columns[::-1]))  # stable, so that of equals the first comes first
    if len(columns) == 1:
        chosen = _front_of_one(losses[order]) if keep == 1 else _several_of_one(losses[order], keep)
        return np.sort(order[chosen]).astype(np.int64)
    kept = []
    for _ in range(
        keep
    ):  # the front, that of the others, and so on: the i-th of them has candidates that i - 1 dominate
        chosen = _front_of_two(columns[-1][order], losses[order])
        kept.append(order[chosen])
        order = order[~chosen]
        if not len(order):
            break
    return np.sort(np.concatenate(kept)).astype(np.int64)


def _front_of_one(losses: Floats) -> NDArray[np.bool_]:
    """Which of candidates sorted by (cost, loss) have a lower loss than all before them."""
    best = np.minimum.accumulate(losses)
    return np.concatenate((np.ones(min(1, len(losses)), dtype=bool), losses[1:] < best[:-1]))


def _several_of_one(losses: Floats, keep: int) -> NDArray[np.bool_]:
    """Which of candidates sorted by (cost, loss) have a lower loss than all but ``keep - 1`` of those before them."""
    chosen = np.zeros(len(losses), dtype=bool)
    best = [np.inf] * keep  # the lowest losses so far, ascending
    for first in range(0, len(losses), _CHUNK):
        some = losses[first : first + _CHUNK]
        for place in np.flatnonzero(some < best[-1]).tolist():
            if some[place] < best[-1]:
                chosen[first + place] = True
                insort(best, float(some[place]))
                best.pop()
    return chosen


def _front_of_two(costs: Integers, losses: Floats) -> NDArray[np.bool_]:
    """Which of candidates sorted by (first cost, second cost, loss) none before them dominates; second costs given.

    The undominated ones so far are kept as stairs, the second cost ascending and the loss descending.  Most candidates
    of a chunk lie above the stairs as they were before the chunk, which numpy finds at once; only the others are
    compared one by one.
    """
    chosen = np.zeros(len(costs), dtype=bool)
    stair_costs: list[int] = []
    stair_losses: list[float] = []
    for first in range(0, len(costs), _CHUNK):
        some = slice(first, first + _CHUNK)
        step = np.searchsorted(np.array(stair_costs, dtype=np.int64), costs[some], side="right")
        level = np.concatenate(([np.inf], stair_losses))[step]
        (left,) = np.nonzero(losses[some] < level)
        for place, cost, loss in zip(
            left.tolist(), costs[some][left].tolist(), losses[some][left].tolist(), strict=True
        ):
            here = bisect_right(stair_costs, cost)
            if here and stair_losses[here - 1] <= loss:
                continue
            chosen[first + place] = True
            start = here - 1 if here and stair_costs[here - 1] == cost else here
            end = here
            while end < len(stair_costs) and stair_losses[end] >= loss:
                end += 1
            stair_costs[start:end] = [cost]
            stair_losses[start:end] = [loss]
    return chosen
