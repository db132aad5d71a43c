"""An objective with the predictors that its terms come from."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ppuda_like.errors import CodeError
from ppuda_like.search.ncp._objective import Objective
from ppuda_like.search.ncp._space import COST_NAMES, CodeSpace

__all__ = ["BoundObjective", "EditablePredictor", "Predictors", "Scores", "as_list", "common_space"]

_CHUNK = 4096  # codes predicted at once, which bounds the memory of kernel matrices


class EditablePredictor(Protocol):
    """A predictor of the metrics of a table of codes."""

    @property
    def table(self) -> str:
        """Name of the table that it was fitted to."""
        ...

    @property
    def space(self) -> CodeSpace:
        """Where its codes are from."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """What it predicts, the main one first."""
        ...

    @property
    def scale(self) -> NDArray[np.float64]:
        """Standard deviation of each metric over the codes that it was fitted to, shape (m,)."""
        ...

    def predict(
        self, codes: ArrayLike, return_std: bool = False
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Metrics of codes, ``(n, d) -> (n, m)``, and their standard deviations if asked for."""
        ...

    def forward(self, relaxed: Tensor, *, with_std: bool = True) -> tuple[Tensor, Tensor]:
        """Means and standard deviations for relaxed codes, ``(n, r) -> (n, m)`` each, differentiable.

        Deviations may be zeros where they are not wanted.
        """
        ...


Predictors = EditablePredictor | Sequence[EditablePredictor]


class Scores(NamedTuple):
    """What predictors say of codes.

    Attributes:
        objective: shape ``(n,)``.
        means: of all metrics of all predictors, shape ``(n, m)``.
        stds: likewise; zeros where a predictor states no uncertainty.
        costs: FLOPs and parameters, exact, shape ``(n, 2)``.
    """

    objective: NDArray[np.float64]
    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    costs: NDArray[np.float64]


def as_list(predictors: Predictors) -> list[EditablePredictor]:
    """One or several predictors as a list."""
    if isinstance(predictors, Sequence):
        return list(predictors)
    return [predictors]


def common_space(predictors: Sequence[EditablePredictor]) -> CodeSpace:
    """The space that all predictors are of.

    Raises:
        CodeError: if there is none, or predictors are of different spaces.
    """
    if not predictors:
        raise CodeError("there is no predictor; give one or several")
    first = predictors[0]
    for other in predictors[1:]:
        if other.space.name != first.space.name:
            raise CodeError(
                f"predictors must share one space of codes, but that of '{first.table}' is of '{first.space.name}' and "
                f"that of '{other.table}' of '{other.space.name}'"
            )
    return first.space


class BoundObjective:
    """The value of an objective for codes, and its gradient for relaxed ones.

    Args:
        objective: what to add up.
        predictors: where the terms come from.
        precision: of the derivatives, and of scores from :meth:`score_as_relaxed`.

    Raises:
        CodeError: if a term is the metric of no predictor or of several, two predictors are of one table, their spaces
            differ, or ``uncertainty`` is asked of a predictor that states none.
    """

    def __init__(
        self,
        objective: Objective | Mapping[str, float],
        predictors: Predictors,
        precision: torch.dtype = torch.float64,
    ) -> None:
        self.precision = precision
        self.objective = Objective.of(objective)
        self.predictors = as_list(predictors)
        self.space = common_space(self.predictors)
        self.metrics = tuple(f"{one.table}.{metric}" for one in self.predictors for metric in one.metrics)
        """Names of all that the predictors predict."""
        twice = {name for name in self.metrics if self.metrics.count(name) > 1}
        if twice:
            raise CodeError(
                f"two predictors predict '{min(twice)}'; edit by one of each table, and judge by the others"
            )
        self._weights = np.zeros(len(self.metrics))
        self._cost_weights = np.zeros(len(COST_NAMES))
        units = np.concatenate([np.asarray(one.scale, dtype=np.float64) for one in self.predictors])
        for name, weight in self.objective.terms.items():
            if name in COST_NAMES:
                self._cost_weights[COST_NAMES.index(name)] = weight / self.objective.cost_unit
                continue
            place = self._place(name)
            if self._weights[place]:
                raise CodeError(f"two terms of the objective are about '{self.metrics[place]}'; leave one out")
            if not units[place] > 0:
                raise CodeError(
                    f"'{self.metrics[place]}' was the same for all codes that its predictor was fitted to, so that "
                    "there is nothing to gain in it; leave it out"
                )
            self._weights[place] = weight / units[place]
        ends = np.cumsum([len(one.metrics) for one in self.predictors])
        self._slices = [slice(end - len(one.metrics), end) for one, end in zip(self.predictors, ends, strict=True)]
        if self.objective.uncertainty:
            self._check_uncertain()

    def _place(self, name: str) -> int:
        """Number of a metric, given with the name of its table or without."""
        if name in self.metrics:
            return self.metrics.index(name)
        bare = [place for place, full in enumerate(self.metrics) if full.partition(".")[2] == name]
        if len(bare) == 1:
            return bare[0]
        if bare:
            choices = " or ".join(f"'{self.metrics[place]}'" for place in bare)
            raise CodeError(f"the objective's '{name}' is a metric of several tables; write {choices}")
        known = [*self.metrics, *COST_NAMES]
        near = difflib.get_close_matches(name, [*known, *(full.partition(".")[2] for full in self.metrics)], n=3)
        hint = f"did you mean {', '.join(map(repr, dict.fromkeys(near)))}?" if near else f"there are {', '.join(known)}"
        raise CodeError(f"the objective's '{name}' is no metric of these predictors, nor a cost; {hint}")

    def _check_uncertain(self) -> None:
        code = self.space.round((self.space.low + self.space.high) / 2)
        stds = self.score(code).stds[0]
        for name, weight, std in zip(self.metrics, self._weights, stds, strict=True):
            if weight and not std > 0:
                raise CodeError(
                    f"the objective counts uncertainty, but the predictor of '{name}' states none; take an ensemble or "
                    "a Gaussian process, or uncertainty 0"
                )

    def score(self, codes: NDArray[np.int64], *, with_stds: bool = True) -> Scores:
        """What the predictors say of legal codes ``(n, d)``; standard deviations are zeros where not wanted."""
        wanted = with_stds or self.objective.uncertainty > 0
        means, stds = np.empty((2, len(codes), len(self.metrics)))
        for begin in range(0, len(codes), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            for one, columns in zip(self.predictors, self._slices, strict=True):
                means[part, columns], stds[part, columns] = _predicted(one, codes[part], wanted)
        return self._scores(codes, means, stds)

    def score_as_relaxed(self, codes: NDArray[np.int64], *, with_stds: bool = True) -> Scores:
        """As :meth:`score`, by the way of relaxed codes, in the precision of derivatives.

        Raises:
            CodeError: if a predictor takes no relaxed codes.
        """
        wanted = with_stds or self.objective.uncertainty > 0
        means, stds = np.empty((2, len(codes), len(self.metrics)))
        with torch.no_grad():
            for begin in range(0, len(codes), _CHUNK):
                part = slice(begin, begin + _CHUNK)
                x = torch.from_numpy(self.space.relax(codes[part])).to(self.precision)
                for one, columns in zip(self.predictors, self._slices, strict=True):
                    mean, std = one.forward(x, with_std=wanted)
                    means[part, columns], stds[part, columns] = mean.double().numpy(), std.double().numpy()
        return self._scores(codes, means, stds)

    def _scores(self, codes: NDArray[np.int64], means: NDArray[np.float64], stds: NDArray[np.float64]) -> Scores:
        costs = self.space.costs(codes)
        value = means @ self._weights + np.log(costs) @ self._cost_weights
        if self.objective.uncertainty:
            value -= self.objective.uncertainty * (stds @ np.abs(self._weights))
        return Scores(value, means, stds, costs)

    def gradient(self, relaxed: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Derivative of the objective of each relaxed code, shape ``(n, r)``, and the predicted metrics, ``(n, m)``.

        Raises:
            CodeError: if a predictor cannot be differentiated.
        """
        gradients, means = [], []
        for begin in range(0, len(relaxed), _CHUNK):
            x = torch.from_numpy(relaxed[begin : begin + _CHUNK]).to(self.precision).requires_grad_()
            value, mean = self._value(x)
            (found,) = torch.autograd.grad(value.sum(), x)
            gradients.append(found.double().numpy())
            means.append(mean.detach().double().numpy())
        return np.concatenate(gradients), np.concatenate(means)

    def _value(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = x.new_zeros(len(x))
        means: list[Tensor] = []
        uncertain = self.objective.uncertainty > 0
        for one, columns in zip(self.predictors, self._slices, strict=True):
            mean, std = one.forward(x, with_std=uncertain)
            means.append(mean.to(x))
            weights = torch.from_numpy(self._weights[columns]).to(x)
            value = value + means[-1] @ weights
            if uncertain:
                value = value - self.objective.uncertainty * (std.to(x) @ weights.abs())
        if self._cost_weights.any():
            value = value + self.space.relaxed_costs(x).log() @ torch.from_numpy(self._cost_weights).to(x)
        return value, torch.cat(means, dim=1)


def _predicted(
    predictor: EditablePredictor, codes: NDArray[np.int64], with_stds: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if with_stds:
        return cast(tuple[NDArray[np.float64], NDArray[np.float64]], predictor.predict(codes, return_std=True))
    means = cast(NDArray[np.float64], predictor.predict(codes))
    return means, np.zeros_like(means)
