"""The networks of DGL (arXiv:1901.08164) in blocks: the parameters that its code has."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ppuda_like.graph import Partition, trace, units
from ppuda_like.search.blocks import auxiliary


def parameters(model: nn.Module, boundaries: list[int] | None = None) -> list[int]:
    graph = trace(model.eval(), (1, 3, 32, 32))
    among = units(graph)
    if boundaries is None:
        boundaries = list(range(len(among) - 1))
    return [costs.parameters for costs in Partition.at_units(graph, boundaries, among=among).costs()]


def convolutions(widths: list[int], pooled: tuple[int, ...]) -> nn.Sequential:
    def layers() -> Iterator[nn.Module]:
        before = 3
        for i, width in enumerate(widths):
            if i in pooled:
                yield nn.MaxPool2d(2)
            yield from (nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
            before = width
        yield from (nn.AdaptiveAvgPool2d(1), nn.Flatten())

    with torch.device("meta"):
        return nn.Sequential(*layers())


def test_networks_of_the_studies() -> None:
    assert parameters(convolutions([64, 128, 128, 256], (1, 3))) == [1_920, 74_112, 147_840, 295_680]
    assert sum(parameters(convolutions([128, 256, 256, 512, 512, 512], (1, 3)))) == 6_792_960
    head = auxiliary("mlp", (256, 8, 8), 10, hidden=2)
    assert sum(p.numel() for p in head.parameters()) == 2_114_058 - 2 * 256  # which nothing reads


class Basic(nn.Module):
    """A basic block whose shortcut pads channels where it halves the map."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.stride = out // channels
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, out, 3, self.stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()),
            *(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if self.stride > 1:
            half = x.size(1) // 2
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))
        return F.relu(x + y)


def test_resnet110_in_two_blocks() -> None:
    with torch.device("meta"):
        widths = [16] * 18 + [32] * 18 + [64] * 18
        blocks = [Basic(before, out) for before, out in zip([16, *widths], widths, strict=False)]
        stem = (nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    # 58 layers with the three of the stem and the pooling: 29 and 29.
    assert parameters(model, [25]) == [228_432, 1_498_880 + 650]
    reader = auxiliary("mlp-sr", (32, 16, 16), 10)
    assert sum(p.numel() for p in reader.parameters()) == 54_922 - 2 * 32
