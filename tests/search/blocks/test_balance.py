"""How unbalanced the published searches are: multiply-accumulates of blocks, auxiliary networks included."""

import pytest
import torch

from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import auxiliary, sedona_net
from tests.search.blocks.test_decode import published


def shares(name: str, num_blocks: int) -> list[float]:
    """Of each block, in the whole network without auxiliary networks."""
    found = published(name, num_blocks)
    with torch.device("meta"):
        net = sedona_net(name, 1000, image_size=224, feat_mult=4).eval()
    graph = trace(net, (1, 3, 224, 224))
    partition = Partition.at_units(graph, found.boundaries)
    extra = []
    for kind, (value,) in zip(found.auxiliaries, partition.frontiers, strict=True):
        shape = graph.out_shapes[value]
        with torch.device("meta"):
            reader = auxiliary(kind, shape[1:], 1000, features=2048).eval()
        extra.append(trace(reader, shape).macs)
    return [(costs.macs + more) / graph.macs for costs, more in zip(partition.costs(), [*extra, 0], strict=True)]


@pytest.mark.parametrize(
    ("name", "speedups"),
    [("vgg19", (1.62, 1.84, 2.57)), ("resnet50", (1.49, 1.49, 1.65)), ("resnet152", (1.30, 1.56, 2.05))],
)
def test_ideal_speedup_of_the_published_searches(name: str, speedups: tuple[float, ...]) -> None:
    for num_blocks, wanted in zip((2, 4, 8), speedups, strict=True):
        assert 1 / max(shares(name, num_blocks)) == pytest.approx(wanted, abs=0.006)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("vgg19", [0.389, 0.543, 0.025, 0.053]),
        ("resnet50", [0.673, 0.085, 0.085, 0.252]),
        ("resnet152", [0.245, 0.063, 0.087, 0.639]),
    ],
)
def test_shares_of_blocks(name: str, wanted: list[float]) -> None:
    assert shares(name, 4) == pytest.approx(wanted, abs=0.001)
