"""Random graphs for hypothesis; examples shrink towards a short chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from ppuda_like.graph import EXTENDED, PPUDA, ComputationalGraph, Shape, make_edge_index

__all__ = ["dags", "random_graphs", "topological_orders"]

_CHANNELS = (1, 3, 8, 10, 16, 20, 64)
_KERNELS = (1, 3, 5, 7)


def dags(min_nodes: int = 1, max_nodes: int = 20, *, density: float = 0.5) -> SearchStrategy[tuple[Tensor, int]]:
    """Directed acyclic graphs as (edge_index, num_nodes): edges distinct, forward, in order; not always connected.

    Args:
        min_nodes: fewest nodes, at least 1.
        max_nodes: most nodes.
        density: most edges, as a share of all pairs of nodes.

    Example:
        >>> from hypothesis import given
        >>> @given(dags())
        ... def test_edges_point_forward(dag):
        ...     edge_index, num_nodes = dag
        ...     assert (edge_index[0] < edge_index[1]).all() and (edge_index < num_nodes).all()
        >>> test_edges_point_forward()
    """

    @st.composite
    def build(draw: DrawFn) -> tuple[Tensor, int]:
        num_nodes = draw(st.integers(min_nodes, max_nodes))
        most = int(density * num_nodes * (num_nodes - 1) / 2)
        return make_edge_index(draw(_forward_edges(num_nodes, most))), num_nodes

    return build()


def random_graphs(
    min_nodes: int = 2,
    max_nodes: int = 20,
    *,
    ops: Sequence[str] = PPUDA.primitives,
    span: int = 10,
    density: float = 0.2,
) -> SearchStrategy[ComputationalGraph]:
    """Valid, connected lowered graphs: node 0 is the input and leads to all nodes, all nodes lead to the last one.

    Convolutions, norms, biases and positional encodings hold parameters of fitting shapes under distinct names, pooling
    nodes a kernel size.  Otherwise operations are put anywhere: the graphs are not meant to compute.

    Args:
        min_nodes: fewest nodes, at least 2.
        max_nodes: most nodes.
        ops: operations of the nodes but the first, whose operation is ``"input"``.
        span: how many nodes back the first source of a node lies at most.
        density: most further edges, as a share of all pairs of nodes.
    """
    others = [op for op in ops if op != "input"]
    known = next((known.name for known in (PPUDA, EXTENDED) if all(op in known for op in others)), None)

    @st.composite
    def build(draw: DrawFn) -> ComputationalGraph:
        num_nodes = draw(st.integers(min_nodes, max_nodes))
        edges = {(node - draw(st.integers(1, min(span, node))), node) for node in range(1, num_nodes)}
        edges |= set(draw(_forward_edges(num_nodes, int(density * num_nodes * (num_nodes - 1) / 2))))
        leading = {source for source, _ in edges}
        edges |= {(node, num_nodes - 1) for node in range(num_nodes - 1) if node not in leading}
        drawn = [draw(st.sampled_from(others)) for _ in range(1, num_nodes)]
        held = [draw(_parameters(op)) for op in drawn]
        return ComputationalGraph(
            ops=("input", *drawn),
            names=("input", *(f"layer{i}" for i in range(1, num_nodes))),
            edge_index=make_edge_index(edges),
            inputs=(0,),
            outputs=(num_nodes - 1,),
            param_names=((), *(tuple(f"layer{i}.{name}" for name in shapes) for i, (shapes, _) in enumerate(held, 1))),
            param_shapes=((), *(tuple(shapes.values()) for shapes, _ in held)),
            attributes=({}, *(attributes for _, attributes in held)),
            vocabulary=known,
        )

    return build()


def topological_orders(graph: ComputationalGraph) -> SearchStrategy[list[int]]:
    """Orders of a graph's nodes in which every edge points forward; see :func:`permuted`."""

    @st.composite
    def build(draw: DrawFn) -> list[int]:
        waiting = [len(sources) for sources in graph.predecessors()]
        targets = graph.successors()
        ready = [node for node, count in enumerate(waiting) if not count]
        order: list[int] = []
        while ready:
            node = ready.pop(draw(st.integers(0, len(ready) - 1)))
            order.append(node)
            for target in targets[node]:
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
        return order

    return build()


def _forward_edges(num_nodes: int, most: int) -> SearchStrategy[list[tuple[int, int]]]:
    """Up to ``most`` edges, repeats included."""
    if num_nodes < 2 or most < 1:
        return st.just([])
    pair = st.integers(1, num_nodes - 1).flatmap(lambda target: st.tuples(st.integers(0, target - 1), st.just(target)))
    return st.lists(pair, max_size=most)


def _parameters(op: str) -> SearchStrategy[tuple[dict[str, Shape], dict[str, Any]]]:
    """Shapes of the parameters that a primitive holds, by name, and its attributes."""
    size, kernel = st.sampled_from(_CHANNELS), st.sampled_from(_KERNELS)
    if op in ("conv", "sep_conv", "dil_conv"):
        return st.builds(lambda o, i, k: ({"weight": (o, 1 if op != "conv" else i, k, k)}, {}), size, size, kernel)
    if op == "bias":
        return st.builds(lambda n: ({"bias": (n,)}, {}), size)
    if op in ("bn", "ln"):
        return st.builds(lambda n: ({"weight": (n,), "bias": (n,)}, {}), size)
    if op == "pos_enc":
        return st.builds(lambda n: ({"weight": (1, 49, n)}, {}), size)
    if op in ("max_pool", "avg_pool"):
        return st.builds(lambda k: ({}, {"kernel_size": [k, k]}), kernel)
    return st.just(({}, {}))
