from dataclasses import asdict

import networkx as nx
import pytest
from hypothesis import given, settings

from ppuda_like.graph import ComputationalGraph, make_edge_index, properties
from ppuda_like.testing import random_graphs


def test_inception_like_block() -> None:
    graph = ComputationalGraph(
        ops=("input", "conv", "conv", "max_pool", "concat"),
        edge_index=make_edge_index([(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)]),
        inputs=(0,),
        outputs=(4,),
        param_names=((), ("a.weight",), ("a.weight",), (), ()),
        param_shapes=((), ((8, 3, 1, 1),), ((8, 3, 1, 1),), (), ()),
        flops=(0, 20, 20, 0, 0),
    )
    assert asdict(properties(graph)) == {
        "num_nodes": 5,
        "num_edges": 6,
        "average_degree": 2.4,
        "average_path_length": pytest.approx(8 / 7),
        "depth": 2,
        "width": 3,
        "op_counts": {"conv": 2, "input": 1, "max_pool": 1, "concat": 1},
        "num_params": 24,
        "flops": 40,
        "macs": 20,
    }


def test_single_node() -> None:
    found = properties(ComputationalGraph(ops=("input",), edge_index=make_edge_index([]), inputs=(0,), outputs=(0,)))
    assert (found.average_degree, found.average_path_length, found.depth, found.width) == (0.0, 0.0, 0, 1)


@settings(max_examples=60, deadline=None)
@given(random_graphs(max_nodes=20))
def test_agrees_with_networkx(graph: ComputationalGraph) -> None:
    found, expected = properties(graph), graph.to_networkx()
    assert found.depth == nx.dag_longest_path_length(expected)
    assert found.width == max(map(len, nx.topological_generations(expected)))
    degrees = [degree for _, degree in expected.degree]
    assert found.average_degree == pytest.approx(sum(degrees) / len(degrees))
    assert sum(found.op_counts.values()) == graph.num_nodes
    assert list(found.op_counts.values()) == sorted(found.op_counts.values(), reverse=True)
    assert hash(found) == hash(properties(graph))
