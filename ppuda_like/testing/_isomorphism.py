"""Whether two graphs are the same but for the order of their nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import networkx as nx

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph, make_edge_index

__all__ = ["assert_isomorphic", "permuted"]

Label = Callable[[ComputationalGraph, int], Hashable]


def assert_isomorphic(a: ComputationalGraph, b: ComputationalGraph, label: Label | None = None) -> list[int]:
    """Assert that some renaming of nodes turns one graph into the other, labels and all edges kept.

    Nodes are told apart by their label and then, round by round, by the labels of their sources and targets
    (Weisfeiler-Lehman colours, in both directions).  Where that leaves no two nodes alike it has found the renaming;
    otherwise networkx searches among those alike.

    Args:
        a: one graph.
        b: the other.
        label: what must agree besides the edges, from a graph and a node id; the operation by default.

    Returns:
        The node of ``b`` that each node of ``a`` corresponds to.

    Raises:
        AssertionError: if there is no such renaming; the message tells the first difference.

    Example:
        >>> a = ComputationalGraph(
        ...     ops=("input", "conv", "bn", "sum"),
        ...     edge_index=make_edge_index([(0, 1), (0, 2), (1, 3), (2, 3)]),
        ...     inputs=(0,),
        ...     outputs=(3,),
        ... )
        >>> assert_isomorphic(a, permuted(a, [0, 2, 1, 3]))
        [0, 2, 1, 3]
    """
    names = [[label(graph, node) if label else graph.ops[node] for node in range(graph.num_nodes)] for graph in (a, b)]
    _compare(Counter(names[0]), Counter(names[1]), "nodes with label")
    if a.num_edges != b.num_edges:
        raise AssertionError(f"the graphs differ: {a.num_edges} and {b.num_edges} edges")
    table: dict[Hashable, int] = {}
    colors = [[table.setdefault(name, len(table)) for name in side] for side in names]
    before = [graph.predecessors() for graph in (a, b)]
    after = [graph.successors() for graph in (a, b)]
    count, round_number = 0, 0
    while count < len(set(colors[0])):
        count, round_number = len(set(colors[0])), round_number + 1
        seen: list[list[Hashable]] = [
            [
                (side[node], tuple(sorted(side[x] for x in into[node])), tuple(sorted(side[x] for x in out[node])))
                for node in range(len(side))
            ]
            for side, into, out in zip(colors, before, after, strict=True)
        ]
        _explain((a, b), seen, names, round_number)
        table = {}
        colors = [[table.setdefault(one, len(table)) for one in side] for side in seen]
    if count == a.num_nodes:
        where = {color: node for node, color in enumerate(colors[1])}
        return [where[color] for color in colors[0]]
    sides = []
    for graph, side in zip((a, b), colors, strict=True):
        drawn = nx.DiGraph(graph.edge_index.t().tolist())
        drawn.add_nodes_from((node, {"color": color}) for node, color in enumerate(side))
        sides.append(drawn)
    found: dict[int, int] | None = nx.vf2pp_isomorphism(*sides, node_label="color")
    if found is None:
        raise AssertionError("the graphs differ: every node has its like in the other graph, but edges do not match")
    return [found[node] for node in range(a.num_nodes)]


def permuted(graph: ComputationalGraph, order: Sequence[int]) -> ComputationalGraph:
    """The same graph with its nodes in another order, which must keep edges pointing forward.

    Args:
        graph: any graph.
        order: the old id of each new node.

    Raises:
        GraphError: if ``order`` is no permutation, or an edge would point backward.
    """
    if sorted(order) != list(range(graph.num_nodes)):
        raise GraphError(f"'order' must hold every node id 0..{graph.num_nodes - 1} once (got {list(order)})")
    new = {old: i for i, old in enumerate(order)}
    return ComputationalGraph(
        name=graph.name,
        vocabulary=graph.vocabulary,
        ops=tuple(graph.ops[old] for old in order),
        names=tuple(graph.names[old] for old in order),
        edge_index=make_edge_index((new[source], new[target]) for source, target in graph.edge_index.t().tolist()),
        inputs=tuple(new[old] for old in graph.inputs),
        outputs=tuple(new[old] for old in graph.outputs),
        param_names=tuple(graph.param_names[old] for old in order),
        param_shapes=tuple(graph.param_shapes[old] for old in order),
        out_shapes=tuple(graph.out_shapes[old] for old in order),
        attributes=tuple(graph.attributes[old] for old in order),
        flops=tuple(graph.flops[old] for old in order),
        unreached=graph.unreached,
        tied=graph.tied,
    )


def _compare(a: Counter[Hashable], b: Counter[Hashable], what: str) -> None:
    if a != b:
        only = [f"{key!r}: {a[key]} and {b[key]}" for key in sorted({*a, *b}, key=repr) if a[key] != b[key]]
        raise AssertionError(f"the graphs differ: numbers of {what} " + ", ".join(only[:8]))


def _explain(
    graphs: tuple[ComputationalGraph, ComputationalGraph],
    seen: list[list[Hashable]],
    names: list[list[Hashable]],
    round_number: int,
) -> None:
    """Raise where one graph has more nodes of one kind than the other, showing one of them."""
    counts = [Counter(side) for side in seen]
    for one, other, which in ((0, 1, "first"), (1, 0, "second")):
        for node, kind in enumerate(seen[one]):
            if counts[one][kind] > counts[other][kind]:
                graph, name = graphs[one], names[one]
                sources = sorted(str(name[x]) for x in graph.predecessors()[node])
                targets = sorted(str(name[x]) for x in graph.successors()[node])
                raise AssertionError(
                    f"the graphs differ within {round_number} step(s) of node {node} ('{graph.names[node]}') of the "
                    f"{which}: {name[node]!r} with sources {sources} and targets {targets}; there are "
                    f"{counts[one][kind]} of its kind, {counts[other][kind]} in the other graph"
                )
