"""Many graphs side by side, so that one pass of numpy works on all of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ppuda_like.graph import ComputationalGraph

__all__ = ["GraphUnion"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class GraphUnion:
    """The disjoint union of graphs; nodes of the same level (longest path from the sources) stand together.

    Args:
        graphs: at least one.

    Attributes:
        num_graphs: how many graphs.
        order: for each node here, its number in the nodes of all graphs one after the other.
        graph: the graph of each node, ``(num_nodes,)``.
        level: of each node.
        source: of each edge, ``(num_edges,)``, ordered by target.
        target: of each edge.
        num_nodes: nodes of each graph, ``(num_graphs,)``.
        num_edges: edges of each graph.
        start: whether each node is an input of its graph that nothing leads to.
        end: the node of each graph that makes its main output.
    """

    def __init__(self, graphs: Sequence[ComputationalGraph]) -> None:
        self.num_graphs = len(graphs)
        self.num_nodes = np.array([graph.num_nodes for graph in graphs])
        self.num_edges = np.array([graph.num_edges for graph in graphs])
        first = np.concatenate(([0], np.cumsum(self.num_nodes)[:-1]))
        edges = np.concatenate([graph.edge_index.numpy() for graph in graphs], axis=1)
        edges += np.repeat(first, self.num_edges)
        level = _levels(edges, int(self.num_nodes.sum()))
        self.order: Ints = np.argsort(level, kind="stable")
        place = np.empty_like(self.order)
        place[self.order] = np.arange(len(place))
        self.level: Ints = level[self.order]
        self.graph: Ints = np.repeat(np.arange(self.num_graphs), self.num_nodes)[self.order]
        source, target = place[edges]
        by_target = np.argsort(target, kind="stable")
        self.source: Ints = source[by_target]
        self.target: Ints = target[by_target]
        self.end: Ints = place[first + [graph.outputs[0] for graph in graphs]]
        inputs = [node + offset for graph, offset in zip(graphs, first.tolist(), strict=True) for node in graph.inputs]
        self.start = np.zeros(len(level), dtype=bool)
        self.start[place[inputs]] = True
        self.start &= self.level == 0
        # Where the nodes of each level and their incoming edges begin.
        bounds = np.searchsorted(self.level, np.arange(self.level.max() + 2))
        self._levels = list(itertools.pairwise(bounds.tolist()))
        self._edge_bounds = np.searchsorted(self.target, np.arange(len(level) + 1))

    def path_sums(self, weights: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Least and greatest sum of node weights along a path from an input to the main output.

        Args:
            weights: of each node, ``(num_nodes, k)``, for k kinds of sums at once.

        Returns:
            Two arrays of shape ``(num_graphs, k)``; infinite for a graph without such a path.
        """
        # The greatest sum is the least one of negative weights.
        signed = np.concatenate((weights, -weights), axis=1)
        sums = np.full_like(signed, np.inf)
        sums[self.start] = signed[self.start]
        for (begin, end), sources, starts in self._steps():
            np.minimum.reduceat(sums[sources], starts, axis=0, out=sums[begin:end])
            sums[begin:end] += signed[begin:end]
        found = sums[self.end].astype(np.float64)
        return found[:, : weights.shape[1]], -found[:, weights.shape[1] :]

    def log_paths(self) -> Floats:
        """Natural logarithm of the number of paths from the inputs to the main output, ``(num_graphs,)``."""
        logs = np.where(self.start, 0.0, -np.inf)
        for (begin, end), sources, starts in self._steps():
            logs[begin:end] = np.logaddexp.reduceat(logs[sources], starts)
        found: Floats = logs[self.end]
        return found

    def totals(
        self, values: NDArray[np.generic] | None = None, kinds: Ints | None = None, num_kinds: int = 1
    ) -> Floats:
        """Sums over the nodes of each graph, ``(num_graphs, num_kinds)``.

        Args:
            values: what is summed up, ``(num_nodes,)``; None to count.
            kinds: the column each node belongs to, -1 for none; None for a single column.
            num_kinds: number of columns.
        """
        kinds = np.zeros_like(self.graph) if kinds is None else kinds
        kept = kinds >= 0
        cells = self.graph[kept] * num_kinds + kinds[kept]
        weights = None if values is None else values[kept].astype(np.float64)
        sums = np.bincount(cells, weights=weights, minlength=self.num_graphs * num_kinds)
        return sums.astype(np.float64).reshape(self.num_graphs, num_kinds)

    def maxima(self, values: NDArray[np.generic]) -> Floats:
        """Greatest value among the nodes of each graph, ``(num_graphs,)``, at least 0."""
        found: Floats = np.zeros(self.num_graphs)
        np.maximum.at(found, self.graph, values)
        return found

    def widths(self) -> Floats:
        """Largest number of nodes on one level, of each graph."""
        size = int(self.level.max()) + 1
        counts = np.bincount(self.graph * size + self.level, minlength=self.num_graphs * size)
        found: Floats = counts.reshape(self.num_graphs, size).max(axis=1).astype(np.float64)
        return found

    def _steps(self) -> list[tuple[tuple[int, int], Ints, Ints]]:
        """For each level but the first: its nodes, the sources of their edges, and where each node's edges start."""
        steps = []
        for begin, end in self._levels[1:]:
            bounds = self._edge_bounds[begin : end + 1]
            steps.append(((begin, end), self.source[bounds[0] : bounds[-1]], bounds[:-1] - bounds[0]))
        return steps


def _levels(edges: Ints, num_nodes: int) -> Ints:
    """Longest path to each node; edges are ordered by target, and sources come before targets."""
    found = [0] * num_nodes
    for source, target in zip(*edges.tolist(), strict=True):
        if found[source] >= found[target]:
            found[target] = found[source] + 1
    return np.array(found)
