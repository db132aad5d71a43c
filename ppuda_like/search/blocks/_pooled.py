"""The auxiliary networks of DGL: perceptrons and convolutions on pooled activations."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ppuda_like.graph import Shape
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet, as_map

__all__ = ["Cnn", "Linear", "Mlp"]


class Linear(AuxiliaryNet):
    """Global average pooling and a linear classifier.

    Args:
        shape: of one activation: (C, H, W), (L, C) or (C,).
        num_classes: number of classes.
    """

    def __init__(self, shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(_channels(shape), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes)."""
        found: Tensor = self.classifier(as_map(x).mean((2, 3)))
        return found


class Mlp(AuxiliaryNet):
    """A perceptron on a pooled activation: the ``mlp`` and ``mlp-sr`` of DGL (arXiv:1901.08164, section 4.2).

    Average pooling to a quarter of the size, ``convolutions`` of 1 x 1, average pooling to 2 x 2, three hidden layers
    as wide as what that leaves, a linear layer; each hidden layer and convolution with batch normalisation and ReLU.

    Args:
        shape: of one activation: (C, H, W), (L, C) or (C,).
        num_classes: number of classes.
        convolutions: 3 in ``mlp-sr``, none in ``mlp``.
        hidden: number of hidden layers.
        pool: ``"always"`` to 2 x 2, as in DGL, which repeats what is smaller; ``"fit"`` to 2 x 2 at most, as in SEDONA
            and always for tokens and vectors.
    """

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        convolutions: int = 0,
        hidden: int = 3,
        pool: Literal["always", "fit"] = "always",
    ) -> None:
        super().__init__()
        channels = _channels(shape)
        height, width = _size(shape)
        quarter = (-(-height // 4), -(-width // 4))
        last = (2, 2) if pool == "always" and len(shape) == 3 else (min(quarter[0], 2), min(quarter[1], 2))
        wide = channels * last[0] * last[1]
        layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(quarter)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(last), nn.Flatten()]
        for _ in range(hidden):
            layers += [nn.Linear(wide, wide), nn.BatchNorm1d(wide), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Linear(wide, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes)."""
        found: Tensor = self.classifier(self.body(as_map(x)))
        return found


class Cnn(AuxiliaryNet):
    """Two 3 x 3 convolutions of the whole map, pooling to 2 x 2, and a linear classifier (arXiv:1901.08164).

    Args:
        shape: of one activation: (C, H, W).
        num_classes: number of classes.
    """

    def __init__(self, shape: Shape, num_classes: int) -> None:
        super().__init__()
        channels = _channels(shape)
        layers: list[nn.Module] = []
        for _ in range(2):
            conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.BatchNorm2d(channels), nn.Flatten())
        self.classifier = nn.Linear(4 * channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes)."""
        found: Tensor = self.classifier(self.body(x))
        return found


def _channels(shape: Shape) -> int:
    return shape[1] if len(shape) == 2 else shape[0]


def _size(shape: Shape) -> tuple[int, int]:
    if len(shape) == 3:
        return shape[1], shape[2]
    return (1, shape[0]) if len(shape) == 2 else (1, 1)
