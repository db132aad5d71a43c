"""Hand-made features of graphs, which say in words what a predictor goes by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ppuda_like.errors import DataError, GraphError
from ppuda_like.graph import ComputationalGraph
from ppuda_like.graph._distance import average_distance
from ppuda_like.predictors._graph_list import as_graphs, named, rows_of_distinct, size_groups
from ppuda_like.predictors._graph_union import GraphUnion

__all__ = ["GraphFeatures"]

_CHUNK = 20_000  # nodes worked on at a time: arrays of a few megabytes, which stay in the cache


class _Node(NamedTuple):
    """What the features count of a node; many nodes share one."""

    op: str
    kind: str
    params: float
    outputs: float
    inputs: float
    weight: bool
    side: float
    activations: float


class GraphFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Features of computational graphs that people can read, in the manner of GRAF (arXiv:2404.16551).

    For each graph:

    - size: nodes, edges, depth (longest path, in edges), width (most nodes on one level), mean length of the shortest
      paths between nodes, the number of paths from input to output; parameters, multiply-accumulates and activations
      (scalars that all nodes put out), each as ``log(1 + x)``;
    - ``count``: nodes of each operation, of convolutions and poolings also by kernel size;
    - ``shortest path`` and ``longest path``: the least and the greatest number of nodes of an operation, or of any,
      on a path from an input to the main output;
    - ``in-degree`` and ``out-degree``: the greatest, and the mean by operation;
    - ``log parameters`` and ``log MACs`` by operation;
    - widths: mean, greatest and summed logarithm of the channels that weights put out, and the mean of those they take;
    - resolution: greatest, mean and least base-2 logarithm of the side of the feature maps.

    Operations and kernel sizes are learnt from the graphs given to :meth:`fit`, in any vocabulary or none.  A kernel
    size that was not among them counts for its operation only.

    Args:
        unknown: what happens on an operation not seen in :meth:`fit`: ``"error"`` raises, ``"ignore"`` counts its
            nodes among all nodes only.
        ops: operations that count as seen besides those of the graphs; for few training graphs, those of a vocabulary.

    Attributes:
        ops_: the operations, sorted.
        kinds_: operations with kernel size, sorted.

    Example:
        >>> from ppuda_like.graph import make_edge_index
        >>> residual = ComputationalGraph(
        ...     ops=("input", "conv", "sum"),
        ...     edge_index=make_edge_index([(0, 1), (1, 2), (0, 2)]),
        ...     inputs=(0,),
        ...     outputs=(2,),
        ... )
        >>> features = GraphFeatures().fit([residual])
        >>> row = dict(zip(features.get_feature_names_out(), features.transform([residual])[0]))
        >>> float(row["count conv"]), float(row["shortest path conv"]), float(row["longest path conv"])
        (1.0, 0.0, 1.0)
    """

    def __init__(self, *, unknown: Literal["error", "ignore"] = "error", ops: Sequence[str] = ()) -> None:
        self.unknown = unknown
        self.ops = ops

    def fit(self, graphs: Iterable[ComputationalGraph], y: Any = None) -> GraphFeatures:
        """Learn the operations and kernel sizes.

        Raises:
            DataError: if there is no graph, or ``unknown`` is neither of its values.
            GraphError: if an entry is no graph.
        """
        if self.unknown not in ("error", "ignore"):
            raise DataError(f"'unknown' must be 'error' or 'ignore' (got {self.unknown!r})")
        graphs = as_graphs(graphs)
        if not graphs:
            raise DataError("the features need at least one graph to learn operations from (got none)")
        nodes = {key: _describe(*key) for graph in graphs for key in _keys(graph)}.values()
        self.ops_ = tuple(sorted({node.op for node in nodes}.union(self.ops)))
        self.kinds_ = tuple(sorted({node.kind for node in nodes if node.kind}))
        return self

    def transform(self, graphs: Iterable[ComputationalGraph]) -> NDArray[np.float64]:
        """The features, float64 of shape ``(num_graphs, num_features)``.

        Raises:
            GraphError: if a graph holds an operation that was not seen and ``unknown`` is ``"error"``, or no path leads
                from its inputs to its main output; or an entry is no graph.
        """
        check_is_fitted(self, "ops_")
        graphs = as_graphs(graphs)
        if self.unknown == "error":
            self._check_ops(graphs)
        return rows_of_distinct(graphs, self._rows)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name of each feature."""
        check_is_fitted(self, "ops_")
        paths = ("", *self.ops_, *self.kinds_)
        return np.array(
            [
                "nodes",
                "edges",
                "depth",
                "width",
                "mean degree",
                "mean path length",
                "log paths",
                "log parameters",
                "log MACs",
                "log activations",
                "max in-degree",
                "max out-degree",
                "mean log output channels",
                "max log output channels",
                "sum log output channels",
                "mean log input channels",
                "max log side",
                "mean log side",
                "min log side",
                *(f"count {kind}" for kind in (*self.ops_, *self.kinds_)),
                *(f"shortest path {kind}".rstrip() for kind in paths),
                *(f"longest path {kind}".rstrip() for kind in paths),
                *(f"mean in-degree {op}" for op in self.ops_),
                *(f"mean out-degree {op}" for op in self.ops_),
                *(f"log parameters {op}" for op in self.ops_),
                *(f"log MACs {op}" for op in self.ops_),
            ],
            dtype=object,
        )

    def _check_ops(self, graphs: Sequence[ComputationalGraph]) -> None:
        known = frozenset(self.ops_)
        for place, graph in enumerate(graphs):
            if not known.issuperset(graph.ops):
                wrong = ", ".join(f"'{op}'" for op in sorted(set(graph.ops) - known))
                raise GraphError(
                    f"{named(graph, place)} has operations that the features were not fitted to: {wrong} (known: "
                    f"{', '.join(self.ops_)}); bring the graphs to one vocabulary, fit to graphs that have these, or "
                    "take unknown='ignore'"
                )

    def _rows(self, graphs: list[ComputationalGraph]) -> NDArray[np.float64]:
        table = _NodeTable(self.ops_, self.kinds_)
        rows = np.empty((len(graphs), len(self.get_feature_names_out())))
        for group in size_groups(graphs, _CHUNK):
            rows[group] = self._chunk([graphs[place] for place in group], table, group)
        return rows

    def _chunk(self, graphs: list[ComputationalGraph], table: _NodeTable, places: list[int]) -> NDArray[np.float64]:
        union = GraphUnion(graphs)
        facts = table.facts([key for graph in graphs for key in _keys(graph)])[:, union.order]
        op, kind = facts[:2].astype(np.int64)
        _, _, params, outputs, inputs, weight, side, activations = facts
        flops = np.fromiter(chain.from_iterable(graph.flops for graph in graphs), float, len(union.order))[union.order]
        num_ops, num_kinds = len(self.ops_), len(self.kinds_)

        counts = union.totals(None, op, num_ops)
        into, out = (np.bincount(ends, minlength=len(op)) for ends in (union.target, union.source))
        there = np.maximum(counts, 1)
        marks = np.zeros((len(op), 1 + num_ops + num_kinds + 1), dtype=np.float32)  # the last column: none of them
        marks[:, 0] = 1
        marks[np.arange(len(op)), np.where(op < 0, -1, 1 + op)] = 1
        marks[np.arange(len(op)), np.where(kind < 0, -1, 1 + num_ops + kind)] = 1
        shortest, longest = union.path_sums(marks[:, :-1])
        lost = np.flatnonzero(np.isinf(shortest[:, 0]))
        if len(lost):
            raise GraphError(
                f"no path leads from the inputs of {named(graphs[lost[0]], places[lost[0]])} to its main output, node "
                f"{graphs[lost[0]].outputs[0]}; trace the model again with inputs that it uses"
            )
        wide, weights = weight > 0, np.maximum(union.totals(weight), 1)
        maps, large = np.isfinite(side), union.maxima(np.where(np.isfinite(side), side, 0))
        logs = np.where(maps, side, 0.0)
        small = large - union.maxima(np.where(maps, large[union.graph] - logs, 0.0))
        return np.column_stack(
            (
                union.num_nodes,
                union.num_edges,
                union.maxima(union.level),
                union.widths(),
                2 * union.num_edges / union.num_nodes,
                [average_distance(graph.edge_index, graph.num_nodes) for graph in graphs],
                union.log_paths(),
                np.log1p(_num_params(graphs, union.totals(params)[:, 0])),
                np.log1p(union.totals(flops // 2)),
                np.log1p(union.totals(activations)),
                union.maxima(into),
                union.maxima(out),
                union.totals(np.where(wide, outputs, 0)) / weights,
                union.maxima(outputs),
                union.totals(outputs),
                union.totals(np.where(wide, inputs, 0)) / weights,
                large,
                union.totals(logs) / np.maximum(union.totals(maps), 1),
                small,
                counts,
                union.totals(None, kind, num_kinds) if num_kinds else counts[:, :0],
                shortest,
                longest,
                union.totals(into, op, num_ops) / there,
                union.totals(out, op, num_ops) / there,
                np.log1p(union.totals(params, op, num_ops)),
                np.log1p(union.totals(flops // 2, op, num_ops)),
            )
        )


def _num_params(graphs: Sequence[ComputationalGraph], sums: NDArray[np.float64]) -> list[float]:
    """Scalars in the parameters of each graph; those that nodes share are counted once."""
    found = []
    for graph, total in zip(graphs, sums.tolist(), strict=True):
        names = list(chain.from_iterable(graph.param_names))
        found.append(total if len(set(names)) == len(names) else float(graph.num_params))
    return found


_Key = tuple[str, Any, Any, Any]


def _keys(graph: ComputationalGraph) -> Iterator[_Key]:
    """What the features depend on, of each node."""
    kernels = (tuple(found["kernel_size"]) if "kernel_size" in found else () for found in graph.attributes)
    return zip(graph.ops, graph.param_shapes, graph.out_shapes, kernels, strict=True)


def _describe(op: str, shapes: Any, out_shape: Any, kernel: tuple[int, ...]) -> _Node:
    first: tuple[int, ...] = shapes[0] if shapes else ()
    weight = len(first) >= 2
    if "conv" in op and len(first) > 2:
        kernel = tuple(first[2:])
    kind = f"{op} {'x'.join(map(str, kernel))}" if kernel else ""
    return _Node(
        op=op,
        kind=kind if "conv" in op or "pool" in op else "",
        params=float(sum(math.prod(shape) for shape in shapes)),
        outputs=math.log(max(1, first[0])) if weight else 0.0,
        inputs=math.log(max(1, first[1])) if weight else 0.0,
        weight=weight,
        # Feature maps are (n, channels, height, width); infinite where there is none.
        side=0.5 * math.log2(out_shape[-1] * out_shape[-2]) if len(out_shape) == 4 and min(out_shape) else math.inf,
        activations=float(math.prod(out_shape)) if out_shape else 0.0,
    )


class _NodeTable:
    """The facts of nodes as numbers; nodes that are alike are described once."""

    def __init__(self, ops: Sequence[str], kinds: Sequence[str]) -> None:
        self._op = {op: number for number, op in enumerate(ops)}
        self._kind = {kind: number for number, kind in enumerate(kinds)}
        self._places: dict[_Key, int] = {}
        self._rows: list[tuple[float, ...]] = []

    def facts(self, keys: Sequence[_Key]) -> NDArray[np.float64]:
        """The fields of :class:`_Node` by node; for operation and kind their numbers, or -1."""
        places = [self._place(key) for key in keys]
        return np.array(self._rows).T[:, places]

    def _place(self, key: _Key) -> int:
        found = self._places.get(key)
        if found is None:
            node = _describe(*key)
            found = self._places[key] = len(self._rows)
            self._rows.append((self._op.get(node.op, -1), self._kind.get(node.kind, -1), *map(float, node[2:])))
        return found
