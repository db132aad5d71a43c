"""Which features a predictor goes by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.inspection import permutation_importance
from sklearn.pipeline import Pipeline

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.predictors._metrics import kendall_tau

__all__ = ["FeatureImportance", "feature_importance"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureImportance:
    """How much Kendall's tau falls when the values of a feature are shuffled between networks.

    Attributes:
        names: of the features, the most important first.
        mean: loss of tau of each feature, over repetitions.
        deviation: standard deviation over repetitions.
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


def feature_importance(
    predictor: Pipeline,
    graphs: Sequence[ComputationalGraph],
    y: ArrayLike,
    *,
    repeats: int = 10,
    random_state: int = 0,
) -> FeatureImportance:
    """Permutation importance of the features that a predictor goes by (Breiman, 2001).

    Of features that say nearly the same, each seems unimportant: the predictor goes by the others when one is shuffled.

    Args:
        predictor: fitted; its first step makes features of graphs and names them.
        graphs: networks that the predictor was not fitted to.
        y: the property of these.
        repeats: how often each feature is shuffled.
        random_state: seed of the shuffling.

    Raises:
        DataError: if the predictor is no such pipeline, or the property cannot be scored.

    Example:
        >>> from ppuda_like.deepnets import network_graph, sample_network
        >>> from ppuda_like.predictors import ridge
        >>> graphs = [network_graph(sample_network("val", i)) for i in range(20)]
        >>> count = [graph.ops.count("conv") for graph in graphs]
        >>> found = feature_importance(ridge().fit(graphs[:10], count[:10]), graphs[10:], count[10:], repeats=2)
        >>> bool((found.mean[:-1] >= found.mean[1:]).all())
        True
    """
    if not isinstance(predictor, Pipeline) or len(predictor) < 2:
        raise DataError(
            f"importance is that of the features in the first step of a pipeline (got {type(predictor).__name__}); "
            "build the predictor with ridge(), random_forest() or make_pipeline(features, regressor)"
        )
    first = predictor.steps[0][1]
    rows = first.transform(list(graphs))
    found = permutation_importance(
        predictor[1:],
        rows,
        np.asarray(y, dtype=np.float64),
        scoring=lambda estimator, rows, y: kendall_tau(y, estimator.predict(rows)),
        n_repeats=repeats,
        random_state=random_state,
    )
    order = np.argsort(-found.importances_mean, kind="stable")
    names = first.get_feature_names_out()
    return FeatureImportance(
        names=tuple(str(names[i]) for i in order),
        mean=found.importances_mean[order],
        deviation=found.importances_std[order],
    )
