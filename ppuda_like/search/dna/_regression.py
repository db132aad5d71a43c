"""Accuracy as a linear function of the losses of blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ppuda_like.errors import DataError
from ppuda_like.predictors import PredictionScores, score_predictions

__all__ = ["BlockRegression", "regress_accuracy"]

Floats = NDArray[np.float64]

_ALPHAS = np.logspace(-4, 3, 15)


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockRegression:
    """A linear map from the ratings of a network's paths to its accuracy.

    Attributes:
        coefficients: accuracy for each unit of a stage's rating, shape (stages,).
        intercept: accuracy where all ratings are 0.
        left_out: prediction for each network by the regression on all others, shape (n,).
        scores: of ``left_out``.
    """

    coefficients: Floats
    intercept: float
    left_out: Floats
    scores: PredictionScores

    @property
    def weights(self) -> list[float]:
        """Weights by which :func:`search` finds the network of the highest predicted accuracy."""
        return [-float(value) for value in self.coefficients]

    def predict(self, losses: ArrayLike) -> Floats:
        """Accuracies of networks, (n, stages) -> (n,).

        Raises:
            DataError: if the losses have another shape.
        """
        rows = np.asarray(losses, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.coefficients):
            raise DataError(f"losses must have shape (n, {len(self.coefficients)}) (got {rows.shape})")
        found: Floats = rows @ self.coefficients + self.intercept
        return found


def regress_accuracy(losses: ArrayLike, accuracies: ArrayLike) -> BlockRegression:
    """Fit accuracies of trained networks by the ratings of their paths, in the manner of DONNA (arXiv:2012.08859).

    Stages do not matter equally, which a plain sum supposes; a few trained networks tell how much each of them does.
    Ridge regression on standardised ratings, its penalty chosen by the error on networks left out one by one.  The
    published regression has products of ratings too; without these the best network is still found exactly.

    Args:
        losses: ratings of the networks' paths, shape (n, stages).
        accuracies: shape (n,).

    Raises:
        DataError: if shapes do not fit, there are fewer than three networks, a number is not finite, or all accuracies
            are the same.

    Example:
        >>> rows = np.random.default_rng(0).uniform(size=(20, 2))
        >>> found = regress_accuracy(rows, 80 - 3 * rows[:, 0] - 9 * rows[:, 1])
        >>> found.coefficients.round(2), round(found.scores.kendall, 2)
        (array([-3., -9.]), 1.0)
    """
    rows, y = np.asarray(losses, dtype=np.float64), np.asarray(accuracies, dtype=np.float64)
    if rows.ndim != 2 or not rows.shape[1] or y.shape != (len(rows),) or len(rows) < 3:
        raise DataError(
            "a regression needs losses of shape (n, stages) and n accuracies, n at least 3 "
            f"(got {rows.shape} and {y.shape})"
        )
    if not (np.isfinite(rows).all() and np.isfinite(y).all()):
        raise DataError("losses and accuracies must be finite; leave out networks that were not measured")
    model: Pipeline = make_pipeline(StandardScaler(), RidgeCV(_ALPHAS))
    left_out = cross_val_predict(model, rows, y, cv=LeaveOneOut())
    scores = score_predictions(y, left_out)
    scaler, ridge = (step for _, step in model.fit(rows, y).steps)
    coefficients = ridge.coef_ / scaler.scale_
    return BlockRegression(
        coefficients=coefficients,
        intercept=float(ridge.intercept_ - coefficients @ scaler.mean_),
        left_out=left_out,
        scores=scores,
    )
