"""From the features of nodes to blocks of weights, a group of like tensors at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ppuda_like.ghn._decoders import Decoder
from ppuda_like.ghn._layers import MLP
from ppuda_like.ghn._parts import Parts
from ppuda_like.ghn._targets import DecodeKey

__all__ = ["Heads", "decode"]


class Heads(NamedTuple):
    """The decoders of a hypernetwork, for one prediction.

    Attributes:
        weights: makes kernels, and weights of last layers.
        vectors: makes two rows for each node: the weight of a normalisation, and any other layer's bias.
        class_bias: turns a row into the bias of a last layer.
        parts: of the decoders' weights.
    """

    weights: Decoder
    vectors: MLP
    class_bias: nn.Module
    parts: Parts


def decode(heads: Heads, x: Tensor, key: DecodeKey, *, normalise: bool) -> Tensor:
    """Blocks of weights for tensors with the same key, one per tensor, to be laid out by ``write_tiled``.

    They have the dtype of the features, under :class:`torch.autocast` as well: weights are made to be used in many
    places, and low precision would be lost for all of them.

    Args:
        heads: the decoders.
        x: features of the nodes that hold the tensors, ``(n, hid)``.
        key: key of the tensors.
        normalise: whether to bound weights of normalisations to (0, 2) and biases to (-1, 1).

    Returns:
        Blocks of shape ``(n, ...)``, without the fan-in normalisation of weights.
    """
    with _as_given(x.device.type):
        return _decode(heads, x, key, normalise)


def _as_given(device: str) -> AbstractContextManager[object]:
    """No autocast.  Entering its context takes time, and fails for devices that have none, such as ``"meta"``."""
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _decode(heads: Heads, x: Tensor, key: DecodeKey, normalise: bool) -> Tensor:
    if key.kind == "class_weight":
        return heads.weights.class_layer(x, key.shape[1], heads.parts)
    if key.kind == "kernel":
        return _resized(heads.weights(x, key.shape, heads.parts), key.kernel)
    if key.kind == "grid":  # as tokens: the places of the grid in one dimension, and channels last
        return (
            _resized(heads.weights(x, key.shape, heads.parts), key.kernel)
            .flatten(3)
            .transpose(2, 3)
            .squeeze(1)[:, None]
        )
    found: Tensor = heads.vectors(x)
    if key.kind == "scale":
        return found[..., None, None]
    row = 0 if key.kind == "norm_weight" else 1
    found = found.view(len(x), 2, -1)[:, row]
    if key.kind == "class_bias":
        found = heads.class_bias(found)
    if not normalise:
        return found
    return 2 * torch.sigmoid(0.5 * found) if key.kind == "norm_weight" else torch.tanh(0.2 * found)


def _resized(weights: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Kernels ``(n, outputs, inputs, height, width)`` of the wanted size, by bilinear interpolation."""
    if weights.shape[3:] == kernel:
        return weights
    found = F.interpolate(weights.flatten(0, 1), size=kernel, mode="bilinear")
    return found.view(*weights.shape[:3], *kernel)
