"""Initial weights of a hypernetwork for training."""

from __future__ import annotations

import math

import torch
from torch import nn

from ppuda_like.ghn._decoders import ConvDecoder
from ppuda_like.ghn._hypernetwork import GHN

__all__ = ["common_init", "fan_in_init", "identity_init"]


def fan_in_init(ghn: GHN, generator: torch.Generator) -> None:
    """Initialise the decoder of weights so that it predicts unit variance, before scaling by fan-in; in place.

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
        if not isinstance(layer, nn.Linear | nn.Conv2d) or layer.bias is None:
            raise TypeError(f"expected a layer with weight and bias in the decoder (got {type(layer).__name__})")
        fan_in = math.prod(layer.weight.shape[1:])
        nn.init.normal_(layer.weight, std=math.sqrt(gain / fan_in), generator=generator)
        nn.init.zeros_(layer.bias)


def common_init(ghn: GHN, generator: torch.Generator) -> None:
    """Initialise the decoder of weights so that what it predicts first is nearly the same for all nodes; in place.

    The bias of its first layer outweighs what the layer makes of the node.  Networks then begin with one shared set of
    filters, and learn where to differ.

    Args:
        ghn: with a convolutional decoder.
        generator: source of the randomness.

    Raises:
        TypeError: if the decoder is of another kind.
    """
    decoder = ghn.decoder
    first = decoder.fc[0] if isinstance(decoder, ConvDecoder) else None
    if not isinstance(first, nn.Linear):
        raise TypeError(f"'common' initialisation is for the decoder 'conv' (got {type(decoder).__name__})")
    nn.init.normal_(first.bias, std=0.5, generator=generator)


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
