"""The light auxiliary networks among which SEDONA chooses."""

from __future__ import annotations

from torch import Tensor, nn

from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import Shape
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet, as_map

__all__ = ["Light"]


class Light(AuxiliaryNet):
    """A separable convolution, inverted residuals and a linear classifier (SEDONA, ICLR 2021, appendix).

    A 1 x 1 convolution to ``hidden`` channels and a depthwise 3 x 3 one of stride 2; ``depth`` - 1 inverted residuals
    with an expansion of 4, of which every second one halves a map that is at least 2 wide and widens by a half; a 1 x 1
    convolution to ``features`` channels, global average pooling, and a linear layer.

    Args:
        shape: of one activation: (C, H, W), (L, C) or (C,).
        num_classes: number of classes.
        depth: 1 to 4 in SEDONA.
        hidden: width; None for a quarter of the channels.
        features: width before the classifier; 512 times the ``feat_mult`` of SEDONA's networks.

    Shapes:
        - **input:** (n, C, H, W), (n, L, C) or (n, C)
        - **output:** (n, classes)
    """

    def __init__(
        self, shape: Shape, num_classes: int, *, depth: int = 1, hidden: int | None = None, features: int = 512
    ) -> None:
        super().__init__()
        channels, height, width = (*shape, 1, 1)[:3] if len(shape) != 2 else (shape[1], 1, shape[0])
        hidden = channels // 4 if hidden is None else hidden
        if depth < 1 or hidden < 1 or features < 1:
            raise PpudaLikeError(
                f"a light auxiliary network needs a positive depth and widths (got depth={depth}, hidden={hidden} for "
                f"{channels} channels, features={features}); set hidden= where there are fewer than 4 channels"
            )
        size = -(-max(height, width) // 2)
        layers: list[nn.Module] = [*_conv(channels, hidden, 1), *_conv(hidden, hidden, 3, stride=2, groups=hidden)]
        for index in range(depth - 1):
            halve = index % 2 == 1 and size >= 2
            grown = hidden + hidden // 2 if halve else hidden
            layers.append(_InvertedResidual(hidden, grown, 2 if halve else 1))
            hidden, size = grown, -(-size // 2) if halve else size
        layers += _conv(hidden, features, 1)
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Linear(features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes)."""
        found: Tensor = self.classifier(self.body(as_map(x)).mean((2, 3)))
        return found


class _InvertedResidual(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.body = nn.Sequential(
            *_conv(channels, wide, 1),
            *_conv(wide, wide, 3, stride=stride, groups=wide),
            nn.Conv2d(wide, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)
        return x + found if self.residual else found


def _conv(channels: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out), nn.ReLU()]
