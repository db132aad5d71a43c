"""What a graph looks like in a few numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ppuda_like.graph._distance import average_distance, levels
from ppuda_like.graph._graph import ComputationalGraph

__all__ = ["GraphProperties", "properties"]


@dataclass(frozen=True, kw_only=True)
class GraphProperties:
    """Properties of one computational graph, as :func:`properties` finds them.

    Attributes:
        num_nodes: number of operations.
        num_edges: number of distinct edges.
        average_degree: edges per node, incoming and outgoing together: ``2 * num_edges / num_nodes``.
        average_path_length: mean shortest path length, in edges, over the ordered pairs joined by a directed path.
        depth: longest path, in edges.
        width: largest number of nodes on one level, a node's level being its longest path from the sources.
        op_counts: number of nodes of each operation, the most frequent first.
        num_params: scalars in all parameters that the graph holds, shared ones counted once.
        flops: floating-point operations of one forward pass, a multiply-accumulate counting as two.
        macs: multiply-accumulates of one forward pass, half of ``flops``.
    """

    num_nodes: int
    num_edges: int
    average_degree: float
    average_path_length: float
    depth: int
    width: int
    op_counts: dict[str, int] = field(hash=False)
    num_params: int
    flops: int
    macs: int


def properties(graph: ComputationalGraph) -> GraphProperties:
    """The properties of a graph, full or lowered.

    Example:
        >>> from ppuda_like.graph import ComputationalGraph, make_edge_index
        >>> residual = ComputationalGraph(
        ...     ops=("input", "conv", "sum"),
        ...     edge_index=make_edge_index([(0, 1), (1, 2), (0, 2)]),
        ...     inputs=(0,),
        ...     outputs=(2,),
        ... )
        >>> found = properties(residual)
        >>> found.depth, found.width, found.average_degree, found.average_path_length
        (2, 1, 2.0, 1.0)
    """
    level = levels(graph)
    return GraphProperties(
        num_nodes=graph.num_nodes,
        num_edges=graph.num_edges,
        average_degree=2 * graph.num_edges / graph.num_nodes,
        average_path_length=average_distance(graph.edge_index, graph.num_nodes),
        depth=int(level.max()),
        width=int(level.bincount().max()),
        op_counts=dict(Counter(graph.ops).most_common()),
        num_params=graph.num_params,
        flops=graph.total_flops,
        macs=graph.macs,
    )
