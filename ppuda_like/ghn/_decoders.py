"""From node features to blocks of weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppuda_like.ghn._layers import MLP
from ppuda_like.ghn._parts import Parts

__all__ = ["ConvDecoder", "Decoder", "MLPDecoder"]


class Decoder(nn.Module):
    """Decodes weights of up to ``max_shape``; what it makes for a smaller shape is a part of the largest.

    The part has the leading channels.  Its places of the kernel are the leading ones as well, or those in the middle.

    Args:
        max_shape: largest shape decoded.
        centered: whether smaller kernels come from the middle of the largest one.
    """

    def __init__(self, max_shape: Sequence[int], *, centered: bool) -> None:
        super().__init__()
        outputs, inputs, height, width = max_shape
        self.max_shape = (outputs, inputs, height, width)
        self.centered = centered

    @property
    def output_layers(self) -> tuple[nn.Linear | nn.Conv2d, ...]:
        """The layers that make weights, that of last layers among them."""
        raise NotImplementedError

    def window(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the largest kernel that a kernel of this size is."""
        sizes = zip((height, width), self.max_shape[2:], strict=True)
        first = [most // 2 - size // 2 if self.centered else 0 for size, most in sizes]
        return slice(first[0], first[0] + height), slice(first[1], first[1] + width)

    def forward(self, x: Tensor, shape: tuple[int, int, int, int], parts: Parts | None = None) -> Tensor:
        """Weights ``(n, *shape)`` for node features ``(n, hid)``.

        Args:
            x: node features.
            shape: output channels, input channels, kernel height and width, at most the decoder's.
            parts: those of the prediction that this is part of, if any.
        """
        raise NotImplementedError

    def class_layer(self, x: Tensor, inputs: int, parts: Parts | None = None) -> Tensor:
        """Weights ``(n, num_classes, inputs)`` of last layers, for at most the decoder's input channels."""
        raise NotImplementedError


class ConvDecoder(Decoder):
    """A linear layer makes features at each place of the kernel, two 1x1 convolutions turn them into weights.

    Args:
        hid: width of the node features.
        max_shape: largest shape decoded.
        num_classes: outputs of last layers.
        centered: whether smaller kernels come from the middle of the largest one.
    """

    def __init__(self, hid: int, max_shape: Sequence[int], num_classes: int, *, centered: bool = False) -> None:
        super().__init__(max_shape, centered=centered)
        outputs, inputs, height, width = self.max_shape
        self.fc = nn.Sequential(nn.Linear(hid, 4 * hid * height * width), nn.ReLU())
        self.conv = nn.Sequential(nn.Conv2d(4 * hid, 8 * hid, 1), nn.ReLU(), nn.Conv2d(8 * hid, outputs * inputs, 1))
        self.class_layer_predictor = nn.Sequential(nn.ReLU(), nn.Conv2d(outputs, num_classes, 1))

    @property
    def output_layers(self) -> tuple[nn.Linear | nn.Conv2d, ...]:
        """See :attr:`Decoder.output_layers`."""
        return cast(nn.Conv2d, self.conv[2]), cast(nn.Conv2d, self.class_layer_predictor[1])

    def forward(self, x: Tensor, shape: tuple[int, int, int, int], parts: Parts | None = None) -> Tensor:
        """See :meth:`Decoder.forward`."""
        outputs, inputs, height, width = shape
        max_outputs, max_inputs, max_height, max_width = self.max_shape
        rows, columns = self.window(height, width)
        linear = cast(nn.Linear, self.fc[0])
        first, last = cast(nn.Conv2d, self.conv[0]), cast(nn.Conv2d, self.conv[2])
        # Only the rows that the shape needs are computed.  Places of the kernel go before channels, so that the 1x1
        # convolutions are matrix products with all nodes and places as rows.
        parts = Parts() if parts is None else parts
        grid = (-1, max_height, max_width, x.size(1))
        places = parts(linear.weight, grid, (slice(None), rows, columns)).permute(1, 2, 0, 3)
        bias = linear.bias.view(-1, max_height, max_width)[:, rows, columns].permute(1, 2, 0)
        features = F.relu(F.linear(x, places.flatten(0, 2), bias.flatten()))
        features = features.view(len(x), height * width, -1)
        features = F.relu(F.linear(features, first.weight.flatten(1), first.bias))
        weight, weight_bias = last.weight.flatten(1), cast(Tensor, last.bias)
        if (outputs, inputs) != (max_outputs, max_inputs):
            block = (slice(outputs), slice(inputs))
            weight = parts(last.weight, (max_outputs, max_inputs, weight.size(1)), block).flatten(0, 1)
            weight_bias = weight_bias.view(max_outputs, max_inputs)[:outputs, :inputs].flatten()
        found = F.linear(features, weight, weight_bias)
        return found.transpose(1, 2).reshape(len(x), outputs, inputs, height, width)

    def class_layer(self, x: Tensor, inputs: int, parts: Parts | None = None) -> Tensor:
        """See :meth:`Decoder.class_layer`."""
        predictor = cast(nn.Conv2d, self.class_layer_predictor[1])
        hidden = F.relu(self(x, (self.max_shape[0], inputs, 1, 1), parts).flatten(2))
        return torch.matmul(predictor.weight.flatten(1), hidden) + cast(Tensor, predictor.bias)[:, None]


class MLPDecoder(Decoder):
    """Two linear layers.

    Args:
        hid: width of the node features.
        max_shape: largest shape decoded.
        num_classes: outputs of last layers.
        centered: whether smaller kernels come from the middle of the largest one.
    """

    def __init__(self, hid: int, max_shape: Sequence[int], num_classes: int, *, centered: bool = False) -> None:
        super().__init__(max_shape, centered=centered)
        self.mlp = MLP(hid, (2 * hid, math.prod(max_shape)), last_relu=False)
        self.class_layer_predictor = nn.Sequential(nn.ReLU(), nn.Linear(2 * hid, num_classes * self.max_shape[1]))

    @property
    def output_layers(self) -> tuple[nn.Linear | nn.Conv2d, ...]:
        """See :attr:`Decoder.output_layers`."""
        return self.mlp.linear(1), cast(nn.Linear, self.class_layer_predictor[1])

    def forward(self, x: Tensor, shape: tuple[int, int, int, int], parts: Parts | None = None) -> Tensor:
        """See :meth:`Decoder.forward`."""
        last = self.mlp.linear(1)
        part = (slice(shape[0]), slice(shape[1]), *self.window(*shape[2:]))
        parts = Parts() if parts is None else parts
        rows = parts(last.weight, (*self.max_shape, last.in_features), part).flatten(0, 3)
        bias = last.bias.view(self.max_shape)[part].flatten()
        return F.linear(F.relu(self.mlp.linear(0)(x)), rows, bias).view(len(x), *shape)

    def class_layer(self, x: Tensor, inputs: int, parts: Parts | None = None) -> Tensor:
        """See :meth:`Decoder.class_layer`."""
        found: Tensor = self.class_layer_predictor(self.mlp.linear(0)(x))
        return found.view(len(x), -1, self.max_shape[1])[..., :inputs]
