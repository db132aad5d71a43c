"""Initial weights of a hypernetwork for training."""

from __future__ import annotations

import math

import torch
from torch import nn

from ppuda_like.ghn._decoders import ConvDecoder
from ppuda_like.ghn._hypernetwork import GHN

__all__ = ["fan_in_init"]


def fan_in_init(ghn: GHN, generator: torch.Generator) -> None:
    """Initialise the decoder of weights so that what it predicts has unit variance before it is scaled by fan-in; in place.

    With torch's own initialisation predicted weights come out about ten times too small, which networks without
    normalisation do not recover from, and each update changes them by a multiple of what they are.  With unit
    variance the fan-in scaling of GHN-2 (arXiv:2110.13100, section 4.2) makes them He-initialised networks, as
    principled initialisation of hypernetworks asks for (Chang et al., ICLR 2020).

    Args:
        ghn: with a convolutional decoder; nothing else is touched.
        generator: source of the randomness.

    Raises:
        TypeError: if the decoder is of another kind.
    """
    decoder = ghn.decoder
    if not isinstance(decoder, ConvDecoder):
        raise TypeError(f"'fan_in' initialisation is for the decoder 'conv' (got {type(decoder).__name__})")
    layers = (
        (decoder.fc[0], 2.0),
        (decoder.conv[0], 2.0),
        (decoder.conv[2], 1.0),
        (decoder.class_layer_predictor[1], 2.0),
    )
    for layer, gain in layers:
        fan_in = math.prod(layer.weight.shape[1:])
        nn.init.normal_(layer.weight, std=math.sqrt(gain / fan_in), generator=generator)
        nn.init.zeros_(layer.bias)
