import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph, levels, virtual_edges
from ppuda_like.predictors._gnn_data import NODE_FEATURES, Encoder, Standardizer, collate
from ppuda_like.testing import random_graphs, topological_orders
from tests.predictors.gnn_cases import chain, reordered


def column(encoder: Encoder, graph: ComputationalGraph, name: str) -> np.ndarray:
    return encoder(graph).x[:, NODE_FEATURES.index(name)]


@settings(max_examples=20, deadline=None)
@given(random_graphs())
def test_places_of_nodes(graph: ComputationalGraph) -> None:
    encoder = Encoder.fit([graph])
    last = graph.num_nodes - 1
    backward = reordered_backward(graph)
    np.testing.assert_allclose(column(encoder, graph, "log_level"), np.log1p(levels(graph).numpy()), rtol=1e-6)
    np.testing.assert_allclose(
        column(encoder, graph, "log_height"), np.log1p(levels(backward).numpy()[::-1]), rtol=1e-6
    )
    degrees = [len(sources) for sources in graph.predecessors()]
    np.testing.assert_allclose(column(encoder, graph, "log_in_degree"), np.log1p(degrees), rtol=1e-6)
    assert column(encoder, graph, "is_output").nonzero()[0].tolist() == [last]


def reordered_backward(graph: ComputationalGraph) -> ComputationalGraph:
    """The graph with all edges turned round."""
    last = graph.num_nodes - 1
    edges = last - graph.edge_index.flip(0)
    return ComputationalGraph(ops=graph.ops[::-1], edge_index=edges, inputs=(0,), outputs=(last,))


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_features_go_with_their_nodes(data: st.DataObject) -> None:
    graph = data.draw(random_graphs())
    order = data.draw(topological_orders(graph))
    encoder = Encoder.fit([graph])
    before, after = encoder(graph), encoder(reordered(graph, order))
    np.testing.assert_array_equal(after.x, before.x[order])
    np.testing.assert_array_equal(after.op, before.op[order])
    np.testing.assert_array_equal(after.facts, before.facts)


@settings(max_examples=20, deadline=None)
@given(random_graphs(max_nodes=8), random_graphs(max_nodes=8))
def test_a_batch_is_its_graphs_side_by_side(one: ComputationalGraph, other: ComputationalGraph) -> None:
    encoder = Encoder.fit([one, other], virtual_cutoff=4)
    arrays = [encoder(one), encoder(other)]
    standardize = Standardizer(np.zeros(len(NODE_FEATURES)), np.ones(len(NODE_FEATURES)))
    batch = collate(arrays, np.zeros((2, 1), dtype=np.float32), standardize, virtual=True)
    total = one.num_nodes + other.num_nodes
    real, virtual = torch.zeros(total, total), torch.zeros(total, total)
    for graph, start in ((one, 0), (other, one.num_nodes)):
        for u, v in graph.edge_index.t().tolist():
            real[start + v, start + u] = 1
        pairs = virtual_edges(graph, 4)
        for (u, v), length in zip(pairs.edge_index.t().tolist(), pairs.distance.tolist(), strict=True):
            if length > 1:
                virtual[start + v, start + u] = 1 / length
    for (matrix, transposed), wanted in zip(batch.matrices, (real, virtual), strict=True):
        torch.testing.assert_close(matrix.to_dense(), wanted)
        torch.testing.assert_close(transposed.to_dense(), wanted.t())
    assert batch.graph.tolist() == [0] * one.num_nodes + [1] * other.num_nodes
    assert batch.output.tolist() == [one.num_nodes - 1, total - 1]


def test_unknown_operations_are_named() -> None:
    encoder = Encoder.fit([chain("input", "conv")], ops=("pool",))
    assert encoder.ops == ("conv", "input", "pool")
    with pytest.raises(GraphError, match=r"\['gelu', 'msa'\]"):
        encoder(chain("input", "msa", "gelu", "conv"))


def test_standardized_columns() -> None:
    columns = np.array([[1.0, 5.0], [3.0, 5.0]])
    standardize = Standardizer.fit(columns)
    assert standardize(columns).tolist() == [[-1, 0], [1, 0]]
    # What never varied is not blown up when it does.
    assert standardize(np.array([[1.0, 6.0]])).tolist() == [[-1, 1]]
