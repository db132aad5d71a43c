"""The networks of SEDONA, each a chain of units."""

from __future__ import annotations

import difflib

import torch
from torch import Tensor, nn

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.blocks._auxiliary import initialise

__all__ = ["SEDONA_NETS", "sedona_net"]

_VGG = {  # convolutions in each of the five stages
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_RESNET = {  # expansion, and blocks in each of the four stages
    "resnet18": (1, (2, 2, 2, 2)),
    "resnet34": (1, (3, 4, 6, 3)),
    "resnet50": (4, (3, 4, 6, 3)),
    "resnet101": (4, (3, 4, 23, 3)),
    "resnet152": (4, (3, 8, 36, 3)),
}
SEDONA_NETS = (*_VGG, *_RESNET)
"""Names that :func:`sedona_net` knows."""


def sedona_net(
    name: str, num_classes: int = 10, *, image_size: int = 32, feat_mult: int = 1, seed: int = 0
) -> nn.Sequential:
    """A network as SEDONA cuts it: module ``units`` holds the units, module ``head`` the classifier.

    A VGG's unit is a convolution with its normalisation and ReLU, led by the pooling before it; a ResNet's is a
    residual block, the first led by the stem.  Weights are Kaiming normal by fan-in, biases 0.

    Args:
        name: one of ``SEDONA_NETS``.
        num_classes: number of classes.
        image_size: in pixels; from 64 the stem of a ResNet is a 7 x 7 convolution of stride 2, followed by a pooling if
            the map is still larger than 32.
        feat_mult: 1 for the narrow networks for CIFAR-10 (first width 16), 4 for the usual ones.
        seed: of the initial weights.

    Raises:
        PpudaLikeError: if there is none of that name, or the images are too small for it.

    Example:
        >>> net = sedona_net("resnet50")
        >>> len(net.units), sum(p.numel() for p in net.parameters())
        (16, 1484186)
    """
    if name not in SEDONA_NETS:
        near = difflib.get_close_matches(name, SEDONA_NETS, n=3)
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"choose one of {', '.join(SEDONA_NETS)}"
        raise PpudaLikeError(f"no network of SEDONA is called {name!r}; {hint}")
    if feat_mult < 1 or num_classes < 2 or image_size < (32 if name in _VGG else 8):
        raise PpudaLikeError(
            f"{name} needs feat_mult >= 1, two classes and images of {32 if name in _VGG else 8} pixels at least "
            f"(got feat_mult={feat_mult}, num_classes={num_classes}, image_size={image_size})"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, "sedona", name))
        net = (_vgg if name in _VGG else _resnet)(name, num_classes, image_size, feat_mult)
        initialise(net)
    return net


def _vgg(name: str, num_classes: int, image_size: int, feat_mult: int) -> nn.Sequential:
    units: list[nn.Module] = []
    channels = 3
    for stage, count in enumerate(_VGG[name]):
        out = feat_mult * (16, 32, 64, 128, 128)[stage]
        for index in range(count):
            pool: list[nn.Module] = [nn.MaxPool2d(2)] if stage and not index else []
            conv = nn.Conv2d(channels, out, 3, padding=1, bias=False)
            units.append(nn.Sequential(*pool, conv, nn.BatchNorm2d(out), nn.ReLU()))
            channels = out
    wide = 1024 * feat_mult
    head = nn.Sequential(
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(channels * (image_size // 32) ** 2, wide),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(wide, wide),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(wide, num_classes),
    )
    return _net(units, head)


def _resnet(name: str, num_classes: int, image_size: int, feat_mult: int) -> nn.Sequential:
    expansion, counts = _RESNET[name]
    channels = 16 * feat_mult
    large = image_size >= 64
    stem: list[nn.Module] = [
        nn.Conv2d(3, channels, 7 if large else 3, 2 if large else 1, 3 if large else 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    ]
    if large and image_size // 2 > 32:
        stem.append(nn.MaxPool2d(3, 2, 1))
    units: list[nn.Module] = []
    for stage, count in enumerate(counts):
        planes = feat_mult * 16 * 2**stage
        for index in range(count):
            block = _Residual(channels, planes, expansion, 2 if stage and not index else 1)
            channels = planes * expansion
            units.append(block if units else nn.Sequential(*stem, block))
    return _net(units, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)))


def _net(units: list[nn.Module], head: nn.Module) -> nn.Sequential:
    net = nn.Sequential()
    net.add_module("units", nn.Sequential(*units))
    net.add_module("head", head)
    return net


class _Residual(nn.Module):
    """A basic block (expansion 1) or a bottleneck, with a projection where shapes change; nothing is in place."""

    def __init__(self, channels: int, planes: int, expansion: int, stride: int) -> None:
        super().__init__()
        out = planes * expansion
        # (from, to, kernel, stride) of each convolution
        basic = [(channels, planes, 3, stride), (planes, out, 3, 1)]
        bottleneck = [(channels, planes, 1, 1), (planes, planes, 3, stride), (planes, out, 1, 1)]
        layers: list[nn.Module] = []
        for source, target, kernel, step in basic if expansion == 1 else bottleneck:
            conv = nn.Conv2d(source, target, kernel, step, kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(target), nn.ReLU()]
        self.body = nn.Sequential(*layers[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if channels != out or stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))
