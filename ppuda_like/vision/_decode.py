"""One image file to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ppuda_like.errors import DataError
from ppuda_like.vision._statistics import LARGE

__all__ = ["UnreadableImageError", "read_image"]


class UnreadableImageError(DataError):
    """A file whose content is no image, or a damaged one."""


def read_image(path: Path, size: int | None = None) -> Tensor:
    """Bytes (3, H, W) of an image file, in RGB.

    Args:
        path: the file.
        size: height and width that the image is brought to: its shorter side is resized and the centre cut; from 64
            pixels on, one eighth is cut away around the centre.  Images of that size already are left alone.
            None for the image as it is.

    Raises:
        UnreadableImageError: if the content is not that of an image.
        DataError: if the file cannot be opened.
    """
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    # what Pillow raises on damaged files, found by damaging files of all common formats at random
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"cannot open image '{path}': {error.strerror}") from error
        raise UnreadableImageError(f"unreadable image '{path}' ({error}); replace or delete the file") from error
    if size is not None and image.size != (size, size):
        image = _centre(image, size)
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1)


def _centre(image: Image.Image, size: int) -> Image.Image:
    shorter = size if size < LARGE else round(size / 0.875)
    width, height = _scaled(image.size, shorter)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _scaled(sides: Sequence[int], shorter: int) -> tuple[int, int]:
    scale = shorter / min(sides)
    return max(shorter, round(sides[0] * scale)), max(shorter, round(sides[1] * scale))
