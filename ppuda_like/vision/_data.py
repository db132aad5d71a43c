"""Labelled images: what every evaluation and training in the package reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ppuda_like.errors import DataError
from ppuda_like.vision._statistics import RGB

__all__ = ["ImageData", "ImageSource", "normalise"]


class ImageSource(Protocol):
    """Labelled images that are served in batches, from memory or from disk."""

    @property
    def labels(self) -> Tensor:
        """Class of each image, shape (N,), long."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""

    @property
    def mean(self) -> RGB:
        """What normalisation subtracts from each channel, of pixels in 0..1."""

    @property
    def std(self) -> RGB:
        """What normalisation divides each channel by."""

    def __len__(self) -> int:
        """Number of images."""

    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, H, W), of bytes or of floats in 0..1, and labels (n,) at the positions ``index`` (n,)."""

    def originals(self, index: Tensor) -> Iterator[Tensor]:
        """Pixels (3, h, w) of each image at the positions ``index`` (n,), as large as the source has them."""

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (n, 3, H, W) and labels (n,) at the positions ``index`` (n,)."""


def normalise(pixels: Tensor, mean: RGB, std: RGB) -> Tensor:
    """``(pixels - mean) / std`` per channel, of bytes or of floats in 0..1.

    Args:
        pixels: shape (..., 3, H, W).
        mean: of each channel, of pixels in 0..1.
        std: likewise.

    Example:
        >>> normalise(torch.full((3, 1, 1), 255, dtype=torch.uint8), (0.5,) * 3, (0.25,) * 3).flatten().tolist()
        [2.0, 2.0, 2.0]
    """
    scale = 255.0 if pixels.dtype == torch.uint8 else 1.0
    shift = torch.tensor(mean, device=pixels.device)[:, None, None] * scale
    width = torch.tensor(std, device=pixels.device)[:, None, None] * scale
    return (pixels - shift) / width


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageData:
    """Labelled images in memory; batches of them are normalised by ``(pixel - mean) / std``.

    Attributes:
        images: pixels of shape (N, 3, H, W): bytes, or floats in 0..1.
        labels: long tensor of shape (N,), values in ``range(len(class_names))``.
        class_names: name of each class, by label.
        mean: what is subtracted from each channel, of pixels in 0..1.
        std: what each channel is divided by.
        name: what the images are, for people to read.
        num_skipped: images left out because their files could not be decoded.

    Raises:
        DataError: if shapes or dtypes differ from these, there is no image, or a label has no class.

    Example:
        >>> data = ImageData(images=torch.zeros(2, 3, 8, 8), labels=torch.tensor([0, 1]), class_names=("a", "b"))
        >>> len(data), data.image_size
        (2, 8)
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    mean: RGB = (0.0, 0.0, 0.0)
    std: RGB = (1.0, 1.0, 1.0)
    name: str = ""
    num_skipped: int = 0

    def __post_init__(self) -> None:
        pixels = self.images.is_floating_point() or self.images.dtype == torch.uint8
        if self.images.dim() != 4 or self.images.size(1) != 3 or not pixels:
            raise DataError(
                f"'images' must be a tensor of bytes, or floats in 0..1, of shape (N, 3, H, W) "
                f"(got {self.images.dtype}, {tuple(self.images.shape)})"
            )
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != torch.long:
            raise DataError(
                f"'labels' must be a long tensor of shape ({len(self.images)},) "
                f"(got {self.labels.dtype}, {tuple(self.labels.shape)})"
            )
        if not len(self.images):
            raise DataError("a data set must hold at least one image (got none)")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.class_names):
            raise DataError(f"labels must be in 0..{len(self.class_names) - 1}, one per class name (got {low}..{high})")

    @property
    def image_size(self) -> int:
        """Height of the images in pixels."""
        return self.images.size(2)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """One normalised image (3, H, W) and its label, as torch's data sets give them."""
        return normalise(self.images[position], self.mean, self.std), int(self.labels[position])

    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (n, 3, H, W) as they are stored, and labels (n,) at the positions ``index`` (n,)."""
        return self.images[index], self.labels[index]

    def originals(self, index: Tensor) -> Iterator[Tensor]:
        """Pixels (3, H, W) of each image at the positions ``index`` (n,)."""
        return iter(self.images[index])

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (n, 3, H, W) and labels (n,) at the positions ``index`` (n,)."""
        images, labels = self.pixels(index)
        return normalise(images, self.mean, self.std), labels
