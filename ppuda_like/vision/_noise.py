"""Images under Gaussian noise, to measure how robust a network is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError
from ppuda_like.vision._data import ImageSource
from ppuda_like.vision._derived import Derived

__all__ = ["Noisy", "gaussian_noise", "noisy"]


def gaussian_noise(pixels: Tensor, generator: torch.Generator, std: float) -> Tensor:
    """Pixels plus Gaussian noise, clipped to 0..1, before any normalisation.

    Hendrycks and Dietterich (2019), arXiv:1903.12261; with 0.08 on CIFAR-10 and 0.18 on ImageNet it is the corruption
    that the robustness of DeepNets-1M's networks is measured under (Knyazev et al. 2021, arXiv:2110.13100).

    Args:
        pixels: of any shape, bytes or floats in 0..1.
        generator: source of the randomness, on the CPU.
        std: standard deviation of the noise.

    Returns:
        Floats in 0..1 of the same shape.

    Example:
        >>> grey = torch.full((3, 100, 100), 128, dtype=torch.uint8)
        >>> round(float(gaussian_noise(grey, torch.Generator(), 0.08).std()), 2)
        0.08
    """
    images = pixels / 255 if pixels.dtype == torch.uint8 else pixels
    noise = torch.randn(images.shape, generator=generator) * std
    return (images + noise.to(images)).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Noisy(Derived):
    """A source of images under Gaussian noise: image i always gets the same; :func:`noisy` makes one.

    Attributes:
        source: the clean images.
        noise_std: standard deviation of the noise, of pixels in 0..1; ``std`` is what normalisation divides by.
        seed: of the noise.
    """

    noise_std: float
    seed: int = 0

    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy images (n, 3, H, W), floats in 0..1, and labels (n,) at the positions ``index`` (n,)."""
        images, labels = self.source.pixels(index)
        return torch.stack([self._noise(image, i) for image, i in zip(images, index.tolist(), strict=True)]), labels

    def originals(self, index: Tensor) -> Iterator[Tensor]:
        """Noisy pixels (3, H, W) of each image: noise is that of the size the network sees, not of the file's."""
        return iter(self.pixels(index)[0])

    def _noise(self, image: Tensor, position: int) -> Tensor:
        position %= len(self.source)  # an image has one noise, also when counted from the end
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "noise", position))
        return gaussian_noise(image, generator, self.noise_std)


def noisy(source: ImageSource, std: float, seed: int = 0) -> Noisy:
    """The images of a source under Gaussian noise that is fixed for each image.

    ``evaluate(model, noisy(data, 0.08))`` measures the accuracy under noise.

    Args:
        source: the clean images.
        std: standard deviation of the noise, of pixels in 0..1.
        seed: of the noise.

    Raises:
        DataError: if the standard deviation is negative or not finite.

    Example:
        >>> from ppuda_like.vision import digits
        >>> data = noisy(digits("test"), 0.08)
        >>> bool((data[7][0] == data[7][0]).all()), bool((data[7][0] == digits("test")[7][0]).all())
        (True, False)
    """
    if not (math.isfinite(std) and std >= 0):
        raise DataError(f"'std' must be 0 or more, of pixels in 0..1 (got {std})")
    return Noisy(source, std, seed)
