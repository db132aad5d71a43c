"""Images of a source in another size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torchvision.transforms.v2 import functional as v2

from ppuda_like.errors import DataError
from ppuda_like.vision._data import ImageSource
from ppuda_like.vision._derived import Derived

__all__ = ["Resized", "resized"]


@dataclass(frozen=True, eq=False)
class Resized(Derived):
    """A source of images, resized as they are asked for; :func:`resized` makes one.

    Attributes:
        source: the images.
        size: their new height and width.
    """

    size: int

    @property
    def image_size(self) -> int:
        """Height and width of the images in pixels."""
        return self.size

    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 3, size, size), of bytes or of floats in 0..1, and labels (n,) at the positions ``index`` (n,)."""
        images, labels = self.source.pixels(index)
        return v2.resize(images, [self.size, self.size], antialias=True), labels

    def originals(self, index: Tensor) -> Iterator[Tensor]:
        """Pixels (3, h, w) of each image at the positions ``index`` (n,), as large as the source has them."""
        return self.source.originals(index)


def resized(source: ImageSource, size: int) -> ImageSource:
    """The images of a source in another size, resized bilinearly when they are asked for; itself if it has that size.

    Args:
        source: the images, square ones.
        size: their new height and width.

    Raises:
        DataError: if the size is not positive.

    Example:
        >>> from ppuda_like.vision import digits
        >>> import torch
        >>> tuple(resized(digits("test"), 48).pixels(torch.tensor([0]))[0].shape)
        (1, 3, 48, 48)
    """
    if size < 1:
        raise DataError(f"'size' must be at least 1 pixel (got {size})")
    return source if source.image_size == size else Resized(source, size)
