"""How training images vary: which random functions, and at which stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ppuda_like.vision._color import color_jitter
from ppuda_like.vision._data import ImageSource, normalise
from ppuda_like.vision._rand_augment import rand_augment
from ppuda_like.vision._resized_crop import random_resized_crop
from ppuda_like.vision._vary import cutout, random_affine, random_crop, random_flip

__all__ = ["AUGMENTATIONS", "Augmentation", "Variation"]

Frame = Callable[[Iterable[Tensor], int, torch.Generator], Tensor]
Vary = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How training images vary, in the three stages between their source and a network.

    Attributes:
        frame: brings originals (3, h, w) of any size to pixels (n, 3, size, size); None for what the source itself
            does, without randomness.
        pixels: functions of pixels (n, 3, H, W), of bytes or floats in 0..1, one after the other.
        normalised: functions of normalised images (n, 3, H, W), whose 0 is the mean colour.

    Example:
        >>> from ppuda_like.vision import digits
        >>> vary = Variation(frame=random_resized_crop, normalised=(cutout,))
        >>> images, labels = vary.batch(digits("test"), torch.arange(5), torch.Generator())
        >>> tuple(images.shape), labels.tolist() == digits("test").labels[:5].tolist()
        ((5, 3, 32, 32), True)
    """

    frame: Frame | None = None
    pixels: tuple[Vary, ...] = ()
    normalised: tuple[Vary, ...] = ()

    def batch(self, data: ImageSource, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Varied and normalised images (n, 3, H, W) and labels (n,) at the positions ``index`` (n,).

        Args:
            data: where the images come from.
            index: which.
            generator: source of the randomness, on the CPU.
        """
        if self.frame is None:
            images, labels = data.pixels(index)
        else:
            images, labels = self.frame(data.originals(index), data.image_size, generator), data.labels[index]
        for vary in self.pixels:
            images = vary(images, generator)
        images = normalise(images, data.mean, data.std)
        for vary in self.normalised:
            images = vary(images, generator)
        return images, labels


Augmentation = Literal["none", "affine", "crop", "crop-cutout", "crop-rand", "imagenet", "imagenet-rand"]

AUGMENTATIONS: Mapping[Augmentation, Variation] = {
    "none": Variation(),
    "affine": Variation(pixels=(random_affine,)),
    "crop": Variation(pixels=(random_crop, random_flip)),
    "crop-cutout": Variation(pixels=(random_crop, random_flip), normalised=(cutout,)),
    "crop-rand": Variation(pixels=(random_crop, random_flip, rand_augment)),
    "imagenet": Variation(frame=random_resized_crop, pixels=(random_flip, color_jitter)),
    "imagenet-rand": Variation(frame=random_resized_crop, pixels=(random_flip, rand_augment)),
}
"""Variations by name: ``"affine"`` for digits; ``"crop"`` for CIFAR, and ``"crop-cutout"`` to train long on it;
``"imagenet"``, windows of the original images, flips and colours, for large images; those on ``"-rand"`` have
RandAugment."""
