"""Where nodes lie in their graph, in numbers that do not depend on how nodes are numbered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from torch import Tensor

from ppuda_like.errors import DataError
from ppuda_like.graph import ComputationalGraph, levels
from ppuda_like.graph._distance import longest_path_levels
from ppuda_like.predictors._graph_list import as_graphs, rows_of_distinct

__all__ = ["PositionalEncoding", "positional_encoding"]

_LARGEST = 2.0  # no eigenvalue of a normalised Laplacian is larger


def positional_encoding(graph: ComputationalGraph, k: int = 8) -> Tensor:
    """Where each node lies in the graph, for the input of a graph network.

    The columns are the probabilities that a random walk along edges in either direction is back after 2, 3, ..., k + 1
    steps (Dwivedi et al., arXiv:2110.07875; after one step it never is); then the longest path to the node and the
    longest one from it, as shares of the longest path in the graph; then both lengths as ``log(1 + edges)``.

    Args:
        graph: any graph.
        k: number of return probabilities.

    Returns:
        float32 of shape ``(num_nodes, k + 4)``.

    Raises:
        DataError: if ``k`` is below 1.

    Example:
        >>> from ppuda_like.graph import make_edge_index
        >>> chain = ComputationalGraph(
        ...     ops=("input", "conv", "bn"), edge_index=make_edge_index([(0, 1), (1, 2)]), inputs=(0,), outputs=(2,)
        ... )
        >>> positional_encoding(chain, 1)[:, :3].tolist()
        [[0.5, 0.0, 1.0], [1.0, 0.5, 0.5], [0.5, 1.0, 0.0]]
    """
    _check(k)
    before = levels(graph).double()
    last = graph.num_nodes - 1
    reversed_edges = last - graph.edge_index.flip(0)
    after = longest_path_levels(reversed_edges, graph.num_nodes).flip(0).double()
    depth = before.max().clamp(min=1)
    returns = torch.from_numpy(_return_probabilities(_walk(graph), k))
    return torch.cat(
        (returns, torch.stack((before / depth, after / depth, before.log1p(), after.log1p()), dim=1)), dim=1
    ).float()


class PositionalEncoding(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The shape of graphs, whatever the operations: spectrum and random walks.

    For each graph, edges taken in both directions: the k lowest eigenvalues of the normalised Laplacian after the
    first, which is always 0 (Chung, Spectral Graph Theory, 1997), with 2, the largest possible, where there are fewer
    nodes; and the probabilities that a random walk is back after 2, ..., k + 1 steps (arXiv:2110.07875), mean over its
    starts.

    Args:
        k: how many of each.

    Example:
        >>> from ppuda_like.graph import make_edge_index
        >>> pair = ComputationalGraph(
        ...     ops=("input", "conv"), edge_index=make_edge_index([(0, 1)]), inputs=(0,), outputs=(1,)
        ... )
        >>> PositionalEncoding(2).fit_transform([pair]).tolist()
        [[2.0, 2.0, 1.0, 0.0]]
    """

    def __init__(self, k: int = 8) -> None:
        self.k = k

    def fit(self, graphs: Iterable[ComputationalGraph], y: Any = None) -> PositionalEncoding:
        """Nothing is learnt.

        Raises:
            DataError: if ``k`` is below 1.
        """
        _check(self.k)
        return self

    def transform(self, graphs: Iterable[ComputationalGraph]) -> NDArray[np.float64]:
        """The encodings, float64 of shape ``(num_graphs, 2 * k)``.

        Raises:
            DataError: if ``k`` is below 1.
            GraphError: if an entry is no graph.
        """
        _check(self.k)
        return rows_of_distinct(as_graphs(graphs), self._rows)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name of each feature."""
        names = [f"eigenvalue {i}" for i in range(2, self.k + 2)]
        return np.array([*names, *(f"return probability {i}" for i in range(2, self.k + 2))], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def _rows(self, graphs: list[ComputationalGraph]) -> NDArray[np.float64]:
        return np.array([self._row(graph) for graph in graphs]).reshape(len(graphs), 2 * self.k)

    def _row(self, graph: ComputationalGraph) -> NDArray[np.float64]:
        walk = _walk(graph)
        laplacian = np.eye(graph.num_nodes) - walk.toarray()
        last = min(self.k, graph.num_nodes - 1)
        lowest = scipy.linalg.eigvalsh(laplacian, subset_by_index=[0, last], check_finite=False)[1:]
        eigenvalues = np.full(self.k, _LARGEST)
        eigenvalues[: len(lowest)] = lowest
        return np.concatenate((eigenvalues, _return_probabilities(walk, self.k).mean(axis=0)))


def _check(k: int) -> None:
    if k < 1:
        raise DataError(f"'k' must be at least 1 (got {k})")


def _walk(graph: ComputationalGraph) -> scipy.sparse.csr_array:
    """The adjacency matrix over the root of both degrees: symmetric, with the powers' diagonals of a random walk."""
    source, target = graph.edge_index.numpy()
    degree = np.maximum(np.bincount(np.concatenate((source, target)), minlength=graph.num_nodes), 1)
    values = 1 / np.sqrt(degree[source] * degree[target])
    shape = (graph.num_nodes, graph.num_nodes)
    half = scipy.sparse.csr_array((values, (source, target)), shape=shape)
    return half + half.T


def _return_probabilities(walk: scipy.sparse.csr_array, k: int) -> NDArray[np.float64]:
    """Probability of a return to each node after 2, ..., k + 1 steps, ``(num_nodes, k)``."""
    powers = [walk]
    columns = []
    for steps in range(2, k + 2):
        if len(powers) < (steps + 1) // 2:
            powers.append(powers[-1] @ walk)
        # The diagonal of a product of symmetric matrices, without the product.
        columns.append((powers[steps // 2 - 1] * powers[(steps + 1) // 2 - 1]).sum(axis=1))
    found: NDArray[np.float64] = np.stack(columns, axis=1)
    return found
