import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from ppuda_like.errors import DataError, GraphError
from ppuda_like.graph import ComputationalGraph, make_edge_index
from ppuda_like.predictors import PositionalEncoding, positional_encoding
from ppuda_like.testing import permuted, random_graphs, topological_orders


def undirected(graph: ComputationalGraph) -> nx.Graph:
    return graph.to_networkx().to_undirected()


@settings(max_examples=25, deadline=None)
@given(random_graphs(max_nodes=10), st.integers(1, 7))
def test_return_probabilities_are_those_of_the_walk(graph, k):
    adjacency = nx.to_numpy_array(undirected(graph), nodelist=range(graph.num_nodes))
    walk = adjacency / adjacency.sum(axis=1, keepdims=True)
    wanted = np.stack([np.diag(np.linalg.matrix_power(walk, steps)) for steps in range(2, k + 2)], axis=1)
    np.testing.assert_allclose(positional_encoding(graph, k)[:, :k], wanted, atol=1e-6)
    np.testing.assert_allclose(PositionalEncoding(k).fit_transform([graph])[0, k:], wanted.mean(axis=0), atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(random_graphs(max_nodes=10), st.integers(1, 12))
def test_eigenvalues_are_those_of_the_normalised_laplacian(graph, k):
    spectrum = np.sort(nx.normalized_laplacian_spectrum(undirected(graph)))
    wanted = np.concatenate((spectrum, np.full(k, 2.0)))[1 : k + 1]
    np.testing.assert_allclose(PositionalEncoding(k).fit_transform([graph])[0, :k], wanted, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(random_graphs(max_nodes=10))
def test_lengths_of_the_longest_paths(graph):
    drawn = graph.to_networkx()
    depth = nx.dag_longest_path_length(drawn)
    for node, row in enumerate(positional_encoding(graph, 1)):
        before = nx.dag_longest_path_length(drawn.subgraph({node} | nx.ancestors(drawn, node)))
        after = nx.dag_longest_path_length(drawn.subgraph({node} | nx.descendants(drawn, node)))
        wanted = torch.tensor([before / depth, after / depth, np.log1p(before), np.log1p(after)], dtype=torch.float)
        torch.testing.assert_close(row[1:], wanted)


@settings(max_examples=20, deadline=None)
@given(random_graphs(max_nodes=12), st.data())
def test_nodes_may_come_in_any_order(graph, data):
    order = data.draw(topological_orders(graph))
    other = permuted(graph, order)
    torch.testing.assert_close(positional_encoding(other), positional_encoding(graph)[order])
    encoding = PositionalEncoding()
    np.testing.assert_allclose(encoding.transform([other]), encoding.transform([graph]), atol=1e-9)


def test_a_single_node():
    graph = ComputationalGraph(ops=("input",), edge_index=make_edge_index([]), inputs=(0,), outputs=(0,))
    assert positional_encoding(graph, 2).tolist() == [[0.0] * 6]
    assert PositionalEncoding(2).transform([graph]).tolist() == [[2.0, 2.0, 0.0, 0.0]]


def test_names_and_bad_input():
    encoding = clone(PositionalEncoding(3))
    assert list(encoding.get_feature_names_out()[[0, -1]]) == ["eigenvalue 2", "return probability 4"]
    assert encoding.transform([]).shape == (0, 6)
    with pytest.raises(GraphError, match="entry 0 must be a ComputationalGraph"):
        encoding.transform([3])
    with pytest.raises(DataError, match="'k' must be at least 1"):
        PositionalEncoding(0).fit([])
