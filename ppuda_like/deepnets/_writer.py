"""Graphs of networks written down directly, layer by layer, without building or tracing anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from ppuda_like.deepnets._layers import HEADS, Norm
from ppuda_like.graph import Shape

__all__ = ["Feature", "GraphWriter", "NodeSink"]


class Feature(NamedTuple):
    """A tensor of the network: the node that made it, and its shape.

    The node is None in a part of the network that is not computed; layers then only say which parameters they hold.
    """

    node: int | None
    shape: Shape


class NodeSink(Protocol):
    """What takes nodes, as ``GraphBuilder`` does."""

    def add(
        self,
        op: str,
        name: str,
        out_shape: Sequence[int],
        *,
        sources: Iterable[int] = (),
        parameters: Iterable[tuple[str, Shape]] = (),
        attributes: dict[str, Any] | None = None,
        flops: int = 0,
    ) -> int: ...


class GraphWriter:
    """Writes the layers of :mod:`ppuda_like.deepnets._layers` as the nodes that tracing and lowering make of them.

    Each method stands for one layer: it takes the layer's path in the network and its input, and gives its output.
    ``unreached`` lists the parameters of the layers that are not computed.

    Args:
        norm: normalisation of the network.
        nodes: where the nodes go.
    """

    def __init__(self, norm: Norm, nodes: NodeSink) -> None:
        self._norm = norm
        self._nodes = nodes
        self.unreached: list[str] = []

    def input(self, shape: Shape) -> Feature:
        """The images."""
        return Feature(self._nodes.add("input", "x", shape), shape)

    def conv(
        self,
        path: str,
        x: Feature,
        channels: int,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        *,
        kind: str = "conv",
        size: tuple[int, int] | None = None,
    ) -> Feature:
        """A convolution without bias, padded so that stride 1 keeps the size.

        Args:
            path: path of the layer.
            x: input.
            channels: of the output.
            kernel: height and width.
            stride: down and to the right.
            kind: primitive; a depthwise convolution for any but ``conv``.
            size: height and width of the output, where the padding is another.
        """
        c_in = x.shape[1] if kind == "conv" else 1
        if size is None:
            size = (-(-x.shape[2] // stride[0]), -(-x.shape[3] // stride[1]))
        shape = (1, channels, *size)
        flops = 2 * math.prod(shape) * c_in * kernel[0] * kernel[1]
        return self._weight(kind, f"{path}.weight", x, (channels, c_in, *kernel), shape, flops)

    def linear(self, path: str, x: Feature, features: int, *, bias: bool = True) -> Feature:
        """A linear layer on the last dimension."""
        width = x.shape[-1]
        shape = (*x.shape[:-1], features)
        x = self._weight("conv", f"{path}.weight", x, (features, width), shape, 2 * math.prod(shape) * width)
        return self._weight("bias", f"{path}.bias", x, (features,), shape) if bias else x

    def norm(self, path: str, x: Feature) -> Feature:
        """The network's normalisation, if it has one."""
        return x if self._norm is None else self._affine("bn", path, x, x.shape[1])

    def pool(self, path: str, x: Feature, kind: str, stride: int) -> Feature:
        """A 3x3 pooling."""
        shape = (*x.shape[:2], *(-(-size // stride) for size in x.shape[2:]))
        return self._node(kind, path, (x,), shape, kernel_size=[3, 3])

    def mean(self, path: str, x: Feature, size: int = 1) -> Feature:
        """An adaptive average pooling."""
        return self._node("glob_avg", path, (x,), (*x.shape[:2], size, size))

    def encoding(self, path: str, x: Feature) -> Feature:
        """A learned encoding of the positions, added."""
        name, shape = f"{path}.weight", x.shape
        source = self._nodes.add("pos_enc", name, shape, parameters=[(name, shape)])
        return self._node("sum", path, (x, Feature(source, shape)), shape)

    def sum(self, path: str, terms: Sequence[Feature]) -> Feature:
        """The sum of feature maps; a node only where two different ones meet."""
        return self._meet("sum", path, terms, terms[0].shape)

    def concat(self, path: str, parts: Sequence[Feature], copies: int | None = None) -> Feature:
        """The concatenation of feature maps; a node only where two different ones meet.

        Args:
            path: path of the module that joins them.
            parts: what is joined.
            copies: how many maps the result is as wide as, zeros filling it up.
        """
        shape = list(parts[0].shape)
        shape[1] *= len(parts) if copies is None else copies
        return self._meet("concat", path, parts, tuple(shape))

    def subsample(self, x: Feature, stride: int) -> Feature:
        """Every ``stride``-th row and column: no node."""
        return Feature(x.node, (*x.shape[:2], *(-(-size // stride) for size in x.shape[2:])))

    def conv_norm(
        self, path: str, x: Feature, channels: int, kernel: tuple[int, int] = (1, 1), stride: int = 1
    ) -> Feature:
        """``ReLUConvNorm``."""
        x = self.conv(f"{path}.op.1", x, channels, kernel, (stride, stride))
        return self.norm(f"{path}.op.2", x)

    def factorized_conv(self, path: str, x: Feature, kernel: int, stride: int) -> Feature:
        """``FactorizedConv``."""
        channels = x.shape[1]
        x = self.conv(f"{path}.op.1", x, channels, (1, kernel), (1, stride))
        x = self.conv(f"{path}.op.2", x, channels, (kernel, 1), (stride, 1))
        return self.norm(f"{path}.op.3", x)

    def dil_conv(self, path: str, x: Feature, kernel: int, stride: int) -> Feature:
        """``DilConv``."""
        return self._separable(path, 1, x, kernel, stride, "dil_conv")

    def sep_conv(self, path: str, x: Feature, kernel: int, stride: int) -> Feature:
        """``SepConv``."""
        x = self._separable(path, 1, x, kernel, stride, "sep_conv")
        return self._separable(path, 5, x, kernel, 1, "sep_conv")

    def reduction(self, path: str, x: Feature, channels: int) -> Feature:
        """``FactorizedReduce``."""
        halves = [self.conv(f"{path}.conv_{half}", x, channels // 2, (1, 1), (2, 2)) for half in (1, 2)]
        return self.norm(f"{path}.bn", self.concat(path, halves))

    def squeeze_excitation(self, path: str, x: Feature, stride: int) -> Feature:
        """``ChannelSE``."""
        channels = x.shape[1]
        gate = self.linear(f"{path}.fc1", Feature(x.node, (1, channels)), channels // 2)
        gate = self.linear(f"{path}.fc2", gate, channels)
        return self.subsample(self._node("cse", path, (x, gate), x.shape), stride)

    def transformer(self, path: str, image: Feature) -> Feature:
        """``Transformer``."""
        _, channels, height, width = image.shape
        length = height * width
        x = Feature(image.node, (1, length, channels))
        y = self._affine("ln", f"{path}.ln1", x, channels)
        y = self.linear(f"{path}.to_qkv", y, 3 * channels, bias=False)
        heads = (1, HEADS, length, channels // HEADS)
        y = self._node("msa", path, (y,), heads, flops=4 * length * length * channels)
        y = self.linear(f"{path}.to_out.0", Feature(y.node, x.shape), channels)
        x = self.sum(path, (y, x))
        y = self._affine("ln", f"{path}.ln2", x, channels)
        y = self.linear(f"{path}.ff.net.0", y, channels)
        y = self.linear(f"{path}.ff.net.3", y, channels)
        return Feature(self.sum(path, (y, x)).node, image.shape)

    def _separable(self, path: str, place: int, x: Feature, kernel: int, stride: int, kind: str) -> Feature:
        channels = x.shape[1]
        x = self.conv(f"{path}.op.{place}", x, channels, (kernel, kernel), (stride, stride), kind=kind)
        x = self.conv(f"{path}.op.{place + 1}", x, channels)
        return self.norm(f"{path}.op.{place + 2}", x)

    def _affine(self, kind: str, path: str, x: Feature, channels: int) -> Feature:
        weight, bias = f"{path}.weight", f"{path}.bias"
        if x.node is None:
            self.unreached += (weight, bias)
            return x
        parameters = ((weight, (channels,)), (bias, (channels,)))
        return Feature(self._nodes.add(kind, weight, x.shape, sources=(x.node,), parameters=parameters), x.shape)

    def _weight(self, kind: str, name: str, x: Feature, weight: Shape, shape: Shape, flops: int = 0) -> Feature:
        if x.node is None:
            self.unreached.append(name)
            return Feature(None, shape)
        node = self._nodes.add(kind, name, shape, sources=(x.node,), parameters=((name, weight),), flops=flops)
        return Feature(node, shape)

    def _meet(self, kind: str, path: str, features: Sequence[Feature], shape: Shape) -> Feature:
        if len({feature.node for feature in features}) == 1:
            return Feature(features[0].node, shape)
        return self._node(kind, path, features, shape)

    def _node(
        self,
        kind: str,
        path: str,
        sources: Sequence[Feature],
        shape: Shape,
        *,
        flops: int = 0,
        kernel_size: list[int] | None = None,
    ) -> Feature:
        nodes = [source.node for source in sources if source.node is not None]
        if not nodes:
            return Feature(None, shape)
        attributes = {} if kernel_size is None else {"kernel_size": kernel_size}
        return Feature(self._nodes.add(kind, path, shape, sources=nodes, attributes=attributes, flops=flops), shape)
