from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from ppuda_like.errors import GraphError
from ppuda_like.graph import ComputationalGraph, Partition, legal_cuts, trace, units
from tests.graph.test_cuts import Net, torchvision_graph

# Number of units of torchvision's networks, the first and the last one, without the layers of the head as units.
UNITS = {
    "alexnet": (5, "features.0", "features.10"),
    "vgg19_bn": (16, "features.0", "features.49"),
    "resnet50": (16, "layer1.0", "layer4.2"),
    "resnet101": (33, "layer1.0", "layer4.2"),
    "resnet152": (50, "layer1.0", "layer4.2"),
    "densenet121": (4, "features.denseblock1", "features.denseblock4"),
    "googlenet": (9, "inception3a", "inception5b"),
    "squeezenet1_1": (8, "features.3", "features.12"),
    "mobilenet_v2": (17, "features.1", "features.17"),  # with and without a shortcut
    "efficientnet_b0": (16, "features.1.0", "features.7.0"),
    "regnet_y_400mf": (16, "trunk_output.block1.block1-0", "trunk_output.block4.block4-5"),
    "shufflenet_v2_x1_0": (16, "stage2.0", "stage4.3"),
    "convnext_tiny": (18, "features.1.0", "features.7.2"),
    "vit_b_16": (12, "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_11"),
    "swin_t": (12, "features.1.0", "features.7.1"),  # attention and perceptron together
}


@pytest.mark.parametrize("name", UNITS)
def test_units_of_torchvision(name: str) -> None:
    graph = torchvision_graph(name)
    found = units(graph)
    assert (len(found), found[0].name, found[-1].name) == UNITS[name]
    assert len({unit.name for unit in found}) == len(found)
    assert found[-1].node == graph.outputs[0]
    legal = {cut.node: cut.shapes for cut in legal_cuts(graph)}
    assert all(legal[unit.node] == (unit.shape,) for unit in found[:-1])
    each = Partition.at_units(graph, range(len(found) - 1), among=found)
    assert sum(costs.parameters for costs in each.costs()) == graph.num_params
    assert sum(costs.macs for costs in each.costs()) == graph.macs


def shapes(graph: ComputationalGraph) -> list[tuple[int, ...]]:
    return [unit.shape[1:] for unit in units(graph)[:-1]]


def chain(*stages: tuple[int, int, int]) -> list[tuple[int, ...]]:
    """Shapes of units but the last one, from (number of units, channels, size) of each stage."""
    return [(channels, size, size) for number, channels, size in stages for _ in range(number)][:-1]


def test_shapes_on_imagenet() -> None:
    vgg = chain((2, 64, 224), (2, 128, 112), (4, 256, 56), (4, 512, 28), (4, 512, 14))
    assert shapes(torchvision_graph("vgg19_bn")) == vgg
    for name, (b, c) in {"resnet50": (4, 6), "resnet101": (4, 23), "resnet152": (8, 36)}.items():
        assert shapes(torchvision_graph(name)) == chain((3, 256, 56), (b, 512, 28), (c, 1024, 14), (3, 2048, 7))


def test_layers_of_the_head_as_units() -> None:
    graph = torchvision_graph("vgg19_bn")
    found = units(graph, head=True)
    assert [unit.name for unit in found[-4:]] == ["features.49", "classifier.0", "classifier.3", "classifier.6"]
    assert found[:15] == units(graph)[:15]
    assert [unit.shape for unit in found[-3:]] == [(1, 4096), (1, 4096), (1, 1000)]
    assert units(torchvision_graph("resnet50"), head=True)[-1].name == "fc"


# ------------------------------------------------------------ SEDONA's networks for CIFAR-10, at a quarter of the width


def vgg19() -> nn.Module:
    def layers() -> Iterator[nn.Module]:
        before = 3
        for number, (width, count) in enumerate(((16, 2), (32, 2), (64, 4), (128, 4), (128, 4))):
            for i in range(count):
                if number and not i:
                    yield nn.MaxPool2d(2)
                yield from (nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True))
                before = width
        yield from (nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 1024), nn.ReLU(True), nn.Dropout())
        yield from (nn.Linear(1024, 1024), nn.ReLU(True), nn.Dropout(), nn.Linear(1024, 10))

    return nn.Sequential(*layers())


def resnet(*counts: int) -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True))
    before, stages = 16, []
    for stage, count in enumerate(counts):
        width, blocks = 16 << stage, []
        for i in range(count):
            stride = 2 if stage and not i else 1
            shortcut = None
            if not i:
                conv = nn.Conv2d(before, 4 * width, 1, stride, bias=False)
                shortcut = nn.Sequential(conv, nn.BatchNorm2d(4 * width))
            blocks.append(Bottleneck(before, width, stride, shortcut))
            before = 4 * width
        stages.append(nn.Sequential(*blocks))
    return nn.Sequential(stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def parameters(graph: ComputationalGraph) -> list[int]:
    found = units(graph)
    return [costs.parameters for costs in Partition.at_units(graph, range(len(found) - 1)).costs()]


def test_sedonas_vgg19() -> None:
    graph = trace(vgg19(), (1, 3, 32, 32))
    encoders = [464, 2336, 4672, 9280, 18560, *[36992] * 3, 73984, *[147712] * 7]
    assert sum(encoders) == 1_254_256
    assert parameters(graph) == [*encoders[:-1], encoders[-1] + 1_191_946]
    assert shapes(graph) == chain((2, 16, 32), (2, 32, 16), (4, 64, 8), (4, 128, 4), (4, 128, 2))


@pytest.mark.parametrize(("b", "c", "whole"), [(4, 6, 1_484_186), (4, 23, 2_680_986), (8, 36, 3_667_354)])
def test_sedonas_resnets(b: int, c: int, whole: int) -> None:
    graph = trace(resnet(3, b, c, 3), (1, 3, 32, 32))
    found = parameters(graph)
    stages = [(5392, 4544, 3), (24192, 17792, b), (95488, 70400, c), (379392, 280064, 3)]
    expected = [first if not i else other for first, other, count in stages for i in range(count)]
    assert found == [*expected[:-1], expected[-1] + 5130]  # the first with the stem, the last with the head
    assert sum(found) == whole
    assert shapes(graph) == chain((3, 64, 32), (b, 128, 16), (c, 256, 8), (3, 512, 4))


# ------------------------------------------------------------------------------------------------------ other networks


def test_a_perceptron_has_no_head() -> None:
    layers = (nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 2))
    assert [unit.name for unit in units(trace(nn.Sequential(*layers), (3, 1, 8, 8)))] == ["1", "3", "6"]


def test_residuals_without_modules() -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i in (0, 2, 4):
            x = x + self.layers[i + 1](torch.relu(self.layers[i](x)))
        return self.head(x.mean(1))

    layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(6))
    graph = trace(Net(forward, stem=nn.Linear(4, 8), layers=layers, head=nn.Linear(8, 2)), (3, 5, 4))
    found = units(graph)
    assert [graph.ops[unit.node] for unit in found] == ["add", "add", "linear"]


def test_one_branching_part_among_many_layers_leaves_them_units() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(self.conv(x))

    convs = [layer for _ in range(5) for layer in (nn.Conv2d(8, 8, 3), nn.ReLU())]
    graph = trace(nn.Sequential(*convs[:4], Gate(), *convs[4:]), (3, 8, 32, 32))
    assert [unit.name for unit in units(graph)] == ["0", "2", "4", "5", "7", "9"]


def test_cuts_that_are_not_legal_end_no_unit() -> None:
    layer = nn.Linear(8, 8)
    tied = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    graph = trace(tied, (3, 8))
    assert [unit.name for unit in units(graph)] == ["0", "4", "6"]
    assert [unit.name for unit in units(graph, tied="copy")] == ["0", "0", "4", "6"]


def test_nothing_to_cut() -> None:
    graph = trace(nn.Linear(8, 2), (3, 8))
    [only] = units(graph)
    assert (only.name, only.node, only.shape) == ("linear", 1, (3, 2))
    constant = trace(Net(lambda self, x: self.w.exp(), w=nn.Parameter(torch.ones(2))), (3, 8))
    with pytest.raises(GraphError, match=r"no output of .* is computed from its inputs: there is nothing to cut"):
        units(constant)
    with pytest.raises(GraphError, match="only full traces can be cut"):
        units(graph.lower("ppuda"))
