import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph, make_edge_index
from ppuda_like.testing import assert_isomorphic, permuted, random_graphs, topological_orders


def graph_of(ops: str, edges: list[tuple[int, int]]) -> ComputationalGraph:
    names = tuple(ops.split())
    return ComputationalGraph(ops=names, edge_index=make_edge_index(edges), inputs=(0,), outputs=(len(names) - 1,))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_another_order_is_found(data: st.DataObject) -> None:
    graph = data.draw(random_graphs(max_nodes=15, ops=("conv", "bn")))
    other = permuted(graph, data.draw(topological_orders(graph)))
    mapping = assert_isomorphic(graph, other)
    assert [other.ops[node] for node in mapping] == list(graph.ops)
    moved = {(mapping[u], mapping[v]) for u, v in graph.edge_index.t().tolist()}
    assert moved == {(u, v) for u, v in other.edge_index.t().tolist()}


@settings(max_examples=120, deadline=None)
@given(random_graphs(min_nodes=5, max_nodes=6, ops=("conv",)), random_graphs(min_nodes=5, max_nodes=6, ops=("conv",)))
def test_agrees_with_networkx(a: ComputationalGraph, b: ComputationalGraph) -> None:
    same = nx.is_isomorphic(a.to_networkx(), b.to_networkx(), node_match=lambda x, y: x["op"] == y["op"])
    if same:
        assert_isomorphic(a, b)
    else:
        with pytest.raises(AssertionError, match="the graphs differ"):
            assert_isomorphic(a, b)


def test_symmetric_branches_need_the_search() -> None:
    edges = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)]
    graph = graph_of("input conv conv conv sum", edges)
    assert sorted(assert_isomorphic(graph, graph)) == [0, 1, 2, 3, 4]


def test_search_refuses_what_colors_cannot_tell() -> None:
    def cycles(*sizes: int) -> ComputationalGraph:
        # Bipartite cycles: tops point at bottoms, every top has two targets and every bottom two sources.
        half, edges, start = sum(sizes), [], 0
        for size in sizes:
            edges += [(start + i, half + start + i) for i in range(size)]
            edges += [(start + i, half + start + (i + 1) % size) for i in range(size)]
            start += size
        return graph_of("conv " * half + "bn " * half, edges)

    assert_isomorphic(cycles(3, 3), cycles(3, 3))
    with pytest.raises(AssertionError, match="every node has its like in the other graph, but edges do not match"):
        assert_isomorphic(cycles(3, 3), cycles(6))


def test_messages_name_the_first_difference() -> None:
    a = graph_of("input conv bn", [(0, 1), (1, 2)])
    with pytest.raises(AssertionError, match=r"numbers of nodes with label 'bn': 1 and 0, 'ln': 0 and 1"):
        assert_isomorphic(a, graph_of("input conv ln", [(0, 1), (1, 2)]))
    with pytest.raises(AssertionError, match="2 and 3 edges"):
        assert_isomorphic(a, graph_of("input conv bn", [(0, 1), (0, 2), (1, 2)]))
    with pytest.raises(
        AssertionError,
        match=r"differ within 1 step\(s\) of node 0 \(''\) of the first: 'input' with sources \[\] and "
        r"targets \['conv'\]; there are 1 of its kind, 0 in the other graph",
    ):
        assert_isomorphic(a, graph_of("input bn conv", [(0, 1), (1, 2)]))


def test_labels_of_ones_own() -> None:
    def with_shape(size: int) -> ComputationalGraph:
        return ComputationalGraph(
            ops=("input", "conv"),
            edge_index=make_edge_index([(0, 1)]),
            inputs=(0,),
            outputs=(1,),
            param_names=((), ("weight",)),
            param_shapes=((), ((size, 3),)),
        )

    assert_isomorphic(with_shape(4), with_shape(5))
    with pytest.raises(AssertionError, match=r"label \('conv', \(\(4, 3\),\)\): 1 and 0"):
        assert_isomorphic(with_shape(4), with_shape(5), label=lambda graph, i: (graph.ops[i], graph.param_shapes[i]))


def test_graphs_without_edges() -> None:
    assert assert_isomorphic(graph_of("input", []), graph_of("input", [])) == [0]
    assert sorted(assert_isomorphic(graph_of("a a", []), graph_of("a a", []))) == [0, 1]


def test_bad_order_is_refused() -> None:
    graph = graph_of("input conv", [(0, 1)])
    with pytest.raises(GraphError, match=r"'order' must hold every node id 0\.\.1 once \(got \[0, 0\]\)"):
        permuted(graph, [0, 0])
    with pytest.raises(GraphError, match="must point forward"):
        permuted(graph, [1, 0])
