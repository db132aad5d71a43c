"""Squeeze-and-excitation blocks, found in a full trace by their structure."""

from __future__ import annotations

from ppuda_like.graph._graph import ComputationalGraph

__all__ = ["squeeze_excitations"]

# Between pooling and multiplication stand two convolutions or linear layers, activations and reshapes.
_LONGEST_GATE = 16


def squeeze_excitations(graph: ComputationalGraph, sources: list[list[int]]) -> tuple[set[int], set[int]]:
    """The poolings and the final multiplications of all squeeze-and-excitation blocks (arXiv:1709.01507).

    A block is a product x * gate(pool(x)) whose gate is a chain of operations with at least one weight.

    Args:
        graph: a full trace.
        sources: its :meth:`~ComputationalGraph.predecessors`.

    Returns:
        The ids of the pooling nodes, and those of the multiplication nodes.
    """
    pools: set[int] = set()
    products: set[int] = set()
    for node, op in enumerate(graph.ops):
        if op != "mul" or len(sources[node]) != 2:
            continue
        for gate, data in (sources[node], sources[node][::-1]):
            pool = _pool_behind(graph, sources, gate, data)
            if pool is not None:
                pools.add(pool)
                products.add(node)
    return pools, products


def _pool_behind(graph: ComputationalGraph, sources: list[list[int]], gate: int, data: int) -> int | None:
    weighted = False
    node = gate
    for _ in range(_LONGEST_GATE):
        if graph.ops[node].startswith(("adaptive_avg_pool", "mean")):
            return node if weighted and data in sources[node] else None
        weighted = weighted or graph.ops[node] in ("conv1d", "conv2d", "conv3d", "linear")
        if len(sources[node]) != 1:
            return None
        node = sources[node][0]
    return None
