"""What sources of images that are made of another one have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ppuda_like.vision._data import ImageSource, normalise
from ppuda_like.vision._statistics import RGB

__all__ = ["Derived"]


@dataclass(frozen=True, eq=False)
class Derived(ABC):
    """An :class:`ImageSource` made of another: its classes, statistics and size, where they are not overridden.

    Attributes:
        source: the other one.
    """

    source: ImageSource

    @property
    def labels(self) -> Tensor:
        """Class of each image, shape (N,), long."""
        return self.source.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.source.class_names

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return self.source.image_size

    @property
    def mean(self) -> RGB:
        """What normalisation subtracts from each channel, of pixels in 0..1."""
        return self.source.mean

    @property
    def std(self) -> RGB:
        """What normalisation divides each channel by."""
        return self.source.std

    def __len__(self) -> int:
        """Number of images."""
        return len(self.source)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """One normalised image (3, H, W) and its label, as torch's data sets give them."""
        if not -len(self) <= position < len(self):
            raise IndexError(f"position {position} of {len(self)} images")
        images, labels = self.batch(torch.tensor([position % len(self)]))
        return images[0], int(labels[0])

    @abstractmethod
    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, H, W), of bytes or of floats in 0..1, and labels (n,) at the positions ``index`` (n,)."""

    @abstractmethod
    def originals(self, index: Tensor) -> Iterator[Tensor]:
        """Pixels (3, h, w) of each image at the positions ``index`` (n,), as large as the source has them."""

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (n, 3, H, W) and labels (n,) at the positions ``index`` (n,)."""
        images, labels = self.pixels(index)
        return normalise(images, self.mean, self.std), labels
