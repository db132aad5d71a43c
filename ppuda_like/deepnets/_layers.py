"""The building blocks of cells: plain modules whose parameter names are those of DeepNets-1M."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppuda_like.deepnets._error import NetworkError

__all__ = [
    "HEADS",
    "NORMS",
    "ChannelSE",
    "DilConv",
    "FactorizedConv",
    "FactorizedReduce",
    "Norm",
    "PositionalEncoding",
    "ReLUConvNorm",
    "SepConv",
    "Stride",
    "Transformer",
    "Zero",
    "norm_layer",
]

Norm = str | None
"""``"bnorm"`` or ``"bn"``: batch statistics always; ``"bn-track"``: running statistics too; None: no normalisation."""

HEADS = 8
"""Heads of self-attention."""

NORMS: tuple[Norm, ...] = ("bnorm", "bn", "bn-track", None)
"""The kinds of normalisation."""


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """The normalisation of that name; the identity for None, so that the layers after it keep their names."""
    if norm is None:
        return nn.Identity()
    return nn.BatchNorm2d(channels, track_running_stats=norm == "bn-track")


def _conv(
    c_in: int,
    c_out: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    padding = (dilation * (kernel[0] // 2), dilation * (kernel[1] // 2))
    return nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, groups, bias=False)


class Stride(nn.Module):
    """Every second row and column."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, ::2, ::2]


class Zero(nn.Module):
    """The operation ``none``: nothing comes through.  A cell leaves its edge out, so none of it shows in a graph."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class ReLUConvNorm(nn.Module):
    """ReLU, convolution, normalisation."""

    def __init__(self, c_in: int, c_out: int, kernel: tuple[int, int], stride: int, norm: Norm) -> None:
        super().__init__()
        self.op = nn.Sequential(nn.ReLU(), _conv(c_in, c_out, kernel, (stride, stride)), norm_layer(norm, c_out))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.op(x)
        return out


class FactorizedConv(nn.Module):
    """ReLU, a 1 x k and a k x 1 convolution, normalisation."""

    def __init__(self, channels: int, kernel: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(),
            _conv(channels, channels, (1, kernel), (1, stride)),
            _conv(channels, channels, (kernel, 1), (stride, 1)),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.op(x)
        return out


class DilConv(nn.Module):
    """ReLU, depthwise convolution of dilation 2, 1x1 convolution, normalisation."""

    def __init__(self, channels: int, kernel: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(),
            _conv(channels, channels, (kernel, kernel), (stride, stride), dilation=2, groups=channels),
            _conv(channels, channels, (1, 1)),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.op(x)
        return out


class SepConv(nn.Module):
    """Twice: ReLU, depthwise convolution, 1x1 convolution, normalisation; the first one strides."""

    def __init__(self, channels: int, kernel: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(),
            _conv(channels, channels, (kernel, kernel), (stride, stride), groups=channels),
            _conv(channels, channels, (1, 1)),
            norm_layer(norm, channels),
            nn.ReLU(),
            _conv(channels, channels, (kernel, kernel), groups=channels),
            _conv(channels, channels, (1, 1)),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.op(x)
        return out


class FactorizedReduce(nn.Module):
    """Half the resolution without losing pixels: two strided 1x1 convolutions, one shifted by a pixel, concatenated."""

    def __init__(self, c_in: int, c_out: int, norm: Norm) -> None:
        super().__init__()
        self.conv_1 = _conv(c_in, c_out // 2, (1, 1), (2, 2))
        self.conv_2 = _conv(c_in, c_out // 2, (1, 1), (2, 2))
        self.bn = norm_layer(norm, c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        height, width = x.shape[-2:]
        # Sizes that are odd lack the last shifted row or column; zeros make the halves agree.
        padded = F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x
        out: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(padded[:, :, 1:, 1:])], dim=1))
        return out


class ChannelSE(nn.Module):
    """Squeeze and excitation (arXiv:1709.01507) with a reduction of 2 and a hard-swish gate."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.fc1 = nn.Linear(channels, channels // 2)
        self.fc2 = nn.Linear(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.hardswish(self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3))))))
        x = x * gate[:, :, None, None]
        return x[:, :, :: self.stride, :: self.stride] if self.stride > 1 else x


class _FeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        # The dropouts of rate zero keep the second layer at index 3.
        self.net = nn.Sequential(
            nn.Linear(channels, channels), nn.GELU(), nn.Dropout(0.0), nn.Linear(channels, channels), nn.Dropout(0.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Transformer(nn.Module):
    """A pre-norm transformer block over the pixels (arXiv:2010.11929): 8 heads, MLP ratio 1, qkv without bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels), nn.Dropout(0.0))
        self.ln2 = nn.LayerNorm(channels)
        self.ff = _FeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.flatten(2).transpose(1, 2)
        x = self.to_out(self._attend(self.to_qkv(self.ln1(x)))) + x
        x = self.ff(self.ln2(x)) + x
        return x.transpose(1, 2).reshape(batch, channels, height, width)

    @staticmethod
    def _attend(qkv: Tensor) -> Tensor:
        batch, length, width = qkv.shape
        query, key, value = qkv.reshape(batch, length, 3, HEADS, width // 3 // HEADS).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(query, key, value)
        return out.transpose(1, 2).reshape(batch, length, width // 3)


class PositionalEncoding(nn.Module):
    """A learned encoding added to a square feature map."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, channels, size, size))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != self.weight.shape[-2:]:
            wanted, got = tuple(self.weight.shape[-2:]), tuple(x.shape[-2:])
            raise NetworkError(
                f"the positional encoding is for {wanted} patches (got {got}); resize the images to 'input_shape'"
            )
        return x + self.weight
