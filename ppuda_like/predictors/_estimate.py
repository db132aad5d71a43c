"""An estimated property, with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import DataError

__all__ = ["SCALES", "Estimate", "Scale", "interval"]

Scale = Literal["identity", "log", "logit"]
Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _logit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(values) - np.log1p(-values)


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))


def _same(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values


SCALES: dict[Scale, tuple[Function, Function, tuple[float, float]]] = {
    "identity": (_same, _same, (-math.inf, math.inf)),
    "log": (np.log, np.exp, (0.0, math.inf)),
    "logit": (_logit, _sigmoid, (0.0, 1.0)),
}
"""Scale a property is learnt on: the function to it, the one back, and the open interval it holds for."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimated property of one network.

    Attributes:
        value: the estimate, the median of its distribution.
        low: lower end of the central interval.
        high: upper end.
        level: probability that the interval is meant to hold, for networks like those learnt from.
        outside: quantities of the network, among size, cost and depth, that lie outside of what was learnt from; the
            interval promises nothing then.
    """

    value: float
    low: float
    high: float
    level: float
    outside: tuple[str, ...] = ()


def interval(
    mean: NDArray[np.float64], std: NDArray[np.float64], *, scale: Scale, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Median and central interval of a property that is normally distributed on a scale.

    Args:
        mean: on that scale.
        std: on that scale.
        scale: which.
        level: probability of the interval, between 0 and 1.

    Raises:
        DataError: if the level is not between 0 and 1.

    Example:
        >>> median, low, high = interval(np.zeros(1), np.ones(1), scale="logit", level=0.9)
        >>> float(median[0]), round(float(low[0] + high[0]), 6)
        (0.5, 1.0)
    """
    if not 0 < level < 1:
        raise DataError(f"'level' must lie between 0 and 1, both excluded (got {level})")
    half = NormalDist().inv_cdf((1 + level) / 2) * std
    back = SCALES[scale][1]
    return back(mean), back(mean - half), back(mean + half)
