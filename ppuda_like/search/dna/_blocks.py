"""The layers of the MobileNet family as modules; inside, they are named as in timm's EfficientNet."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

__all__ = ["DepthwiseSeparableBlock", "InvertedResidualBlock", "SqueezeExcite"]

Activation = Callable[[], nn.Module]


class SqueezeExcite(nn.Module):
    """Squeeze and excitation (arXiv:1709.01507) with a sigmoid gate, (batch, channels, height, width) to the same.

    Args:
        channels: of input and output.
        squeezed: channels between the two layers.
        activation: of the first layer.
    """

    def __init__(self, channels: int, squeezed: int, activation: Activation) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.act1 = activation()
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean((2, 3), keepdim=True)
        gate = self.conv_expand(self.act1(self.conv_reduce(gate)))
        return x * torch.sigmoid(gate)


class InvertedResidualBlock(nn.Module):
    """See :class:`InvertedResidual`, which makes it."""

    def __init__(
        self,
        c_in: int,
        mid: int,
        c_out: int,
        *,
        kernel: int,
        stride: int,
        squeezed: int,
        activation: Activation,
        residual: bool,
        drop_connect: float,
    ) -> None:
        super().__init__()
        self.conv_pw = nn.Conv2d(c_in, mid, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(mid)
        self.act1 = activation()
        self.conv_dw = _depthwise(mid, kernel, stride)
        self.bn2 = nn.BatchNorm2d(mid)
        self.act2 = activation()
        self.se = SqueezeExcite(mid, squeezed, activation) if squeezed else nn.Identity()
        self.conv_pwl = nn.Conv2d(mid, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.drop = StochasticDepth(drop_connect, "row") if residual else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act1(self.bn1(self.conv_pw(x)))
        out = self.act2(self.bn2(self.conv_dw(out)))
        out = self.bn3(self.conv_pwl(self.se(out)))
        if self.drop is not None:
            out = self.drop(out) + x
        return out


class DepthwiseSeparableBlock(nn.Module):
    """See :class:`DepthwiseSeparable`, which makes it."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        kernel: int,
        stride: int,
        squeezed: int,
        activation: Activation,
        residual: bool,
        drop_connect: float,
    ) -> None:
        super().__init__()
        self.conv_dw = _depthwise(c_in, kernel, stride)
        self.bn1 = nn.BatchNorm2d(c_in)
        self.act1 = activation()
        self.se = SqueezeExcite(c_in, squeezed, activation) if squeezed else nn.Identity()
        self.conv_pw = nn.Conv2d(c_in, c_out, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.drop = StochasticDepth(drop_connect, "row") if residual else None

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act1(self.bn1(self.conv_dw(x)))
        out = self.bn2(self.conv_pw(self.se(out)))
        if self.drop is not None:
            out = self.drop(out) + x
        return out


def _depthwise(channels: int, kernel: int, stride: int) -> nn.Conv2d:
    # Symmetric padding: at stride 2 an even side is halved, an odd one rounded up.
    return nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
