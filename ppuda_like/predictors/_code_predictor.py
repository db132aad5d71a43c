"""The published predictor of codes behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ppuda_like.errors import DataError
from ppuda_like.predictors._code_arrays import Scale, as_rows, as_targets, seed_of
from ppuda_like.predictors._code_mlp import CodeMlp

__all__ = ["CodePredictor"]

_LEARNING_RATE, _WARM_UP, _START = 1e-2, 0.3, 10.0
_WEIGHT_DECAY = 1e-7


class CodePredictor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Predicts metrics of network codes by the perceptron of network code propagation (arXiv:2103.13253).

    A trunk of 256 features and a head of 128 for each group of metrics, trained by Adam in one cycle on the smooth L1
    distance of normalised metrics.  What is kept is the end of the training; nothing is chosen on rows held out.

    Codes and metrics are normalised by the rows fitted to.  (The published program takes those held out in, too.)

    Args:
        groups: number of targets that share a head, in their order; None for one head each.
        dropouts: share of the features of each head dropped in training; None for 0.5.
        epochs: passes through the rows.
        batch_size: rows of a batch.
        random_state: seed of parameters, batches and dropout, or a generator that gives it; None for another one each
            time.

    Attributes:
        network_: the trained network.
        n_features_in_: columns of the rows.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.integers(1, 5, size=(64, 3)).astype(float)
        >>> predictor = CodePredictor(epochs=20, batch_size=32).fit(x, x @ [[1.0, 0], [0, 1], [1, 1]])
        >>> predictor.predict(x[:5]).shape
        (5, 2)
    """

    def __init__(
        self,
        *,
        groups: Sequence[int] | None = None,
        dropouts: Sequence[float] | None = None,
        epochs: int = 200,
        batch_size: int = 128,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.groups = groups
        self.dropouts = dropouts
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> CodePredictor:
        """Train.

        Args:
            X: codes as rows, ``(n, r)``.
            y: targets, ``(n, m)``, or ``(n,)`` for a single one.

        Raises:
            DataError: if shapes are wrong, a value is not finite, or an argument of the constructor is out of range or
                does not fit the number of targets.
        """
        rows = as_rows(X)
        targets = as_targets(y, len(rows))
        groups, dropouts = self._heads(targets.shape[1])
        for name, least in (("epochs", 1), ("batch_size", 2)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise DataError(f"'{name}' must be a whole number, at least {least} (got {value!r})")
        self.n_features_in_ = rows.shape[1]
        self._one_target = np.ndim(y) == 1
        self._row_scale, self._target_scale = Scale.fit(rows), Scale.fit(targets)
        generator = torch.Generator().manual_seed(seed_of(self.random_state))
        network = CodeMlp(rows.shape[1], groups, dropouts, generator)
        x, y_ = (
            torch.from_numpy((values - scale.mean) / scale.std).float()
            for values, scale in ((rows, self._row_scale), (targets, self._target_scale))
        )
        self._train(network, x, y_, generator)
        self.network_ = network.eval().requires_grad_(False)
        return self

    @property
    def input_scale_(self) -> NDArray[np.float64]:
        """Population standard deviation of each column of the rows learnt from, ``(r,)``; 1 where it does not vary."""
        check_is_fitted(self, "network_")
        return self._row_scale.std

    def predict(
        self, X: ArrayLike, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Targets of rows.

        Args:
            X: rows, ``(n, r)``.
            return_std: whether to give standard deviations, too; they are zeros, since it knows none.

        Returns:
            Float64 of the shape of the targets fitted to; with ``return_std`` a pair of such.

        Raises:
            DataError: if rows have another shape, or a value is not finite.
            NotFittedError: before :meth:`fit`.
        """
        check_is_fitted(self, "network_")
        with torch.no_grad():
            found, _ = self.forward(torch.from_numpy(as_rows(X, self.n_features_in_)))
        mean = found[:, 0].numpy() if self._one_target else found.numpy()
        return (mean, np.zeros_like(mean)) if return_std else mean

    def forward(self, x: Tensor, *, with_std: bool = True) -> tuple[Tensor, Tensor]:
        """Targets of rows, differentiable in these.

        Args:
            x: rows, ``(n, r)``; the network computes in float32.
            with_std: of no effect, here for what other regressors have it for.

        Returns:
            The targets, ``(n, m)``, and zeros for their standard deviations.

        Raises:
            NotFittedError: before :meth:`fit`.
        """
        check_is_fitted(self, "network_")
        mean, std, low, range_ = (
            torch.from_numpy(part).to(x) for scale in (self._row_scale, self._target_scale) for part in scale[:2]
        )
        found = self.network_(((x - mean) / std).float()).to(x.dtype) * range_ + low
        return found, torch.zeros_like(found)

    def _heads(self, num_targets: int) -> tuple[list[int], list[float]]:
        groups = [1] * num_targets if self.groups is None else [int(size) for size in self.groups]
        if sum(groups) != num_targets or min(groups) < 1:
            raise DataError(f"'groups' must be positive and sum to the number of targets, {num_targets} (got {groups})")
        dropouts = [0.5] * len(groups) if self.dropouts is None else [float(share) for share in self.dropouts]
        if len(dropouts) != len(groups) or not all(0 <= share <= 0.9 for share in dropouts):
            raise DataError(
                f"'dropouts' must be {len(groups)} numbers from 0 to 0.9, one for each group (got {dropouts})"
            )
        return groups, dropouts

    def _train(self, network: CodeMlp, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
        # Batch norm has no statistics of a single row: a last batch of one is left out.
        sizes = [min(self.batch_size, len(x) - first) for first in range(0, len(x), self.batch_size)]
        starts = [self.batch_size * number for number, size in enumerate(sizes) if size > 1]
        parameters = list(network.parameters())
        optimizer = torch.optim.Adam(parameters, lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, _LEARNING_RATE, self.epochs * len(starts), pct_start=_WARM_UP, div_factor=_START
        )
        for _ in range(self.epochs):
            order = torch.randperm(len(x), generator=generator)
            for first in starts:
                batch = order[first : first + self.batch_size]
                loss = F.smooth_l1_loss(network(x[batch], generator), y[batch])
                for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    parameter.grad = slope
                optimizer.step()
                schedule.step()
