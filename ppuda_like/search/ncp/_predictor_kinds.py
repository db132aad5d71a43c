"""Kinds of predictors of codes, and their fit to a table."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from ppuda_like.errors import CodeError
from ppuda_like.predictors import CodeEnsemble, CodePredictor, GraphRegressor
from ppuda_like.search.ncp._cell_space import NASBENCH201
from ppuda_like.search.ncp._space import COST_NAMES
from ppuda_like.search.ncp._table import CodeTable
from ppuda_like.search.ncp._table_predictor import Input, TablePredictor, estimator_inputs

__all__ = ["PREDICTOR_KINDS", "fit_predictor"]


class _Kind(NamedTuple):
    """How predictors of a kind are made.

    Attributes:
        make: an estimator for a space's name, a number of metrics, and a seed.
        inputs: what it reads of a code.
        several: whether one estimator predicts several metrics.
        costs: whether it predicts the costs as well, the last of its metrics.
    """

    make: Callable[[str, int, int], BaseEstimator]
    inputs: Input = "relaxed"
    several: bool = False
    costs: bool = False


def _ensemble(space: str, num_metrics: int, seed: int) -> BaseEstimator:
    return CodeEnsemble(random_state=seed)


def _ranks(space: str, num_metrics: int, seed: int) -> BaseEstimator:
    return CodeEnsemble(ranks=True, random_state=seed)


def _published(space: str, num_metrics: int, seed: int) -> BaseEstimator:
    # A head for the main metric, one for the others, one for the costs, which needs no dropout: they have no noise.
    groups = [size for size in (1, num_metrics - 3, 2) if size]
    return CodePredictor(groups=groups, dropouts=[0.5] * (len(groups) - 1) + [0.0], random_state=seed)


def _graph(space: str, num_metrics: int, seed: int) -> BaseEstimator:
    return GraphRegressor(
        loss="mse", num_layers=4, dropout=0.0, steps=1000, batch_size=64, learning_rate=6e-3, random_state=seed
    )


def _ridge(space: str, num_metrics: int, seed: int) -> BaseEstimator:
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 5, 15)))


def _neighbours(space: str, num_metrics: int, seed: int) -> BaseEstimator:
    search = GridSearchCV(KNeighborsRegressor(weights="distance"), {"n_neighbors": [3, 5, 8, 12, 20]}, cv=5)
    return make_pipeline(StandardScaler(), search)


def _forest(space: str, num_metrics: int, seed: int) -> BaseEstimator:
    trees, leaf = (100, 1) if space == NASBENCH201.name else (300, 2)
    return RandomForestRegressor(trees, max_features=1 / 3, min_samples_leaf=leaf, random_state=seed)


def _boosting(space: str, num_metrics: int, seed: int) -> BaseEstimator:
    steps, leaves = (1500, 31) if space == NASBENCH201.name else (600, 8)
    return HistGradientBoostingRegressor(
        learning_rate=0.05,
        max_iter=steps,
        max_leaf_nodes=leaves,
        min_samples_leaf=10,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )


def _support_vectors(space: str, num_metrics: int, seed: int) -> BaseEstimator:
    # Chosen by cross-validation, but for the many cells, where that takes minutes.
    if space == NASBENCH201.name:
        svr: BaseEstimator = SVR(C=10.0, epsilon=0.05)
    else:
        svr = GridSearchCV(SVR(epsilon=0.05), {"C": [1, 4, 16], "gamma": [0.003, 0.008, 0.02, 0.04]}, cv=5)
    return make_pipeline(StandardScaler(), TransformedTargetRegressor(svr, transformer=StandardScaler()))


_KINDS: dict[str, _Kind] = {
    "ensemble": _Kind(_ensemble, "features", several=True),
    "ranks": _Kind(_ranks, "features", several=True),
    "mlp": _Kind(_published, several=True, costs=True),
    "graph": _Kind(_graph, "graph"),
    "ridge": _Kind(_ridge),
    "k-nn": _Kind(_neighbours),
    "forest": _Kind(_forest),
    "boosting": _Kind(_boosting),
    "boosting on features": _Kind(_boosting, "features"),
    "svr": _Kind(_support_vectors),
}

PREDICTOR_KINDS = tuple(_KINDS)
"""Kinds that :func:`fit_predictor` knows."""


def fit_predictor(
    table: CodeTable,
    kind: str = "ensemble",
    *,
    metrics: Sequence[str] | None = None,
    rows: Sequence[int] | NDArray[Any] | slice | None = None,
    seed: int = 0,
) -> TablePredictor:
    """Fit a predictor to a table.

    Args:
        table: codes with metrics.
        kind: ``"ensemble"``, Gaussian processes on features of the codes (:class:`CodeEnsemble`), which know their
            uncertainty; ``"ranks"``, the same of the metrics' ranks, to search by what was learnt from few codes;
            ``"mlp"``, the published perceptron (:class:`CodePredictor`), which predicts the costs too;
            ``"graph"``, an ensemble of graph networks (:class:`GraphRegressor`) on the networks' graphs; and to compare
            with, of scikit-learn on the codes, ``"ridge"``, ``"k-nn"``, ``"forest"``, ``"boosting"``, ``"svr"``, and
            ``"boosting on features"``.  Along the first three, codes can be edited; these and ``"graph"`` can be saved.
        metrics: of the table, to be learnt; None for all that the kind can learn together: only the main one, but for
            the first three kinds.
        rows: of the table to learn from; None for all.
        seed: of the fit's randomness.

    Raises:
        CodeError: if there is no such kind or metric, or several metrics for a kind that learns one.
        DataError: if there are too few rows.

    Example:
        >>> from ppuda_like.search.ncp import load_table
        >>> table = load_table("seg")
        >>> predictor = fit_predictor(table, rows=range(200))
        >>> predictor
        TablePredictor(seg, mIoU, mAcc, aAcc, CodeEnsemble of features)
        >>> predictor.predict(table.codes[200:202]).shape
        (2, 3)
    """
    if kind not in _KINDS:
        near = difflib.get_close_matches(kind, _KINDS)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(map(repr, _KINDS))}"
        raise CodeError(f"there is no kind {kind!r} of predictors; {hint}")
    found = _KINDS[kind]
    names = tuple(table.metrics) if metrics is None and found.several else tuple(metrics or (table.main,))
    if len(names) > 1 and not found.several:
        raise CodeError(f"a predictor of kind {kind!r} learns one metric (got {', '.join(names)}); fit one for each")
    part = table if rows is None else table.take(rows)
    targets = part.matrix(names)
    if found.costs:
        names, targets = (*names, *COST_NAMES), np.hstack((targets, table.space.costs(part.codes)))
    estimator = found.make(table.space.name, len(names), seed)
    estimator.fit(estimator_inputs(table.space, part.codes, found.inputs), targets if found.several else targets[:, 0])
    return TablePredictor(
        table=table.name,
        space=table.space,
        metrics=names,
        estimator=estimator,
        scale=targets.std(axis=0),
        inputs=found.inputs,
    )
