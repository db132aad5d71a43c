"""The operations that cells are made of, as plain modules, in a table by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ppuda_like.deepnets import _layers as layers
from ppuda_like.deepnets._layers import Norm
from ppuda_like.deepnets._table import Table
from ppuda_like.deepnets._writer import Feature, GraphWriter

__all__ = ["OPS", "Operation"]

Build = Callable[[int, int, Norm], nn.Module]
Count = Callable[[int, int, int], int]
Write = Callable[[GraphWriter, str, Feature, int], Feature]


@dataclass(frozen=True)
class Operation:
    """One entry of the table.

    Attributes:
        build: makes the module for (channels, stride, norm); it keeps the number of channels.
        count: number of parameters for (channels, stride, scalars of a norm layer over that many channels).
        write: writes the nodes of its graph for (writer, path, input, stride); gives the output.
    """

    build: Build
    count: Count
    write: Write


def _pool(primitive: str, kind: type[nn.Module], **kwargs: bool) -> Operation:
    return Operation(
        lambda _channels, stride, _norm: kind(3, stride=stride, padding=1, **kwargs),
        lambda _c, _stride, _norm: 0,
        lambda writer, path, x, stride: writer.pool(path, x, primitive, stride),
    )


def _conv(kernel: int) -> Operation:
    return Operation(
        lambda channels, stride, norm: layers.ReLUConvNorm(channels, channels, (kernel, kernel), stride, norm),
        lambda c, _stride, norm: kernel * kernel * c * c + norm,
        lambda writer, path, x, stride: writer.conv_norm(path, x, x.shape[1], (kernel, kernel), stride),
    )


def _sep_conv(kernel: int) -> Operation:
    return Operation(
        lambda channels, stride, norm: layers.SepConv(channels, kernel, stride, norm),
        lambda c, _stride, norm: 2 * (kernel * kernel * c + c * c + norm),
        lambda writer, path, x, stride: writer.sep_conv(path, x, kernel, stride),
    )


def _dil_conv(kernel: int) -> Operation:
    return Operation(
        lambda channels, stride, norm: layers.DilConv(channels, kernel, stride, norm),
        lambda c, _stride, norm: kernel * kernel * c + c * c + norm,
        lambda writer, path, x, stride: writer.dil_conv(path, x, kernel, stride),
    )


OPS = Table(
    "operation",
    {
        "none": Operation(
            lambda _channels, stride, _norm: layers.Zero(stride),
            lambda _c, _stride, _norm: 0,
            lambda writer, _path, x, stride: writer.subsample(x, stride),
        ),
        "max_pool_3x3": _pool("max_pool", nn.MaxPool2d),
        "avg_pool_3x3": _pool("avg_pool", nn.AvgPool2d, count_include_pad=False),
        "skip_connect": Operation(
            lambda c, stride, norm: nn.Identity() if stride == 1 else layers.FactorizedReduce(c, c, norm),
            lambda c, stride, norm: 0 if stride == 1 else 2 * (c // 2) * c + norm,
            lambda writer, path, x, stride: x if stride == 1 else writer.reduction(path, x, x.shape[1]),
        ),
        "sep_conv_3x3": _sep_conv(3),
        "sep_conv_5x5": _sep_conv(5),
        "dil_conv_3x3": _dil_conv(3),
        "dil_conv_5x5": _dil_conv(5),
        "conv_1x1": _conv(1),
        "conv_7x1_1x7": Operation(
            lambda channels, stride, norm: layers.FactorizedConv(channels, 7, stride, norm),
            lambda c, _stride, norm: 2 * 7 * c * c + norm,
            lambda writer, path, x, stride: writer.factorized_conv(path, x, 7, stride),
        ),
        "conv_3x3": _conv(3),
        "conv_5x5": _conv(5),
        "conv_7x7": _conv(7),
        "msa": Operation(
            lambda channels, _stride, _norm: layers.Transformer(channels),
            # qkv, out, and the two layers of the MLP; three biases; two layer norms
            lambda c, _stride, _norm: (3 + 1 + 2) * c * c + 3 * c + 4 * c,
            lambda writer, path, x, _stride: writer.transformer(path, x),
        ),
        "cse": Operation(
            lambda channels, stride, _norm: layers.ChannelSE(channels, stride),
            lambda c, _stride, _norm: 2 * c * (c // 2) + c // 2 + c,
            lambda writer, path, x, stride: writer.squeeze_excitation(path, x, stride),
        ),
    },
)
"""The extended op set of DeepNets-1M (arXiv:2110.13100, section 3.1), by name."""
