"""Features of graphs, computed once for many fits."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from pickle import PicklingError
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph

__all__ = ["FeatureMemory", "content_key", "graphs_key"]

logger = logging.getLogger(__name__)


class FeatureMemory:
    """Features of graphs, each computed once by transformers that are equal.

    It keeps the features of whole data sets in memory, and nothing on disk.

    Example:
        >>> from ppuda_like.deepnets import network_graph, sample_network
        >>> from ppuda_like.predictors import GraphFeatures
        >>> graphs = [network_graph(sample_network("val", i)) for i in range(2)]
        >>> memory = FeatureMemory()
        >>> rows, _ = memory.features(GraphFeatures(), graphs, graphs)
        >>> memory.features(GraphFeatures(), graphs, graphs)[0] is rows
        True
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], tuple[NDArray[Any], float]] = {}
        self._fitted: dict[tuple[str, str], Any] = {}

    def features(
        self, transformer: BaseEstimator, learn: Sequence[ComputationalGraph], graphs: Sequence[ComputationalGraph]
    ) -> tuple[NDArray[Any], float]:
        """The features of graphs.

        Args:
            transformer: of lists of graphs; a copy is fitted.
            learn: graphs to fit it to, without their properties.
            graphs: graphs to transform.

        Returns:
            The features, ``(len(graphs), d)``, not to be changed, and the seconds that computing them took.

        Raises:
            DataError: if the transformer cannot be copied to other processes, or makes no row per graph.
        """
        key, learnt, wanted = content_key(transformer), graphs_key(learn), graphs_key(graphs)
        if (key, learnt, wanted) not in self._found:
            start = time.perf_counter()
            if (key, learnt) not in self._fitted:
                self._fitted[key, learnt] = clone(transformer).fit(list(learn))
            rows = np.asarray(self._fitted[key, learnt].transform(list(graphs)))
            if rows.ndim != 2 or len(rows) != len(graphs):
                raise DataError(
                    f"{type(transformer).__name__} must make one row per graph, {len(graphs)} (got shape {rows.shape})"
                )
            rows.flags.writeable = False
            seconds = time.perf_counter() - start
            logger.info("%s of %d graphs in %.1f s", type(transformer).__name__, len(graphs), seconds)
            self._found[key, learnt, wanted] = rows, seconds
        return self._found[key, learnt, wanted]


def content_key(value: object) -> str:
    """A text that is equal for estimators of equal content, in any process.

    Raises:
        DataError: if the estimator holds something that cannot travel to other processes.
    """
    try:
        return str(joblib.hash(value))
    except (PicklingError, AttributeError, TypeError) as error:
        raise DataError(
            f"{type(value).__name__} cannot be sent to other processes: {error.args[0]}; use functions of modules in "
            "place of lambdas"
        ) from error


def graphs_key(graphs: Sequence[ComputationalGraph]) -> str:
    """A text that is equal for equal lists of graphs, in any process."""
    found = hashlib.sha256()
    for graph in graphs:
        found.update(graph.content_hash.encode())
    return found.hexdigest()
