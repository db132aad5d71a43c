"""Mean and standard deviation of the channels of well-known training sets, of pixels in 0..1."""

from __future__ import annotations

__all__ = [
    "CIFAR10_MEAN",
    "CIFAR10_STD",
    "CIFAR100_MEAN",
    "CIFAR100_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LARGE",
    "RGB",
]

RGB = tuple[float, float, float]

CIFAR10_MEAN: RGB = (0.49139968, 0.48215827, 0.44653124)
CIFAR10_STD: RGB = (0.24703233, 0.24348505, 0.26158768)
CIFAR100_MEAN: RGB = (0.50707516, 0.48654887, 0.44091784)
CIFAR100_STD: RGB = (0.26733429, 0.25643846, 0.27615047)
IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)

LARGE = 64
"""Images of this many pixels or more are treated as ImageNet's are, smaller ones as CIFAR's."""
