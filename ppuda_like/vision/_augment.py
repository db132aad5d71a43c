"""Random variation of training images, on tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["random_affine"]


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    *,
    shift: float = 2.0,
    degrees: float = 10.0,
    scale: float = 0.1,
) -> Tensor:
    """Each image shifted, turned and scaled at random; never flipped.  What comes in from outside repeats the border.

    Args:
        images: shape (n, channels, H, W).
        generator: source of the randomness, on the CPU.
        shift: largest shift along each axis, in pixels of an image of 32; it grows with the image.
        degrees: largest rotation either way.
        scale: largest relative change of size.

    Returns:
        New images of the same shape.

    Example:
        >>> images = torch.rand(2, 3, 8, 8)
        >>> same = random_affine(images, torch.Generator(), shift=0, degrees=0, scale=0)
        >>> bool(torch.allclose(same, images, atol=1e-5))
        True
    """
    n = len(images)
    draw = torch.rand(4, n, generator=generator) * 2 - 1
    angle = draw[0] * math.radians(degrees)
    size = 1 + draw[1] * scale
    cos, sin = angle.cos() * size, angle.sin() * size
    dx, dy = draw[2:] * (2 * shift / 32)  # the grid runs from -1 to 1
    theta = torch.stack((torch.stack((cos, -sin, dx), dim=1), torch.stack((sin, cos, dy), dim=1)), dim=1)
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
