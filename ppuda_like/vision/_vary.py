"""Random variation of images of one size: moves, mirrors, turns, blanks."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cutout", "random_affine", "random_crop", "random_flip"]


def random_crop(images: Tensor, generator: torch.Generator, *, padding: int = 4) -> Tensor:
    """Each image moved by up to ``padding`` pixels along each axis; zeros come in from outside.

    Args:
        images: shape (n, channels, H, W), of any dtype.
        generator: source of the randomness, on the CPU.
        padding: largest shift.

    Example:
        >>> images = torch.ones(5, 3, 8, 8)
        >>> random_crop(images, torch.Generator(), padding=2).shape
        torch.Size([5, 3, 8, 8])
    """
    n, _, height, width = images.shape
    top, left = torch.randint(2 * padding + 1, (2, n), generator=generator).tolist()
    padded = F.pad(images, (padding,) * 4)
    return torch.stack(
        [  # views, copied once: faster than indexing, also on large images
            image[:, y : y + height, x : x + width] for image, y, x in zip(padded, top, left, strict=True)
        ]
    )


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image mirrored left to right with probability 1/2.

    Args:
        images: shape (n, channels, H, W), of any dtype.
        generator: source of the randomness, on the CPU.
    """
    flipped = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(3), images)


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
        images: shape (n, channels, H, W), bytes or floats; of bytes come floats in 0..1.
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
    if images.dtype == torch.uint8:
        images = images / 255
    n = len(images)
    draw = torch.rand(4, n, generator=generator) * 2 - 1
    angle = draw[0] * math.radians(degrees)
    size = 1 + draw[1] * scale
    cos, sin = angle.cos() * size, angle.sin() * size
    dx, dy = draw[2:] * (2 * shift / 32)  # the grid runs from -1 to 1
    theta = torch.stack((torch.stack((cos, -sin, dx), dim=1), torch.stack((sin, cos, dy), dim=1)), dim=1)
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def cutout(images: Tensor, generator: torch.Generator, *, size: int = 16, fill: float = 0.0) -> Tensor:
    """A square of each image blanked, about a centre that is uniform over the image; it may reach over the border.

    DeVries and Taylor (2017), arXiv:1708.04552, as the DARTS protocol uses it: on normalised images, whose 0 is the
    mean colour.

    Args:
        images: shape (n, channels, H, W), of any dtype.
        generator: source of the randomness, on the CPU.
        size: height and width of the square in pixels.
        fill: the value put there.

    Example:
        >>> images = torch.ones(5, 3, 32, 32)
        >>> blank = 3 * 32 * 32 - cutout(images, torch.Generator()).sum(dim=(1, 2, 3))
        >>> bool((blank >= 3 * 8 * 8).all() and (blank <= 3 * 16 * 16).all())
        True
    """
    n, _, height, width = images.shape
    middle = torch.rand(2, n, generator=generator) * torch.tensor([[height], [width]])
    top, left = (middle.long() - size // 2).to(images.device)
    rows = torch.arange(height, device=images.device) - top[:, None]
    columns = torch.arange(width, device=images.device) - left[:, None]
    blank = ((rows >= 0) & (rows < size))[:, :, None] & ((columns >= 0) & (columns < size))[:, None, :]
    return images.masked_fill(blank[:, None], fill)
