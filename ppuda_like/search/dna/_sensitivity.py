"""How much the best network depends on the noise of the ratings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import CodeError
from ppuda_like.search.dna._cost_table import CostTable, counted
from ppuda_like.search.dna._front import Found
from ppuda_like.search.dna._ratings import Ratings
from ppuda_like.search.dna._search import Combine, combined, front_of, search

__all__ = ["Sensitivity", "sensitivity"]


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What becomes of the best network when the ratings are drawn anew within their standard errors.

    Attributes:
        winner: by the ratings themselves.
        draws: how often they were drawn.
        stays: share of draws in which it is the best one.
        stages: for each stage the share of draws in which the best network has the winner's path there.
        regret: mean over draws of the winner's loss minus that of the best network, both by the drawn ratings.
        rivals: the other networks that won, as text, with the share of draws, the most frequent first.
    """

    winner: Found
    draws: int
    stays: float
    stages: tuple[float, ...]
    regret: float
    rivals: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        kept = ", ".join(f"{share:.0%}" for share in self.stages)
        return (
            f"{self.winner} stays the best in {self.stays:.0%} of {self.draws} draws, its stages in {kept}; "
            f"regret {self.regret:.2g}, {len(self.rivals)} rivals"
        )


def sensitivity(
    ratings: Ratings,
    limits: Mapping[str, float],
    *,
    draws: int = 100,
    seed: int = 0,
    table: CostTable | None = None,
    combine: Combine = "sum",
    weights: Sequence[float] | None = None,
) -> Sensitivity:
    """Search again and again with ratings drawn from normal distributions around their means.

    The paths of a cell are drawn independently of each other, though they are rated on the same images: differences
    between them are surer than this says.  Ratings that fall below a thousandth of their mean are raised to it.

    Args:
        ratings: with standard errors.
        limits: of one cost or two.
        draws: how often.
        seed: of the draws.
        table: of costs; None for that of :func:`cost_table`.
        combine: as for :func:`search`.
        weights: as for :func:`search`.

    Raises:
        CodeError: as :func:`search`, or if ``draws`` is not positive.
        DataError: if the standard errors are not known.
    """
    if draws < 1:
        raise CodeError(f"'draws' must be at least 1 (got {draws})")
    space = ratings.space
    names = tuple(limits)
    winner = search(ratings, names, table=table, limits=limits, combine=combine, weights=weights).best(limits)
    table = counted(space) if table is None else table
    rng = np.random.default_rng(seed)
    home = space.numbers(winner.architecture)
    stages = range(len(space.stages))
    errors = [ratings.errors(stage) if space.num_paths[stage] > 1 else np.zeros(1) for stage in stages]
    wins: Counter[tuple[int, ...]] = Counter()
    regrets = []
    for _ in range(draws):
        values = []
        for stage, error in zip(stages, errors, strict=True):
            mean = ratings.values(stage)
            values.append(np.maximum(mean + error * rng.standard_normal(mean.shape), mean / 1000))
        losses = combined(values, combine, weights)
        front = front_of(losses, names, table, limits, 1)
        best = int(np.argmin(front.losses))
        wins[tuple(front.numbers[best].tolist())] += 1
        best_loss = _total(losses, front.numbers[best].tolist(), combine)
        regrets.append(_total(losses, home.tolist(), combine) - best_loss)
    shares = {numbers: count / draws for numbers, count in wins.most_common()}
    return Sensitivity(
        winner=winner,
        draws=draws,
        stays=shares.get(tuple(home.tolist()), 0.0),
        stages=tuple(
            sum(share for numbers, share in shares.items() if numbers[stage] == home[stage]) for stage in stages
        ),
        regret=float(np.mean(regrets)),
        rivals=tuple(
            (space.format(space.architecture(numbers)), share)
            for numbers, share in shares.items()
            if numbers != tuple(home.tolist())
        ),
    )


def _total(losses: Sequence[NDArray[np.float64]], numbers: Sequence[int], combine: Combine) -> float:
    total = float(sum(found[number] for found, number in zip(losses, numbers, strict=True)))
    return math.exp(total) if combine == "product" else total
