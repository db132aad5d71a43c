import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ppuda_like.graph import PPUDA, ComputationalGraph, vocabulary
from ppuda_like.testing import dags, permuted, random_graphs, topological_orders


@settings(max_examples=60, deadline=None)
@given(dags(min_nodes=2, max_nodes=15))
def test_dags_are_forward_and_distinct(dag: tuple[Tensor, int]) -> None:
    edge_index, num_nodes = dag
    edges = [(u, v) for u, v in edge_index.t().tolist()]
    assert 2 <= num_nodes <= 15
    assert edges == sorted(set(edges), key=lambda edge: (edge[1], edge[0]))
    assert all(0 <= u < v < num_nodes for u, v in edges)


@settings(max_examples=60, deadline=None)
@given(random_graphs(min_nodes=3, max_nodes=15))
def test_graphs_are_connected(graph: ComputationalGraph) -> None:
    assert 3 <= graph.num_nodes <= 15
    drawn = graph.to_networkx()
    last = graph.num_nodes - 1
    assert nx.descendants(drawn, 0) == set(range(1, last + 1))
    assert nx.ancestors(drawn, last) == set(range(last))
    assert (graph.ops[0], graph.inputs, graph.outputs, graph.vocabulary) == ("input", (0,), (last,), "ppuda")
    assert all(op in PPUDA for op in graph.ops)
    held = [path for paths in graph.param_names for path in paths]
    assert len(set(held)) == len(held)
    assert ComputationalGraph.from_json(graph.to_json()) == graph


@settings(max_examples=60, deadline=None)
@given(random_graphs(max_nodes=6, ops=("conv", "embedding")), random_graphs(max_nodes=6, ops=("relu", "add")))
def test_vocabulary_follows_the_operations(extended: ComputationalGraph, full: ComputationalGraph) -> None:
    assert set(extended.ops[1:]) <= {"conv", "embedding"}
    assert all(op in vocabulary("extended") for op in extended.ops)
    assert (extended.vocabulary, full.vocabulary) == ("extended", None)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_topological_orders_keep_edges_forward(data: st.DataObject) -> None:
    graph = data.draw(random_graphs(max_nodes=12))
    order = data.draw(topological_orders(graph))
    assert sorted(order) == list(range(graph.num_nodes))
    other = permuted(graph, order)
    assert [other.names[i] for i in range(graph.num_nodes)] == [graph.names[old] for old in order]
    renamed = {(order[u], order[v]) for u, v in other.edge_index.t().tolist()}
    assert renamed == {(u, v) for u, v in graph.edge_index.t().tolist()}
