from collections import Counter

import pytest
from hypothesis import event, given, settings
from network_strategies import network_configs

from ppuda_like.deepnets import (
    SPLITS,
    Genotype,
    NetworkConfig,
    NetworkError,
    count_parameters,
    network_flops,
    network_graph,
    sample_network,
)
from ppuda_like.graph import PPUDA, ComputationalGraph, trace

DRAWN = [split for split in SPLITS if split != "predefined"]


def assert_same(found: ComputationalGraph, expected: ComputationalGraph) -> None:
    """Equality, field by field first so that a failure says where."""
    assert Counter(found.ops) == Counter(expected.ops)
    assert found.params == expected.params
    assert set(found.unreached) == set(expected.unreached)
    for key in vars(expected):
        if key in ComputationalGraph.__dataclass_fields__ and key != "edge_index":
            assert getattr(found, key) == getattr(expected, key), key
    assert found.edge_index.tolist() == expected.edge_index.tolist()
    assert found == expected


def check(config: NetworkConfig) -> None:
    network = config.build("meta")
    full = trace(network)
    found = network_graph(config)
    assert_same(found, full.lower("ppuda"))
    assert network_flops(config) == full.total_flops == found.total_flops
    # Against the modules themselves: what the graph holds and what it does not reach make up the network.
    shapes = {path: tuple(parameter.shape) for path, parameter in network.named_parameters()}
    assert {**found.params, **{path: shapes[path] for path in found.unreached}} == shapes
    assert found.params.keys().isdisjoint(found.unreached)
    assert sum(parameter.numel() for parameter in network.parameters()) == count_parameters(config)


@settings(max_examples=80, deadline=None)
@given(network_configs())
def test_equals_the_lowered_trace(config: NetworkConfig) -> None:
    try:
        network_graph(config)
    except NetworkError:
        event("not connected")
        with pytest.raises(NetworkError):
            network_flops(config)
        with pytest.raises(NetworkError):
            config.build("meta")
    else:
        check(config)


@pytest.mark.parametrize("is_imagenet_input", [False, True])
@pytest.mark.parametrize("split", DRAWN)
def test_equals_the_lowered_trace_in_every_split(split: str, is_imagenet_input: bool) -> None:
    for index in range(3):
        config = sample_network(split, index, is_imagenet_input=is_imagenet_input)
        assert isinstance(config, NetworkConfig)
        check(config)


def test_vision_transformer() -> None:
    for is_imagenet_input in (False, True):
        config = sample_network("predefined", 1, is_imagenet_input=is_imagenet_input)
        assert isinstance(config, NetworkConfig)
        check(config)


@settings(max_examples=30, deadline=None)
@given(network_configs(max_cells=3))
def test_training_settings_are_those_of_the_modules(config: NetworkConfig) -> None:
    # A second classifier is computed in training only; dropping paths adds no primitive and no parameter.
    try:
        found = network_graph(config)
    except NetworkError:
        return
    plain = network_graph(config.replace(auxiliary=False, drop_path=0.0))
    if not config.auxiliary:
        assert found == plain
        return
    names = set(found.names) - set(plain.names)
    assert all(name.startswith("auxiliary_head.") for name in names)
    assert (len(found.outputs), len(plain.outputs)) in ((2, 1), (1, 1))


@settings(deadline=None)
@given(network_configs())
def test_is_a_graph_of_the_vocabulary(config: NetworkConfig) -> None:
    try:
        graph = network_graph(config)
    except NetworkError:
        return
    assert graph.vocabulary == "ppuda"
    assert set(graph.ops) <= set(PPUDA.primitives)
    assert graph.inputs == (0,)
    assert graph.ops.count("input") == 1
    leads, targets = [node in graph.outputs for node in range(graph.num_nodes)], graph.successors()
    for node in reversed(range(graph.num_nodes)):
        leads[node] |= any(leads[target] for target in targets[node])
    assert all(leads)
    assert all(
        sources for sources, op in zip(graph.predecessors(), graph.ops, strict=True) if op not in ("input", "pos_enc")
    )
    assert (graph.total_flops == 0) == ("conv" not in graph.ops)


BLOCKED = (("none", 0), ("none", 1))
OPEN = (("skip_connect", 0), ("conv_3x3", 1))


def with_cells(normal: tuple[tuple[str, int], ...], reduce: tuple[tuple[str, int], ...], n_cells: int) -> NetworkConfig:
    genotype = Genotype(normal=normal, normal_concat=(2,), reduce=reduce, reduce_concat=(2,))
    return NetworkConfig(C=8, genotype=genotype, n_cells=n_cells)


@pytest.mark.parametrize(
    ("normal", "reduce", "n_cells"), [(BLOCKED, OPEN, 6), (OPEN, BLOCKED, 3), (BLOCKED, BLOCKED, 1)]
)
def test_not_connected(normal: tuple[tuple[str, int], ...], reduce: tuple[tuple[str, int], ...], n_cells: int) -> None:
    config = with_cells(normal, reduce, n_cells)
    for function in (network_graph, network_flops, NetworkConfig.build):
        with pytest.raises(NetworkError, match=r"no path leads from the input to the output"):
            function(config)


def test_connected_past_dead_cells() -> None:
    # Cells 2 and 4 reduce and give nothing; each later cell also reads the one before them.
    config = with_cells(OPEN, BLOCKED, 6)
    check(config)
    used = {name.split(".")[1] for name in network_graph(config).names if name.startswith("cells.")}
    assert used == {"0", "1", "3", "5"}


def test_small_network() -> None:
    cell = (("skip_connect", 0), ("conv_1x1", 1))
    genotype = Genotype(normal=cell, normal_concat=(2,), reduce=cell, reduce_concat=(2,))
    config = NetworkConfig(C=8, genotype=genotype, n_cells=1, preproc=False, C_mult=1, norm=None, num_classes=4)
    graph = network_graph(config)
    assert graph.ops == ("input", "conv", "conv", "sum", "glob_avg", "conv", "bias")
    assert graph.names[1:4] == ("stem.0.weight", "cells.0._ops.1.op.1.weight", "cells.0")
    assert graph.edge_index.t().tolist() == [[0, 1], [1, 2], [1, 3], [2, 3], [3, 4], [4, 5], [5, 6]]
    assert graph.params == {
        "stem.0.weight": (8, 3, 3, 3),
        "cells.0._ops.1.op.1.weight": (8, 8, 1, 1),
        "classifier.0.weight": (4, 8),
        "classifier.0.bias": (4,),
    }
    assert network_flops(config) == 2 * (32 * 32 * (8 * 3 * 9 + 8 * 8) + 8 * 4)
