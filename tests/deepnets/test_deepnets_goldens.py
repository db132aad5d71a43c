"""Agreement with networks and graphs that the reference made."""

from collections import Counter
from typing import Any

import pytest

from ppuda_like.deepnets import DARTS, NetworkConfig, count_parameters
from ppuda_like.graph import ComputationalGraph, make_edge_index, trace
from ppuda_like.testing import assert_isomorphic

COUNTS = ("num_nodes", "num_params")
DARTS_CONFIG = NetworkConfig(C=32, n_cells=8, genotype=DARTS, stem_type=1, C_mult=2, preproc=True)


def config_of(net: dict[str, Any]) -> NetworkConfig:
    return NetworkConfig.from_dict({key: value for key, value in net.items() if key not in COUNTS})


def lowered(config: NetworkConfig) -> ComputationalGraph:
    return trace(config.build("meta")).lower("ppuda")


def stored(golden: dict[str, Any]) -> ComputationalGraph:
    """A golden graph; its first node is the input and its last one the output."""
    ops = tuple(golden["ops"])
    edges = make_edge_index((source, target) for source, target in golden["edges"])
    return ComputationalGraph(ops=ops, edge_index=edges, inputs=(0,), outputs=(len(ops) - 1,))


def test_parameter_counts_of_500_networks(golden_nets: dict[str, Any]) -> None:
    assert len(golden_nets["nets"]) == 500
    for index, net in enumerate(golden_nets["nets"]):
        config = config_of(net)
        found = [count_parameters(config.replace(is_imagenet_input=large)) for large in (False, True)]
        assert found == [net["num_params"]["cifar10"], net["num_params"]["imagenet"]], index


def test_parameter_counts_of_golden_graphs(golden_graphs: dict[str, Any]) -> None:
    for golden in golden_graphs["deepnets_test"]:
        config = config_of(golden["args"])
        found = sum(parameter.numel() for parameter in config.build("meta").parameters())
        assert found == golden["args"]["num_params"]["cifar10"], golden["index"]


@pytest.mark.parametrize("part", range(6))
def test_graphs_of_generated_networks(golden_graphs: dict[str, Any], part: int) -> None:
    for golden in golden_graphs["deepnets_test"][part::6]:
        assert_isomorphic(lowered(config_of(golden["args"])), stored(golden))


def test_graph_and_parameters_of_darts(golden_graphs: dict[str, Any], golden_nets: dict[str, Any]) -> None:
    golden = golden_graphs["networks"]["DARTS"]
    graph = lowered(DARTS_CONFIG)
    assert_isomorphic(graph, stored(golden))
    shapes = {name: tuple(shape) for name, shape in golden_nets["darts_parameters"].items()}
    assert len(shapes) == 326
    assert graph.params == shapes
    assert not graph.unreached
    net = DARTS_CONFIG.build("meta")
    assert [name for name, _ in net.named_parameters()] == list(shapes)


def test_parameter_nodes_of_any_network(golden_nets: dict[str, Any]) -> None:
    # Networks with attention and squeeze-and-excitation too, all of whose parameters the reference keeps, though not
    # all of the nodes that have none.
    kinds: set[str] = set()
    for index, rows in golden_nets["parameter_nodes"].items():
        net = golden_nets["nets"][int(index)]
        graph = lowered(config_of(net))
        ours = Counter((op, paths[0]) for op, paths in zip(graph.ops, graph.param_names, strict=True) if paths)
        assert ours == Counter(map(tuple, rows)), index
        extra = graph.num_nodes - net["num_nodes"]
        assert 0 <= extra <= graph.ops.count("msa") + graph.ops.count("cse"), index
        kinds.update(graph.ops)
    assert kinds >= {"msa", "cse", "pos_enc", "ln", "sep_conv", "dil_conv", "glob_avg", "max_pool"}
