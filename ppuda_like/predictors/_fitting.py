"""One fit of a predictor, here or in another process."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors._feature_memory import FeatureMemory, content_key
from ppuda_like.predictors._labelled import LabelledGraphs

__all__ = ["Entry", "Inputs", "Predictions", "fit_predict", "outcomes", "rows"]

_WINDOW = 32  # fits under way at the same time, each with a copy of its part of the features

T = TypeVar("T")
Inputs = NDArray[Any] | Sequence[ComputationalGraph]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A predictor and what it reads of labelled graphs.

    Attributes:
        estimator: as scikit-learn has them.
        codes: whether it reads the networks' categorical codes.
        column: property that is its only feature; None for estimators of graphs or codes.
    """

    estimator: BaseEstimator
    codes: bool = False
    column: str | None = None

    def key(self, data: LabelledGraphs, test: LabelledGraphs | None) -> str:
        """All that its fits depend on but for the graphs and the property, as text."""
        found = content_key(self.estimator)
        if self.codes or self.column:
            found += content_key([self._read(part) for part in (data, test) if part is not None])
        return found

    def prepare(self, data: LabelledGraphs, test: LabelledGraphs | None, memory: FeatureMemory) -> Prepared:
        """What is fitted in each split, and to what.

        Raises:
            DataError: if the networks have no codes, or lack the column.
        """
        if self.codes or self.column:
            known = self._read(data)
            return Prepared(self.estimator, known, known if test is None else self._read(test))
        scored = data if test is None else test
        if not isinstance(self.estimator, Pipeline) or len(self.estimator) < 2:
            return Prepared(self.estimator, data.graphs, scored.graphs)
        first = self.estimator.steps[0][1]
        found, seconds = memory.features(first, data.graphs, data.graphs)
        if test is None:
            return Prepared(self.estimator[1:], found, found, seconds)
        others, more = memory.features(first, data.graphs, test.graphs)
        return Prepared(self.estimator[1:], found, others, seconds + more)

    def _read(self, data: LabelledGraphs) -> NDArray[Any]:
        if self.column is not None:
            return data.values(self.column)[:, None]
        if data.codes is None:
            raise DataError(f"a predictor reads codes, but {data!r} has none; move it from 'on_codes' to 'predictors'")
        return data.codes


@dataclass(frozen=True)
class Prepared:
    """What is fitted in each split.

    Attributes:
        estimator: without the step that makes features.
        train: features, codes or graphs of the networks to learn from.
        test: of those to score on.
        feature_seconds: that computing the features took; None for estimators that read graphs or codes themselves.
    """

    estimator: BaseEstimator
    train: Inputs
    test: Inputs
    feature_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a fitted predictor said.

    Attributes:
        mean: predicted values.
        std: standard deviations; None if it states none.
        fit_seconds: wall time of the fit.
        predict_seconds: wall time of the predictions.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64] | None
    fit_seconds: float
    predict_seconds: float


def fit_predict(
    estimator: BaseEstimator, train: Inputs, y: NDArray[np.float64], test: Inputs, seed: int
) -> Predictions:
    """Fit a copy of an estimator with a seed, and predict."""
    made = clone(estimator)
    params = made.get_params(deep=True)
    made.set_params(**{name: seed for name in params if name.rpartition("__")[2] == "random_state"})
    start = time.perf_counter()
    made.fit(train, y)
    fitted = time.perf_counter()
    mean, std = made.predict(test, return_std=True) if _states_std(made) else (made.predict(test), None)
    return Predictions(mean=mean, std=std, fit_seconds=fitted - start, predict_seconds=time.perf_counter() - fitted)


def rows(inputs: Inputs, numbers: NDArray[Any]) -> Inputs:
    """Some rows of features or codes, or some graphs."""
    return inputs[numbers] if isinstance(inputs, np.ndarray) else [inputs[number] for number in numbers]


def outcomes(
    calls: Iterable[tuple[str, Callable[[], T]]], executor: Executor | None
) -> Iterator[tuple[str, Callable[[], T]]]:
    """Make calls here or elsewhere; yield each with its key as it is done, to be asked for its result or its error."""
    if executor is None:
        yield from calls
        return
    waiting: dict[Future[T], str] = {}
    try:
        for key, call in calls:
            waiting[executor.submit(call)] = key
            if len(waiting) >= _WINDOW:
                yield from _done(waiting)
        while waiting:
            yield from _done(waiting)
    finally:
        for future in waiting:
            future.cancel()


def _done(waiting: dict[Future[T], str]) -> Iterator[tuple[str, Callable[[], T]]]:
    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
        yield waiting.pop(future), future.result


def _states_std(estimator: BaseEstimator) -> bool:
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return "return_std" in inspect.signature(last.predict).parameters
