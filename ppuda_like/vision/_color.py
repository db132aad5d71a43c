"""Random variation of colours."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

__all__ = ["color_jitter"]


def color_jitter(
    images: Tensor,
    generator: torch.Generator,
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.2,
) -> Tensor:
    """Each image in other brightness, contrast, saturation and hue, changed in random order.

    The distribution of ``torchvision.transforms.v2.ColorJitter``; the defaults are those of the DARTS protocol for
    ImageNet (Liu et al. 2019, arXiv:1806.09055).  Its draws come from the generator alone.

    Args:
        images: shape (n, 3, H, W), bytes or floats in 0..1.
        generator: source of the randomness, on the CPU.
        brightness: the factor is uniform in 1 - brightness .. 1 + brightness.
        contrast: likewise.
        saturation: likewise.
        hue: the shift is uniform in -hue .. hue, where 0.5 is half the circle of colours.

    Example:
        >>> grey = torch.full((2, 3, 8, 8), 0.5)
        >>> found = color_jitter(grey, torch.Generator(), brightness=0.4)
        >>> bool((found >= 0.29).all() and (found <= 0.71).all())
        True
    """
    widths = torch.tensor((brightness, contrast, saturation, hue))
    centres = torch.tensor((1.0, 1.0, 1.0, 0.0))
    changed = []
    for image in images:
        amounts = (centres + (2 * torch.rand(4, generator=generator) - 1) * widths).tolist()
        for kind in torch.randperm(4, generator=generator).tolist():
            if widths[kind] > 0:
                image = _CHANGES[kind](image, amounts[kind])
        changed.append(image)
    return torch.stack(changed)


_CHANGES = (v2.adjust_brightness, v2.adjust_contrast, v2.adjust_saturation, v2.adjust_hue)
