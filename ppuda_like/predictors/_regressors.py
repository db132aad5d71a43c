"""Regressors on features of graphs: the published one, and those that any other must beat."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors._embeddings import GHNEmbedding
from ppuda_like.predictors._graph_features import GraphFeatures

__all__ = [
    "SVR_GRID",
    "baseline_predictors",
    "embedding_svr",
    "gaussian_process",
    "gradient_boosting",
    "random_forest",
    "ridge",
    "single_number",
]

SVR_GRID: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "C": (1, 10, 50, 100, 200, 500, 1000),
        "gamma": ("auto", 0.05, 0.1, 0.2, 0.5),
        "epsilon": (0.05, 0.1, 0.2),
    }
)
"""Hyper-parameters that the published regressor is chosen from (arXiv:2110.13100, section 5.4)."""


def embedding_svr(
    features: BaseEstimator | None = None, *, standardize: bool = True, folds: int = 5, n_jobs: int | None = None
) -> Pipeline:
    """Support vector regression with an RBF kernel on embeddings (arXiv:2110.13100, section 5.4).

    The hyper-parameters are chosen from :data:`SVR_GRID` by cross-validated R2 on the training networks.

    Args:
        features: transformer of graphs; None for :class:`GHNEmbedding` as it is by default.
        standardize: bring features and property to mean 0 and variance 1 first.  The published regressor does not: its
            grid is for accuracies in per cent, and ``epsilon`` 0.05 is more than the spread of accuracies up to 1.
        folds: of the cross-validation, contiguous in the order of the training networks.
        n_jobs: processes that share the grid; None for this one.

    Example:
        >>> predictor = embedding_svr(GraphFeatures())
        >>> [name for name, _ in predictor.steps]
        ['features', 'scale', 'svr']
    """
    search = GridSearchCV(
        SVR(kernel="rbf"), {name: list(values) for name, values in SVR_GRID.items()}, cv=folds, n_jobs=n_jobs
    )
    if not standardize:
        return _pipeline(features, ("svr", search))
    # Outside of the search: scaling anew for each of its 525 fits takes longer than the fits do.
    standardized = TransformedTargetRegressor(search, transformer=StandardScaler())
    return _pipeline(features, ("scale", StandardScaler()), ("svr", standardized))


def ridge(features: BaseEstimator | None = None) -> Pipeline:
    """Linear regression on standardised features; the penalty, 1e-2 to 1e5, is chosen by leave-one-out validation.

    Args:
        features: transformer of graphs; None for :class:`GraphFeatures`.
    """
    return _pipeline(
        features or GraphFeatures(), ("scale", StandardScaler()), ("ridge", RidgeCV(np.logspace(-2, 5, 15)))
    )


def random_forest(
    features: BaseEstimator | None = None, *, n_estimators: int = 300, random_state: int | None = None
) -> Pipeline:
    """A random forest, which on hand-made features of graphs is the predictor of GRAF (arXiv:2404.16551).

    Args:
        features: transformer of graphs; None for :class:`GraphFeatures`.
        n_estimators: trees, each split chosen among a third of the features.
        random_state: seed.
    """
    forest = RandomForestRegressor(n_estimators, max_features=1 / 3, random_state=random_state)
    return _pipeline(features or GraphFeatures(), ("forest", forest))


def gradient_boosting(
    features: BaseEstimator | None = None, *, n_estimators: int = 400, random_state: int | None = None
) -> Pipeline:
    """Gradient boosting of small trees, each on half of the networks and a fifth of the features a split.

    Args:
        features: transformer of graphs; None for :class:`GraphFeatures`.
        n_estimators: trees.
        random_state: seed.
    """
    boosting = GradientBoostingRegressor(
        n_estimators=n_estimators,
        learning_rate=0.05,
        max_depth=3,
        subsample=0.5,
        max_features=0.2,
        random_state=random_state,
    )
    return _pipeline(features or GraphFeatures(), ("boosting", boosting))


def gaussian_process(features: BaseEstimator | None = None, *, random_state: int | None = None) -> Pipeline:
    """A Gaussian process with a Matern kernel on standardised features, which knows its uncertainty.

    Signal, length scale and noise are those of the highest marginal likelihood.  The time of a fit grows with the third
    power of the number of networks: below a second for 500, minutes for 5,000.

    Args:
        features: transformer of graphs; None for :class:`GraphFeatures`.
        random_state: seed; of no effect with the settings here, for others to build on.

    Example:
        >>> from ppuda_like.deepnets import network_graph, sample_network
        >>> graphs = [network_graph(sample_network("val", i)) for i in range(8)]
        >>> predictor = gaussian_process().fit(graphs, [graph.num_nodes for graph in graphs])
        >>> mean, std = predictor.predict(graphs, return_std=True)
        >>> mean.shape, bool((std > 0).all())
        ((8,), True)
    """
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * Matern(10.0, (1.0, 1e4), nu=1.5) + WhiteKernel(0.1, (1e-3, 10.0))
    process = BoundedGaussianProcess(kernel, normalize_y=True, random_state=random_state)
    return _pipeline(features or GraphFeatures(), ("scale", StandardScaler()), ("process", process))


class BoundedGaussianProcess(GaussianProcessRegressor):  # type: ignore[misc]  # scikit-learn has no types
    """A Gaussian process that is silent about a hyper-parameter at its bound.

    The bounds of :func:`gaussian_process` lie where going further hardly changes a prediction: to end there is an
    answer, as a noise of next to none is.
    """

    def fit(self, X: NDArray[np.float64], y: NDArray[np.float64]) -> BoundedGaussianProcess:
        """As in scikit-learn."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*close to the specified (lower|upper) bound", ConvergenceWarning)
            super().fit(X, y)
        return self


def single_number(name: Literal["parameters", "FLOPs"]) -> Pipeline:
    """The size or the cost of a network as its only feature: a line through its logarithm.

    Its sign is learnt; the order of networks is that of the number, or the reverse.

    Args:
        name: ``"parameters"`` for the number of scalars, ``"FLOPs"`` for the floating-point operations of one image.

    Raises:
        DataError: if it is something else.

    Example:
        >>> from ppuda_like.deepnets import network_graph, sample_network
        >>> graphs = [network_graph(sample_network("val", i)) for i in range(3)]
        >>> sizes = [graph.num_params for graph in graphs]
        >>> predictor = single_number("parameters").fit(graphs, [-size for size in sizes])
        >>> bool((predictor.predict(graphs).argsort() == np.argsort(sizes)[::-1]).all())
        True
    """
    numbers = {"parameters": _log_params, "FLOPs": _log_flops}
    if name not in numbers:
        raise DataError(f"'name' must be one of {', '.join(map(repr, numbers))} (got {name!r})")
    return _pipeline(FunctionTransformer(numbers[name]), ("line", LinearRegression()))


def baseline_predictors() -> dict[str, Pipeline]:
    """What every comparison holds: parameter count, floating-point operations, and hand-made features with a forest."""
    return {
        "parameters": single_number("parameters"),
        "FLOPs": single_number("FLOPs"),
        "GRAF + random forest": random_forest(),
    }


def _pipeline(features: BaseEstimator | None, *steps: tuple[str, BaseEstimator]) -> Pipeline:
    return Pipeline([("features", GHNEmbedding() if features is None else features), *steps])


# Functions of modules, unlike lambdas, travel to other processes.
def _log_params(graphs: Iterable[ComputationalGraph]) -> NDArray[np.float64]:
    return np.log1p([[graph.num_params] for graph in graphs])


def _log_flops(graphs: Iterable[ComputationalGraph]) -> NDArray[np.float64]:
    return np.log1p([[graph.total_flops] for graph in graphs])
