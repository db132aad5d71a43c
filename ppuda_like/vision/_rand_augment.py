"""Random operations on images, after RandAugment."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

__all__ = ["rand_augment"]


def rand_augment(images: Tensor, generator: torch.Generator, *, operations: int = 2, magnitude: int = 9) -> Tensor:
    """Each image changed by operations drawn at random: turns, shears, moves, colours, contrast and the like.

    Cubuk et al. (2020), arXiv:1909.13719; ``torchvision.transforms.v2.RandAugment``, whose draws for each image come
    from a seed that the generator gives.

    Args:
        images: shape (n, 3, H, W), bytes or floats in 0..1.
        generator: source of the randomness, on the CPU.
        operations: for each image, one after the other.
        magnitude: how much they change it, 0 to 30.

    Example:
        >>> images = torch.full((2, 3, 8, 8), 128, dtype=torch.uint8)
        >>> rand_augment(images, torch.Generator()).shape
        torch.Size([2, 3, 8, 8])
    """
    change = v2.RandAugment(operations, magnitude)
    changed = []
    for image, seed in zip(images, torch.randint(2**31, (len(images),), generator=generator).tolist(), strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            changed.append(change(image))
    return torch.stack(changed)
