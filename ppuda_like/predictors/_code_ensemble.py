"""A regressor on codes that knows its uncertainty, smooth in the code, fitted in seconds."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from ppuda_like.errors import DataError
from ppuda_like.predictors._code_arrays import Scale, as_rows, as_targets, seed_of
from ppuda_like.predictors._code_process import Process, fit_process
from ppuda_like.predictors._normal_scores import NormalScores
from ppuda_like.predictors._process_answers import ProcessAnswers

__all__ = ["CodeEnsemble"]

_CHUNK = 256  # rows times members predicted at a time: their covariances stay in the cache


class CodeEnsemble(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Predicts several targets of rows of numbers by an ensemble of Gaussian processes.

    Each member finds a length scale for every column by the marginal likelihood of another random part of the rows
    (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 5.4), then learns from all rows.
    Nothing is to be chosen on rows held out.  The mean over members is the prediction; their disagreement is part of
    the uncertainty.  Rows that are the same count as one with their mean, measured so many times.

    Predictions are differentiable in the rows.

    Args:
        n_estimators: members.
        subset: rows that each member finds its length scales on; the time of a fit grows with the third power.
        inducing: rows that the uncertainty is computed from; with fewer, it is greater.
        max_rows: distinct rows that each member learns from, at most, those measured most often first; bounds time and
            memory.
        iterations: of the search for length scales, at most.
        ranks: whether to learn the targets' ranks, as quantiles of the normal distribution, and give values that have
            them: this finds the best of few rows better where values crowd at the top, and has greater mean errors.
        random_state: seed of the parts, or a generator that gives it; None for another one each time.

    Attributes:
        processes_: the members, in standardised units.
        n_features_in_: columns of the rows.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.uniform(-2, 2, size=(80, 2))
        >>> ensemble = CodeEnsemble().fit(x, np.sin(x[:, 0]))  # the second column is of no use
        >>> mean, std = ensemble.predict([[0.5, 0.0], [0.5, 1.0]], return_std=True)
        >>> bool((abs(mean - np.sin(0.5)) < 0.05).all()), std.shape
        (True, (2,))
    """

    def __init__(
        self,
        *,
        n_estimators: int = 3,
        subset: int = 500,
        inducing: int = 512,
        max_rows: int = 4000,
        iterations: int = 30,
        ranks: bool = False,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.subset = subset
        self.inducing = inducing
        self.max_rows = max_rows
        self.iterations = iterations
        self.ranks = ranks
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> CodeEnsemble:
        """Learn.

        Args:
            X: rows, ``(n, r)``.
            y: targets, ``(n, m)``, or ``(n,)`` for a single one.

        Raises:
            DataError: if shapes are wrong, a value is not finite, no column varies, or an argument of the constructor
                is out of range.
        """
        for name in ("n_estimators", "subset", "inducing", "max_rows", "iterations"):
            value, least = getattr(self, name), 2 if name in ("subset", "max_rows") else 1
            if not isinstance(value, int | np.integer) or value < least:
                raise DataError(f"'{name}' must be a whole number, at least {least} (got {value!r})")
        rows = as_rows(X)
        targets = as_targets(y, len(rows))
        self.n_features_in_ = rows.shape[1]
        self._one_target = np.ndim(y) == 1
        self._scores = NormalScores.fit(targets) if self.ranks else None
        if self._scores is not None:
            targets = self._scores.of(targets)
        self._row_scale, self._target_scale = Scale.fit(rows), Scale.fit(targets)
        if not self._row_scale.varies.any():
            raise DataError(f"all {len(rows)} rows are the same: there is nothing to learn from")
        distinct, place, times = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        standard = (targets - self._target_scale.mean) / self._target_scale.std
        sums = np.zeros((len(distinct), targets.shape[1]))
        np.add.at(sums, place.ravel(), standard)
        x = self._standardized(torch.from_numpy(distinct))
        mean, count = torch.from_numpy(sums / times[:, None]), torch.from_numpy(times.astype(np.float64))
        generator = torch.Generator().manual_seed(seed_of(self.random_state))
        processes = []
        for _ in range(self.n_estimators):
            order = torch.randperm(len(x), generator=generator)
            if len(x) > self.max_rows:
                # A row measured often stands for many: of all rows, those measured least are left out.
                kept = torch.sort(count[order], descending=True, stable=True).indices[: self.max_rows]
                order = order[kept.sort().values]
            processes.append(
                fit_process(
                    x[order],
                    mean[order],
                    count[order],
                    subset=self.subset,
                    inducing=self.inducing,
                    iterations=self.iterations,
                )
            )
        self.processes_: tuple[Process, ...] = tuple(processes)
        return self

    @overload
    def predict(self, X: ArrayLike, return_std: Literal[False] = ...) -> NDArray[np.float64]: ...

    @overload
    def predict(self, X: ArrayLike, return_std: Literal[True]) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

    def predict(
        self, X: ArrayLike, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Targets of rows.

        Args:
            X: rows, ``(n, r)``.
            return_std: whether to give standard deviations of targets to be measured, too.

        Returns:
            Float64 of the shape of the targets fitted to; with ``return_std`` a pair of such.

        Raises:
            DataError: if rows have another shape, or a value is not finite.
            NotFittedError: before :meth:`fit`.
        """
        check_is_fitted(self, "processes_")
        rows = torch.from_numpy(as_rows(X, self.n_features_in_))
        with torch.no_grad():
            found = self.forward(rows, with_std=return_std)
        mean, std = (part[:, 0].numpy() if self._one_target else part.numpy() for part in found)
        return (mean, std) if return_std else mean

    def forward(self, x: Tensor, *, with_std: bool = True) -> tuple[Tensor, Tensor]:
        """Targets of rows, differentiable in these.

        Args:
            x: rows, ``(n, r)``; in float32 it is twice as fast, and off by about 1e-4 of the targets' deviation,
                more where these have next to no noise.
            with_std: whether deviations are wanted; without, they are zeros, and it takes half the time.

        Returns:
            Mean and standard deviation of targets to be measured, ``(n, m)`` each.

        Raises:
            NotFittedError: before :meth:`fit`.
        """
        check_is_fitted(self, "processes_")
        chunk = max(1, _CHUNK // len(self.processes_))
        parts = [self._forward(some, with_std) for some in torch.split(x, chunk)]
        mean, std = (torch.cat(part) for part in zip(*parts, strict=True))
        return mean, std

    def _forward(self, x: Tensor, with_std: bool) -> tuple[Tensor, Tensor]:
        mean, std = self._learnt(x, with_std)
        return (mean, std) if self._scores is None else self._scores.to_values(mean, std)

    def _learnt(self, x: Tensor, with_std: bool) -> tuple[Tensor, Tensor]:
        rows = self._standardized(x)
        answers = self._answers(x.dtype)
        shift, scale = (torch.from_numpy(part).to(x) for part in self._target_scale[:2])
        if not with_std:
            mean = answers.mean(rows).mean(0) * scale + shift
            return mean, torch.zeros_like(mean)
        means, variances = answers.mean_and_variance(rows)
        std = (variances.mean(0) + means.var(0, correction=0)).sqrt() * scale
        return means.mean(0) * scale + shift, std

    def _answers(self, dtype: torch.dtype) -> ProcessAnswers:
        if self.__dict__.get("_answering") is not self.processes_:
            self._answering, self._by_dtype = self.processes_, dict[torch.dtype, ProcessAnswers]()
        if dtype not in self._by_dtype:
            self._by_dtype[dtype] = ProcessAnswers.of(self.processes_, dtype)
        return self._by_dtype[dtype]

    def _standardized(self, rows: Tensor) -> Tensor:
        # A column that did not vary tells nothing, whatever it is elsewhere.
        rate = torch.from_numpy(self._row_scale.varies / self._row_scale.std).to(rows)
        return (rows - torch.from_numpy(self._row_scale.mean).to(rows)) * rate
