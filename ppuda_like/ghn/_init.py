"""Initial weights of a hypernetwork for training, and what keeps those it predicts small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ppuda_like.errors import PredictionError
from ppuda_like.ghn._decoders import ConvDecoder
from ppuda_like.ghn._graphormer import EdgeBias

if TYPE_CHECKING:
    from ppuda_like.ghn._hypernetwork import GHN

__all__ = ["graphormer_init", "identity_init", "parameter_norms"]


@torch.no_grad()
def graphormer_init(ghn: GHN) -> None:
    """The initial weights of GHN-3 (arXiv:2303.04143), in place; a :class:`GHN` with a Graphormer begins with them.

    Tables of embeddings are drawn from the normal distribution of standard deviation ``hid**-0.5``, cut off at -2 and
    2, but for that of distances between nodes, which keeps its sinusoids.  The last layers of the decoders, whose
    output a deep hypernetwork would make too large to train with, get a fifth of torch's weights and no bias.

    Args:
        ghn: any hypernetwork with decoders of the usual names.
    """
    tables = {module.embed for module in ghn.modules() if isinstance(module, EdgeBias)}
    for module in ghn.modules():
        if isinstance(module, nn.Embedding) and module not in tables:
            nn.init.trunc_normal_(module.weight, std=ghn.config.hid**-0.5)
    for layer in (*ghn.decoder.output_layers, ghn.decoder_1d.linear(1)):
        layer.weight /= 5
        if layer.bias is not None:
            layer.bias.zero_()


def parameter_norms(predicted: Mapping[str, Tensor]) -> Tensor:
    """Sum of the Frobenius norms of predicted tensors, the regulariser of GHN-3, which adds 3e-5 times it to the loss.

    Args:
        predicted: parameters of one network, by name; see :meth:`GHN.predict`.

    Returns:
        A scalar in at least float32, differentiable; the gradient of a tensor of zeros is zero.

    Raises:
        PredictionError: if there is no tensor.

    Example:
        >>> parameter_norms({"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([1.0])}).item()
        6.0
    """
    if not predicted:
        raise PredictionError("there are no predicted tensors whose norms to add (got none); predict a network first")
    norms = [
        torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
        for tensor in predicted.values()
    ]
    return torch.stack(norms).sum()


def identity_init(ghn: GHN, *, diagonal: float = 1.0, first: float = 0.5) -> None:
    """Let the networks predicted first carry channels through: adds to the bias of the decoder's last layer; in place.

    With torch's own initialisation every network begins with weights of its own, a channel means another thing in each
    of them, and the gradients of two networks have next to nothing in common.  Here a predicted convolution begins as
    ``diagonal`` times the identity of channels plus ``first`` times the first input channel (the only one that a
    depthwise kernel has) plus what torch's initialisation makes: channels mean the same in all networks, and what one
    network learns helps the others.

    Args:
        ghn: with a convolutional decoder.
        diagonal: weight of input channel i for output channel i.
        first: weight of input channel 0 for each output channel.

    Raises:
        TypeError: if the decoder is of another kind.
    """
    decoder = ghn.decoder
    last = decoder.conv[2] if isinstance(decoder, ConvDecoder) else None
    if not isinstance(decoder, ConvDecoder) or not isinstance(last, nn.Conv2d) or last.bias is None:
        raise TypeError(f"'identity' initialisation is for the decoder 'conv' (got {type(decoder).__name__})")
    outputs, inputs = decoder.max_shape[:2]
    with torch.no_grad():
        channels = last.bias.view(outputs, inputs)
        channels += diagonal * torch.eye(outputs, inputs, device=channels.device)
        channels[:, 0] += first
