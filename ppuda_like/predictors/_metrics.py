"""How good predictions of a property are: their order, their values, their choice of the best, their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ppuda_like.errors import DataError

__all__ = [
    "Calibration",
    "PredictionScores",
    "calibration",
    "kendall_tau",
    "precision_at_top",
    "score_predictions",
    "spearman_rho",
]

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the central intervals whose coverage is reported."""

_GRID = np.arange(1, 20) / 20  # levels that the calibration error averages over

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How the stated uncertainty of predictions compares with their errors.

    Attributes:
        coverage: share of the values inside of the central interval of each level, 0.5, 0.8, 0.9 and 0.95; the level
            itself is ideal.
        error: mean over the levels 0.05, 0.10 .. 0.95 of the distance between coverage and level; 0 is ideal.
        nll: mean negative log likelihood under normal distributions, in nats, in the unit of the property.
    """

    coverage: Mapping[float, float]
    error: float
    nll: float

    def __post_init__(self) -> None:
        # JSON turns numbers that are keys into text.
        object.__setattr__(self, "coverage", {float(level): share for level, share in self.coverage.items()})


@dataclass(frozen=True, kw_only=True)
class PredictionScores:
    """Scores of predictions of one property.

    Attributes:
        kendall: Kendall's tau-b; see :func:`kendall_tau`.
        spearman: rank correlation; see :func:`spearman_rho`.
        r2: share of the variance explained; negative for predictions worse than the mean of the values.
        mae: mean absolute error, in the unit of the property.
        precision: see :func:`precision_at_top`.
        top: number of networks that ``precision`` is about.
        calibration: of the uncertainty; None where the predictor states none.
    """

    kendall: float
    spearman: float
    r2: float
    mae: float
    precision: float
    top: int
    calibration: Calibration | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PredictionScores:
        """The inverse of ``dataclasses.asdict``, also when it went through JSON."""
        found = values["calibration"]
        return cls(**{**values, "calibration": None if found is None else Calibration(**found)})


def score_predictions(
    y: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike | None = None,
    *,
    top: int | float = 0.1,
    higher_is_better: bool = True,
) -> PredictionScores:
    """Score predictions of one property.

    Args:
        y: measured values, ``(n,)``.
        mean: predicted values, ``(n,)``.
        std: standard deviations that the predictor states, ``(n,)``; None if it states none.
        top: how many of the best networks the precision is about: a number, or a share of all between 0 and 1.
        higher_is_better: whether the best networks are those of the highest values.

    Raises:
        DataError: if lengths differ, there are fewer than two networks, a number is not finite, all measured values are
            the same, a standard deviation is not positive, or ``top`` is out of range.

    Example:
        >>> scores = score_predictions([0.1, 0.2, 0.3, 0.4], [1, 3, 2, 4], top=2)
        >>> round(scores.kendall, 3), scores.precision
        (0.667, 0.5)
    """
    y, mean = _pair(y, mean)
    return PredictionScores(
        kendall=kendall_tau(y, mean),
        spearman=spearman_rho(y, mean),
        r2=float(1 - np.sum((y - mean) ** 2) / np.sum((y - y.mean()) ** 2)),
        mae=float(np.abs(y - mean).mean()),
        precision=precision_at_top(y, mean, top, higher_is_better=higher_is_better),
        top=_number(top, len(y)),
        calibration=None if std is None else calibration(y, mean, std),
    )


def kendall_tau(y: ArrayLike, mean: ArrayLike) -> float:
    """Kendall's tau-b (Kendall, 1945): agreement of two orders, -1 to 1, pairs tied in one of them counting as neither.

    Predictions that are all the same order nothing: their tau, which the formula leaves undefined, is 0 here, so that
    means over repetitions stay meaningful.

    Raises:
        DataError: as :func:`score_predictions`.

    Example:
        >>> kendall_tau([1, 2, 3], [10, 20, 30]), kendall_tau([1, 2, 3], [5, 5, 5])
        (1.0, 0.0)
    """
    y, mean = _pair(y, mean)
    return 0.0 if _constant(mean) else float(stats.kendalltau(y, mean).statistic)


def spearman_rho(y: ArrayLike, mean: ArrayLike) -> float:
    """Spearman's rank correlation, -1 to 1; 0 for predictions that are all the same, as in :func:`kendall_tau`.

    Raises:
        DataError: as :func:`score_predictions`.
    """
    y, mean = _pair(y, mean)
    return 0.0 if _constant(mean) else float(stats.spearmanr(y, mean).statistic)


def precision_at_top(y: ArrayLike, mean: ArrayLike, top: int | float = 0.1, *, higher_is_better: bool = True) -> float:
    """Share of truly best networks among those predicted to be the best.

    Truly best is each network that is as good as the last of the best.  Of those whose predictions tie for the last
    places, each holds an equal share of them: the result is the expectation over all ways of breaking the ties, and the
    order in which networks are listed does not matter.  Predictions that are all the same reach what guessing does.

    Args:
        y: measured values, ``(n,)``.
        mean: predicted values, ``(n,)``.
        top: how many are the best: a number, or a share of all between 0 and 1, rounded up.
        higher_is_better: whether these have the highest values.

    Raises:
        DataError: as :func:`score_predictions`.

    Example:
        >>> precision_at_top([0.9, 0.8, 0.1, 0.2], [3, 1, 2, 0], top=2)
        0.5
        >>> precision_at_top([0.9, 0.8, 0.1, 0.2], [7, 7, 7, 7], top=2)
        0.5
    """
    y, mean = _pair(y, mean)
    count = _number(top, len(y))
    sign = 1.0 if higher_is_better else -1.0
    true, said = sign * y, sign * mean
    limit = _last(said, count)
    above, tied = said > limit, said == limit
    places = above + tied * (count - above.sum()) / tied.sum()
    return float(places @ (true >= _last(true, count)) / count)


def calibration(y: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Calibration:
    """Compare the uncertainty that a predictor states, taken as that of normal distributions, with its errors.

    Raises:
        DataError: as :func:`score_predictions`.

    Example:
        >>> found = calibration([0, 1, 2, 3], [0.5, 0.5, 2.5, 2.5], [1, 1, 1, 1])
        >>> found.coverage[0.5]  # all errors are 0.5, the central half reaches to 0.67
        1.0
    """
    y, mean = _pair(y, mean)
    std = np.asarray(std, dtype=np.float64)
    if std.shape != y.shape:
        raise DataError(f"there must be one standard deviation per network, shape {y.shape} (got {std.shape})")
    wrong = np.flatnonzero(~(np.isfinite(std) & (std > 0)))
    if len(wrong):
        raise DataError(
            f"standard deviations must be positive and finite (got {std[wrong[0]]} for network {wrong[0]}, "
            f"and {len(wrong) - 1} more such); give the predictor a floor"
        )
    # The smallest level whose central interval holds the value.
    needed = 2 * stats.norm.cdf(np.abs(y - mean) / std) - 1
    error = np.mean([abs(np.mean(needed <= level) - level) for level in _GRID])
    nll = 0.5 * np.mean(((y - mean) / std) ** 2 + 2 * np.log(std) + math.log(2 * math.pi))
    return Calibration(
        coverage={level: float(np.mean(needed <= level)) for level in LEVELS}, error=float(error), nll=float(nll)
    )


def _pair(y: ArrayLike, mean: ArrayLike) -> tuple[Array, Array]:
    """Measured and predicted values, checked."""
    y, mean = np.asarray(y, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    if y.ndim != 1 or mean.shape != y.shape:
        raise DataError(
            f"measured and predicted values must be one number per network each (got shapes {y.shape} and {mean.shape})"
        )
    if len(y) < 2:
        raise DataError(f"predictions are scored on two networks or more (got {len(y)})")
    for what, values in (("measured", y), ("predicted", mean)):
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise DataError(
                f"{what} values must be finite (got {values[wrong[0]]} for network {wrong[0]}, "
                f"and {len(wrong) - 1} more such)"
            )
    if _constant(y):
        raise DataError(f"all {len(y)} measured values are {y[0]}: there is no order to predict")
    return y, mean


def _constant(values: Array) -> bool:
    return bool((values == values[0]).all())


def _number(top: int | float, count: int) -> int:
    """How many of so many networks are the best."""
    if isinstance(top, float) and 0 < top < 1:
        return math.ceil(round(top * count, 9))  # 0.1 * 30 is a little more than 3
    if top != int(top) or not 1 <= top <= count:
        raise DataError(
            f"'top' must be a number from 1 to {count}, that of the networks, or a share below 1 (got {top})"
        )
    return int(top)


def _last(values: Array, count: int) -> float:
    """The lowest of so many of the highest values."""
    return float(np.partition(values, len(values) - count)[len(values) - count])
