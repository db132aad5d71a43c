import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from torchvision.models import mobilenet_v3_small

from ppuda_like.deepnets import NetworkConfig, network_graph, sample_network
from ppuda_like.errors import DataError, GraphError
from ppuda_like.graph import PPUDA, ComputationalGraph, make_edge_index, properties, trace
from ppuda_like.predictors import GraphFeatures
from ppuda_like.testing import permuted, random_graphs, topological_orders


def row_of(graph: ComputationalGraph, features: GraphFeatures | None = None) -> dict[str, float]:
    features = features or GraphFeatures().fit([graph])
    return dict(zip(features.get_feature_names_out(), features.transform([graph])[0], strict=True))


@settings(max_examples=30, deadline=None)
@given(random_graphs(max_nodes=9))
def test_paths_agree_with_their_enumeration(graph):
    row = row_of(graph)
    paths = list(nx.all_simple_paths(graph.to_networkx(), 0, graph.outputs[0]))
    assert row["log paths"] == pytest.approx(math.log(len(paths)))
    assert (row["shortest path"], row["longest path"]) == (min(map(len, paths)), max(map(len, paths)))
    for op in set(graph.ops):
        counts = [sum(graph.ops[node] == op for node in path) for path in paths]
        assert (row[f"shortest path {op}"], row[f"longest path {op}"]) == (min(counts), max(counts))


@settings(max_examples=30, deadline=None)
@given(random_graphs(max_nodes=12))
def test_counts_and_degrees_agree_with_networkx(graph):
    row, drawn, found = row_of(graph), graph.to_networkx(), properties(graph)
    for op in PPUDA.primitives:
        nodes = [node for node in drawn if graph.ops[node] == op]
        assert row.get(f"count {op}", 0) == len(nodes)
        if nodes:
            assert row[f"mean in-degree {op}"] == pytest.approx(np.mean([drawn.in_degree(node) for node in nodes]))
            assert row[f"mean out-degree {op}"] == pytest.approx(np.mean([drawn.out_degree(node) for node in nodes]))
    assert row["max in-degree"] == max(dict(drawn.in_degree()).values())
    assert row["max out-degree"] == max(dict(drawn.out_degree()).values())
    assert row["depth"] == nx.dag_longest_path_length(drawn)
    assert (row["nodes"], row["edges"], row["width"]) == (found.num_nodes, found.num_edges, found.width)
    assert row["mean path length"] == pytest.approx(found.average_path_length)
    assert row["log parameters"] == pytest.approx(math.log1p(graph.num_params))


@settings(max_examples=20, deadline=None)
@given(random_graphs(max_nodes=12), st.data())
def test_the_order_of_nodes_does_not_matter(graph, data):
    features = GraphFeatures().fit([graph])
    other = permuted(graph, data.draw(topological_orders(graph)))
    np.testing.assert_allclose(features.transform([other]), features.transform([graph]))


@settings(max_examples=10, deadline=None)
@given(st.lists(random_graphs(max_nodes=10), min_size=1, max_size=5))
def test_graphs_together_and_alone_have_the_same_features(graphs):
    features = GraphFeatures().fit(graphs)
    alone = np.concatenate([features.transform([graph]) for graph in graphs])
    np.testing.assert_allclose(features.transform([*graphs, graphs[0]]), np.concatenate((alone, alone[:1])))


def test_generated_networks():
    graphs = [network_graph(sample_network("val", i)) for i in range(6)]
    features = GraphFeatures().fit(graphs)
    table = features.transform(graphs)
    assert np.isfinite(table).all()
    names = list(features.get_feature_names_out())
    assert len(set(names)) == len(names) == table.shape[1]
    np.testing.assert_allclose(table[:, names.index("log MACs")], np.log1p([graph.macs for graph in graphs]))
    kinds = [i for i, name in enumerate(names) if name.startswith("count conv ")]
    linear = [sum(op == "conv" and len(s[0]) == 2 for op, s in zip(g.ops, g.param_shapes, strict=True)) for g in graphs]
    np.testing.assert_array_equal(table[:, kinds].sum(axis=1) + linear, table[:, names.index("count conv")])


def test_resolutions_and_widths_of_a_known_network():
    graph = network_graph(NetworkConfig(C=16, n_cells=3))
    row = row_of(graph)
    assert (row["max log side"], row["min log side"]) == (5, 0)  # 32 pixels, 1 after the pooling
    assert row["max log output channels"] == pytest.approx(math.log(64))
    assert row["log activations"] == pytest.approx(math.log1p(sum(math.prod(shape) for shape in graph.out_shapes)))


def test_parameters_that_nodes_share_count_once():
    graph = ComputationalGraph(
        ops=("input", "conv", "conv"),
        edge_index=make_edge_index([(0, 1), (1, 2)]),
        inputs=(0,),
        outputs=(2,),
        param_names=((), ("w",), ("w",)),
        param_shapes=((), ((4, 4, 1, 1),), ((4, 4, 1, 1),)),
    )
    assert row_of(graph)["log parameters"] == pytest.approx(math.log(17))


def test_any_view_of_a_network():
    full = trace(mobilenet_v3_small(num_classes=10), (1, 3, 32, 32))
    for graph in (full, full.lower("ppuda"), full.lower("extended")):
        row = row_of(graph)
        assert row["nodes"] == graph.num_nodes
        assert row["log parameters"] == pytest.approx(math.log1p(graph.num_params))


def chain(*ops: str) -> ComputationalGraph:
    edges = make_edge_index([(i, i + 1) for i in range(len(ops) - 1)])
    return ComputationalGraph(ops=ops, edge_index=edges, inputs=(0,), outputs=(len(ops) - 1,), name="chain")


def test_operations_not_seen_are_named_or_left_out():
    known, new = chain("input", "conv"), chain("input", "swish", "conv", "fft")
    features = GraphFeatures().fit([known])
    with pytest.raises(GraphError, match=r"graph 1 \('chain'\) .* 'fft', 'swish' .*known: conv, input"):
        features.transform([known, new])
    row = row_of(new, GraphFeatures(unknown="ignore").fit([known]))
    assert (row["nodes"], row["count conv"], row["longest path"]) == (4, 1, 4)
    assert row_of(new, GraphFeatures(ops=("swish", "fft")).fit([known]))["count fft"] == 1


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="at least one graph"):
        GraphFeatures().fit([])
    with pytest.raises(DataError, match="'unknown' must be"):
        GraphFeatures(unknown="drop").fit([chain("input")])
    with pytest.raises(GraphError, match="entry 1 must be a ComputationalGraph"):
        GraphFeatures().fit([chain("input"), "resnet18"])
    with pytest.raises(GraphError, match="wrap it in a list"):
        GraphFeatures().fit(chain("input"))
    with pytest.raises(NotFittedError):
        GraphFeatures().transform([chain("input")])
    apart = ComputationalGraph(
        ops=("input", "conv", "bn"), edge_index=make_edge_index([(0, 1)]), inputs=(0,), outputs=(2,)
    )
    with pytest.raises(GraphError, match="no path leads from the inputs of graph 1 to its main output, node 2"):
        GraphFeatures().fit([apart]).transform([chain("input", "conv"), apart])


def test_scikit_learn_takes_it():
    graphs = [network_graph(sample_network("train", i)) for i in range(12)]
    sizes = np.log([graph.num_params for graph in graphs])
    model = make_pipeline(GraphFeatures(unknown="ignore"), RandomForestRegressor(10, random_state=0))
    scores = cross_val_score(clone(model), graphs, sizes, cv=3)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()
