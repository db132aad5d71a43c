"""Agreement with networks and graphs that the reference made."""

from collections import Counter
from typing import Any

import networkx as nx
import pytest

from ppuda_like.deepnets import DARTS, NetworkConfig, count_parameters
from ppuda_like.graph import ComputationalGraph, trace

COUNTS = ("num_nodes", "num_params")
DARTS_CONFIG = NetworkConfig(C=32, n_cells=8, genotype=DARTS, stem_type=1, C_mult=2, preproc=True)


def config_of(net: dict[str, Any]) -> NetworkConfig:
    return NetworkConfig.from_dict({key: value for key, value in net.items() if key not in COUNTS})


def lowered(config: NetworkConfig) -> ComputationalGraph:
    return trace(config.build("meta")).lower("ppuda")


def is_isomorphic(graph: ComputationalGraph, ops: list[str], edges: list[list[int]]) -> bool:
    """Whether a graph with these operations and edges is the same but for the numbering of its nodes."""
    refined = [_refined(graph.ops, graph.edge_index.t().tolist()), _refined(ops, edges)]
    colours = [Counter(colour for _, colour in found.nodes(data="colour")) for found in refined]
    return colours[0] == colours[1] and bool(nx.vf2pp_is_isomorphic(*refined, node_label="colour"))


def _refined(ops: Any, edges: list[list[int]]) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(ops)))
    graph.add_edges_from(map(tuple, edges))
    colours = {node: hash(op) for node, op in enumerate(ops)}
    for _ in range(12):
        colours = {
            node: hash(
                (
                    colours[node],
                    tuple(sorted(colours[other] for other in graph.pred[node])),
                    tuple(sorted(colours[other] for other in graph.succ[node])),
                )
            )
            for node in graph
        }
    nx.set_node_attributes(graph, colours, "colour")
    return graph


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
        graph = lowered(config_of(golden["args"]))
        assert is_isomorphic(graph, golden["ops"], golden["edges"]), golden["index"]


def test_graph_and_parameters_of_darts(golden_graphs: dict[str, Any], golden_nets: dict[str, Any]) -> None:
    golden = golden_graphs["networks"]["DARTS"]
    graph = lowered(DARTS_CONFIG)
    assert is_isomorphic(graph, golden["ops"], golden["edges"])
    shapes = {name: tuple(shape) for name, shape in golden_nets["darts_parameters"].items()}
    assert len(shapes) == 326
    assert graph.params == shapes
    assert not graph.unreached
    net = DARTS_CONFIG.build("meta")
    assert [name for name, _ in net.named_parameters()] == list(shapes)


def test_isomorphism_is_told_from_its_absence(golden_graphs: dict[str, Any]) -> None:
    golden = golden_graphs["deepnets_test"][0]
    graph = lowered(config_of(golden["args"]))
    ops = golden["ops"]
    swapped = [{"sum": "concat", "concat": "sum"}.get(op, op) for op in ops]
    assert not is_isomorphic(graph, swapped, golden["edges"])
    assert not is_isomorphic(graph, ops, golden["edges"][:-1])


def test_parameter_nodes_of_any_network(golden_nets: dict[str, Any]) -> None:
    # Networks with attention and squeeze-and-excitation too, all of whose parameters the reference keeps, though not
    # all of the nodes that have none.
    kinds = set()
    for index, rows in golden_nets["parameter_nodes"].items():
        net = golden_nets["nets"][int(index)]
        graph = lowered(config_of(net))
        ours = Counter((op, paths[0]) for op, paths in zip(graph.ops, graph.param_names, strict=True) if paths)
        assert ours == Counter(map(tuple, rows)), index
        extra = graph.num_nodes - net["num_nodes"]
        assert 0 <= extra <= graph.ops.count("msa") + graph.ops.count("cse"), index
        kinds.update(graph.ops)
    assert kinds >= {"msa", "cse", "pos_enc", "ln", "sep_conv", "dil_conv", "glob_avg", "max_pool"}
