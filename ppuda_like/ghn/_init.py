"""Initial weights of a hypernetwork for training."""

from __future__ import annotations

import torch
from torch import nn

from ppuda_like.ghn._decoders import ConvDecoder
from ppuda_like.ghn._hypernetwork import GHN

__all__ = ["identity_init"]


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
