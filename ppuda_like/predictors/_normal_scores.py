"""Values as normal scores: what is learnt where order matters more than distance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata
from torch import Tensor

__all__ = ["NormalScores"]


class NormalScores(NamedTuple):
    """Monotone maps between values and the normal distribution's quantiles of their ranks, one for each column.

    Between the values fitted to, maps are linear; beyond them they go on with the mean slope of that half.

    Attributes:
        values: float64 (m, n), each row ascending.
        scores: likewise, in the same places; equal values have equal scores.
    """

    values: Tensor
    scores: Tensor

    @classmethod
    def fit(cls, values: NDArray[np.float64]) -> NormalScores:
        """The maps of columns, (n, m)."""
        ascending = np.sort(values.T, axis=1)
        scores = ndtri((rankdata(ascending, axis=1) - 0.5) / len(values))
        return cls(torch.from_numpy(ascending), torch.from_numpy(scores))

    def of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scores of values that were fitted to, (n, m)."""
        places = zip(self.values.numpy(), self.scores.numpy(), values.T, strict=True)
        return np.stack([scores[np.searchsorted(known, some)] for known, scores, some in places], axis=1)

    def to_values(self, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
        """Values and their deviations from those of scores, (n, m) each; differentiable, and zero stays zero."""
        middle = self._value(mean)
        return middle, (self._value(mean + std) - self._value(mean - std)) / 2

    def _value(self, score: Tensor) -> Tensor:
        known, scores = self.values.to(score), self.scores.to(score)
        wanted = score.T.contiguous()
        # Equal scores are passed over: an interval's ends differ.
        right = torch.searchsorted(scores, wanted.detach(), right=True).clamp(1, scores.shape[1] - 1)
        left_value, right_value = known.gather(1, right - 1), known.gather(1, right)
        left_score, right_score = scores.gather(1, right - 1), scores.gather(1, right)
        width = right_score - left_score
        slope = torch.where(width > 0, (right_value - left_value) / width.clamp(min=1e-12), 0.0)
        inside = left_value + (wanted - left_score) * slope
        low, high = scores[:, :1], scores[:, -1:]
        centre = known.shape[1] // 2
        middle_value, middle_score = known[:, centre, None], scores[:, centre, None]
        rise = (known[:, -1:] - middle_value) / (high - middle_score).clamp(min=1e-12)
        fall = (middle_value - known[:, :1]) / (middle_score - low).clamp(min=1e-12)
        found = torch.where(wanted > high, known[:, -1:] + (wanted - high) * rise, inside)
        return torch.where(wanted < low, known[:, :1] + (wanted - low) * fall, found).T
