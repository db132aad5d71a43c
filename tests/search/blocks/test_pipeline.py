"""How unbalanced the published searches are: multiply-accumulates of blocks with their auxiliary networks."""

from functools import cache

import pytest
import torch
from torch import nn

from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import ComputationalGraph, Partition, trace, units
from ppuda_like.search.blocks import Pipeline, auxiliary, pipeline, sedona_net
from tests.graph.test_cuts import torchvision_graph
from tests.search.blocks.test_decode import published

CLASSES = 1000
WIDE = {"features": 2048}  # of light auxiliary networks, for networks of the usual width


@cache
def graph_of(name: str) -> ComputationalGraph:
    with torch.device("meta"):
        net = sedona_net(name, CLASSES, image_size=224, feat_mult=4)
    return trace(net.eval(), (1, 3, 224, 224))


def searched(name: str, num_blocks: int, graph: ComputationalGraph | None = None) -> Pipeline:
    found = published(name, num_blocks)
    partition = Partition.at_units(graph or graph_of(name), found.boundaries)
    return pipeline(partition, found.auxiliaries, CLASSES, WIDE)


# Of the published boundaries with the searched auxiliary networks, and of uniform ones with mlp-sr, for 2, 4, 8 blocks.
SPEEDUPS = {
    "vgg19": ((1.62, 1.84, 2.57), (1.75, 3.01, 5.23)),
    "resnet50": ((1.49, 1.49, 1.65), (1.79, 3.37, 4.81)),
    "resnet101": ((1.30, 1.65, 3.37), (1.93, 3.41, 6.25)),
    "resnet152": ((1.30, 1.56, 2.05), (1.92, 3.64, 6.83)),
}


@pytest.mark.parametrize("name", SPEEDUPS)
def test_ideal_speedups(name: str) -> None:
    for i, num_blocks in enumerate((2, 4, 8)):
        uniform = Partition.uniform(graph_of(name), num_blocks)
        by_name = searched(name, num_blocks), pipeline(uniform, "mlp-sr", CLASSES, {"pool": "fit"})
        for found, wanted in zip(by_name, SPEEDUPS[name], strict=True):
            assert found.ideal_speedup() == pytest.approx(wanted[i], abs=0.006)


@pytest.mark.parametrize(
    ("name", "shares", "overhead"),
    [
        ("vgg19", [0.389, 0.543, 0.025, 0.053], 0.011),
        ("resnet50", [0.673, 0.085, 0.085, 0.252], 0.096),
        ("resnet101", [0.249, 0.148, 0.045, 0.608], 0.050),
        ("resnet152", [0.245, 0.063, 0.087, 0.639], 0.034),
    ],
)
def test_shares_of_four_blocks(name: str, shares: list[float], overhead: float) -> None:
    found = searched(name, 4)
    assert list(found.shares()) == pytest.approx(shares, abs=0.001)
    assert found.overhead() == pytest.approx(overhead, abs=6e-4)


# Of SEDONA's networks for CIFAR-10 as searched: parameters of 2, 4 and 8 blocks with their auxiliary networks, and the
# ideal speed-up of 4.
NARROW = {
    "vgg19": ((2_478_132, 2_532_232, 2_638_880), 1.94),
    "resnet50": ((1_716_324, 2_180_600, 3_393_568), 1.51),
    "resnet101": ((2_759_172, 3_223_448, 4_152_000), 1.63),
    "resnet152": ((3_745_540, 4_209_816, 4_779_904), 1.55),
}


@pytest.mark.parametrize("name", NARROW)
def test_decoded_networks_for_cifar(name: str) -> None:
    with torch.device("meta"):
        net = sedona_net(name)
    graph = trace(net.eval(), (1, 3, 32, 32))
    among = units(graph)
    parameters, speedup = NARROW[name]
    for num_blocks, wanted in zip((2, 4, 8), parameters, strict=True):
        found = published(name, num_blocks)
        costs = pipeline(Partition.at_units(graph, found.boundaries, among=among), found.auxiliaries, 10)
        assert sum(block.parameters for block in costs.blocks) == wanted
        if num_blocks == 4:
            assert costs.ideal_speedup() == pytest.approx(speedup, abs=0.006)


def test_torchvision_has_the_same_units_and_nearly_the_same_costs() -> None:
    of_sedona, of_torchvision = searched("resnet50", 4), searched("resnet50", 4, torchvision_graph("resnet50"))
    assert of_torchvision.shares() == pytest.approx(of_sedona.shares(), abs=0.001)
    assert of_torchvision.network.parameters == 25_557_032


def test_costs_are_those_of_the_block_plus_those_of_the_auxiliary_network() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(32, 10))
    graph = trace(model, (2, 3, 6, 6))
    found = pipeline(Partition.at(graph, ["1"]), "linear", 5)
    head = auxiliary("linear", (8, 4, 4), 5)
    assert found.blocks[0].parameters == sum(p.numel() for p in (*model[0].parameters(), *head.parameters()))
    assert found.blocks[1].parameters == sum(p.numel() for p in model[2:].parameters())
    assert found.network.parameters == graph.num_params
    assert found.blocks[0].macs == 2 * (16 * 8 * 27 + 8 * 5)
    assert found.ideal_speedup("parameters") == graph.num_params / max(block.parameters for block in found.blocks)
    assert found.overhead("parameters") == pytest.approx((8 + 1) * 5 / graph.num_params)
    with pytest.raises(PpudaLikeError, match="2 blocks need 1 auxiliary networks"):
        pipeline(Partition.at(graph, ["1"]), ["linear", "linear"], 5)
