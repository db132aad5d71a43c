"""Graphs as arrays, and batches of them for the graph networks of predictors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph, Shape, all_pairs_distance

__all__ = ["GLOBAL_FEATURES", "NODE_FEATURES", "Encoder", "GraphArrays", "GraphBatch", "Standardizer", "collate"]

NODE_FEATURES = (
    "log_params",
    *(f"log_shape_{place}" for place in range(4)),
    "log_channels",
    "log_positions",
    "log_flops",
    "log_kernel",
    "log_level",
    "log_height",
    "level",
    "log_in_degree",
    "log_out_degree",
    "is_input",
    "is_output",
)
"""What a graph network is told of a node besides its operation; logarithms of one more than the number."""

GLOBAL_FEATURES = ("log_num_params", "log_macs", "log_num_nodes", "log_num_edges", "log_depth")
"""What its head is told of the whole graph."""

_LOCAL = NODE_FEATURES.index("log_level")  # the features before this one depend on the node alone


class GraphArrays(NamedTuple):
    """A graph as a graph network reads it.

    Attributes:
        op: int64 ``(n,)``, number of each node's operation in the encoder's vocabulary.
        x: float32 ``(n, len(NODE_FEATURES))``.
        edges: int64 ``(2, m)``, ordered by target.
        pairs: int64 ``(3, p)``, sources, targets and distances of virtual edges, all longer than 1; empty without them.
        output: the main output node.
        facts: float64 ``(len(GLOBAL_FEATURES),)``.
    """

    op: NDArray[np.int64]
    x: NDArray[np.float32]
    edges: NDArray[np.int64]
    pairs: NDArray[np.int64]
    output: int
    facts: NDArray[np.float64]

    @property
    def content(self) -> bytes:
        """Bytes that two graphs share if a graph network cannot tell them apart by their content."""
        return b"|".join((self.op.tobytes(), self.x.tobytes(), self.edges.tobytes(), str(self.output).encode()))


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Makes arrays of graphs.

    Attributes:
        ops: the operations that are known, sorted.
        virtual_cutoff: length of the longest virtual edge; None for no virtual edges.
    """

    ops: tuple[str, ...]
    virtual_cutoff: int | None = None

    @classmethod
    def fit(
        cls, graphs: Sequence[ComputationalGraph], ops: Sequence[str] = (), virtual_cutoff: int | None = None
    ) -> Encoder:
        """An encoder that knows the operations of some graphs, and some more."""
        known = {op for graph in graphs for op in graph.ops}.union(ops)
        return cls(ops=tuple(sorted(known)), virtual_cutoff=virtual_cutoff)

    def __call__(self, graph: ComputationalGraph) -> GraphArrays:
        """The arrays of a graph.

        Raises:
            GraphError: if the graph has an operation that is not known.
        """
        index = _index(self.ops)
        try:
            op = np.array([index[name] for name in graph.ops], dtype=np.int64)
        except KeyError:
            unknown = sorted(set(graph.ops) - set(self.ops))
            raise GraphError(
                f"the predictor was fitted on graphs with the operations {list(self.ops)}; graph '{graph.name}' has "
                f"{unknown} besides; fit it on graphs with these, or lower all graphs to one vocabulary"
            ) from None
        edges = graph.edge_index.numpy()
        level, height = _levels(edges, graph.num_nodes)
        x = np.zeros((graph.num_nodes, len(NODE_FEATURES)), dtype=np.float32)
        x[:, :_LOCAL] = [
            _local(shapes, tuple(attributes.get("kernel_size", ())) if attributes else (), out_shape, flops)
            for shapes, attributes, out_shape, flops in zip(
                graph.param_shapes, graph.attributes, graph.out_shapes, graph.flops, strict=True
            )
        ]
        depth = int(level.max())
        x[:, _LOCAL] = np.log1p(level)
        x[:, _LOCAL + 1] = np.log1p(height)
        x[:, _LOCAL + 2] = level / max(1, depth)
        x[:, _LOCAL + 3] = np.log1p(np.bincount(edges[1], minlength=graph.num_nodes))
        x[:, _LOCAL + 4] = np.log1p(np.bincount(edges[0], minlength=graph.num_nodes))
        x[list(graph.inputs), _LOCAL + 5] = 1
        x[list(graph.outputs), _LOCAL + 6] = 1
        pairs = np.zeros((3, 0), dtype=np.int64)
        if self.virtual_cutoff is not None:
            found = all_pairs_distance(graph.edge_index, graph.num_nodes, self.virtual_cutoff)
            far = (found.distance > 1).numpy()
            pairs = np.concatenate((found.edge_index.numpy(), found.distance.numpy()[None]))[:, far]
        facts = np.log1p([graph.num_params, graph.macs, graph.num_nodes, graph.num_edges, depth])
        return GraphArrays(op, x, edges, pairs, graph.outputs[0], facts)


class Standardizer(NamedTuple):
    """Shifts and scales columns to mean 0 and deviation 1; a column that is constant becomes 0.

    Attributes:
        mean: of each column.
        scale: what each column is divided by.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, columns: NDArray[np.floating]) -> Standardizer:
        """Of the columns of an array ``(n, d)``."""
        mean = columns.mean(axis=0, dtype=np.float64)
        deviation = columns.std(axis=0, dtype=np.float64)
        # What varies by rounding alone is constant; a value that differs at predict time should not be blown up.
        constant = deviation <= 1e-6 * np.maximum(1.0, np.abs(mean))
        return cls(mean, np.where(constant, 1.0, deviation))

    def __call__(self, columns: NDArray[np.floating]) -> NDArray[np.float32]:
        """The columns of another array, standardised."""
        return ((columns - self.mean) / self.scale).astype(np.float32)


class GraphBatch(NamedTuple):
    """Several graphs as one.

    Attributes:
        op: int64 ``(N,)``.
        x: float32 ``(N, F)``, standardised.
        matrices: sparse ``(N, N)``, a pair for edges and with virtual edges one for these: the matrix that sums over
            the sources of each node, and its transpose, over the targets; entries are 1 by the length of the edge.
        edges: int64 ``(2, M)``.
        starts: int64 ``(B + 1,)``, first node of each graph, and N.
        output: int64 ``(B,)``.
        facts: float32 ``(B, G)``, standardised.
    """

    op: Tensor
    x: Tensor
    matrices: tuple[tuple[Tensor, Tensor], ...]
    edges: Tensor
    starts: Tensor
    output: Tensor
    facts: Tensor

    @property
    def num_graphs(self) -> int:
        """Number of graphs."""
        return len(self.output)

    @property
    def graph(self) -> Tensor:
        """Number of each node's graph, int64 ``(N,)``."""
        return torch.repeat_interleave(torch.arange(self.num_graphs), self.starts.diff())


def collate(
    graphs: Sequence[GraphArrays], facts: NDArray[np.float32], standardize: Standardizer, *, virtual: bool
) -> GraphBatch:
    """A batch of graphs.

    Args:
        graphs: at least one.
        facts: what the head is told of each, standardised, ``(len(graphs), G)``.
        standardize: for the node features.
        virtual: whether to make the matrices of virtual edges.
    """
    starts = np.cumsum([0, *(len(graph.op) for graph in graphs)])
    edges = np.concatenate([graph.edges for graph in graphs], axis=1)
    edges += np.repeat(starts[:-1], [graph.edges.shape[1] for graph in graphs])
    total = int(starts[-1])
    matrices = [_both_ways(edges[0], edges[1], np.ones(edges.shape[1], dtype=np.float32), total)]
    if virtual:
        shift = np.repeat(starts[:-1], [graph.pairs.shape[1] for graph in graphs])
        source, target, length = np.concatenate([graph.pairs for graph in graphs], axis=1)
        matrices.append(_both_ways(source + shift, target + shift, (1 / length).astype(np.float32), total))
    return GraphBatch(
        op=torch.from_numpy(np.concatenate([graph.op for graph in graphs])),
        x=torch.from_numpy(standardize(np.concatenate([graph.x for graph in graphs]))),
        matrices=tuple(matrices),
        edges=torch.from_numpy(edges),
        starts=torch.from_numpy(starts),
        output=torch.from_numpy(starts[:-1] + [graph.output for graph in graphs]),
        facts=torch.from_numpy(facts),
    )


def _both_ways(
    source: NDArray[np.int64], target: NDArray[np.int64], weight: NDArray[np.float32], size: int
) -> tuple[Tensor, Tensor]:
    """Sparse matrices that sum over the sources of each target, and over the targets of each source."""
    back = np.argsort(source, kind="stable")
    return _csr(target, source, weight, size), _csr(source[back], target[back], weight[back], size)


def _csr(row: NDArray[np.int64], column: NDArray[np.int64], weight: NDArray[np.float32], size: int) -> Tensor:
    """A sparse matrix from entries ordered by row."""
    pointer = np.searchsorted(row, np.arange(size + 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(pointer),
            torch.from_numpy(np.ascontiguousarray(column)),
            torch.from_numpy(weight),
            (size, size),
            check_invariants=False,
        )


@lru_cache(maxsize=64)
def _index(ops: tuple[str, ...]) -> dict[str, int]:
    return {op: number for number, op in enumerate(ops)}


@lru_cache(maxsize=1 << 16)
def _local(shapes: tuple[Shape, ...], kernel: Shape, out_shape: Shape, flops: int) -> tuple[float, ...]:
    """The features of a node that do not depend on the others; networks repeat few of them again and again."""
    first = (*(shapes[0] if shapes else ()), 0, 0, 0, 0)[:4]
    return (
        math.log1p(sum(math.prod(shape) for shape in shapes)),
        *(math.log1p(size) for size in first),
        math.log1p(out_shape[1] if len(out_shape) > 1 else 0),
        math.log1p(math.prod(out_shape[2:]) if len(out_shape) > 2 else 0),
        math.log1p(flops),
        math.log1p(kernel[0] if kernel else 0),
    )


def _levels(edges: NDArray[np.int64], num_nodes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Longest path, in edges, from any node to each node, and from each node to any."""
    level, height = [0] * num_nodes, [0] * num_nodes
    source, target = edges.tolist()
    for u, v in zip(source, target, strict=True):  # ordered by target: u's level is final
        if level[u] >= level[v]:
            level[v] = level[u] + 1
    by_source = np.argsort(-edges[0], kind="stable").tolist()
    for edge in by_source:
        u, v = source[edge], target[edge]
        if height[v] >= height[u]:
            height[u] = height[v] + 1
    return np.array(level), np.array(height)
