"""Random windows of images of any size, as networks for ImageNet are trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

__all__ = ["random_resized_crop"]

_TRIES = 10


def random_resized_crop(
    images: Iterable[Tensor],
    size: int,
    generator: torch.Generator,
    *,
    area: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """A random window of each image, brought to one size.

    The distribution of ``torchvision.transforms.v2.RandomResizedCrop`` (Szegedy et al. 2015, arXiv:1409.4842): area and
    the logarithm of width by height are uniform, and so is the place among those where the window fits.  Its draws
    come from the generator alone, so that threads may share a process.

    Args:
        images: shape (channels, h, w) each, of bytes or floats.
        size: height and width of the result.
        generator: source of the randomness, on the CPU.
        area: smallest and largest area of a window, as a share of the image's.
        ratio: smallest and largest width by height of a window.

    Returns:
        Images of shape (n, channels, size, size).

    Example:
        >>> images = [torch.rand(3, 40, 60), torch.rand(3, 80, 50)]
        >>> random_resized_crop(images, 32, torch.Generator()).shape
        torch.Size([2, 3, 32, 32])
    """
    crops = []
    for image in images:
        top, left, height, width = _window(image.size(1), image.size(2), generator, area, ratio)
        crops.append(v2.resized_crop(image, top, left, height, width, [size, size], antialias=True))
    return torch.stack(crops)


def _window(
    height: int, width: int, generator: torch.Generator, area: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a window; the largest central one of a valid ratio where no try fits."""
    # Every image takes the same number of draws, so that the size of one does not change the next.
    tries, place = torch.rand(_TRIES, 2, generator=generator), torch.rand(2, generator=generator)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for share, shape in tries.tolist():
        pixels = height * width * (area[0] + share * (area[1] - area[0]))
        aspect = math.exp(low + shape * (high - low))
        w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < w <= width and 0 < h <= height:
            y, x = (int(at * (room + 1)) for at, room in zip(place.tolist(), (height - h, width - w), strict=True))
            return y, x, h, w
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    return (height - h) // 2, (width - w) // 2, h, w
