"""The embedded data set: scikit-learn's 1,797 handwritten digits, so that nothing needs downloading."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from ppuda_like.errors import DataError
from ppuda_like.vision._data import ImageData

__all__ = ["DigitsSplit", "digits", "digits_index"]

DigitsSplit = Literal["train", "val", "test"]

_SPLITS = ("train", "val", "test")
_HELD_OUT_PER_CLASS = 25
_SPLIT_SEED = 0


def digits(split: DigitsSplit = "train", size: int = 32) -> ImageData:
    """Handwritten digits, 10 classes, as RGB images of ``size`` pixels.

    The 8x8 images of ``sklearn.datasets.load_digits`` are enlarged bilinearly and their one channel is repeated three
    times.  The mean and standard deviation are those of the train split, enlarged.

    Args:
        split: 1,297 images to train on, 250 to validate and 250 to test, the last two with 25 of each class.
        size: height and width in pixels, 8 or more.

    Raises:
        DataError: if the split is unknown or the size too small.

    Example:
        >>> data = digits("test")
        >>> tuple(data.images.shape), data.labels.bincount().tolist()
        ((250, 3, 32, 32), [25, 25, 25, 25, 25, 25, 25, 25, 25, 25])
    """
    from sklearn.datasets import load_digits

    if size < 8:
        raise DataError(f"'size' must be at least 8, the size of the original digits (got {size})")
    bunch = load_digits()
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    small = torch.from_numpy(bunch.images.astype(np.float32) / 16)[:, None]
    chosen = digits_index(labels.tolist(), split)
    pixels = F.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    train = pixels[digits_index(labels.tolist(), "train")].double()
    mean, std = float(train.mean()), float(train.std(unbiased=False))
    return ImageData(
        images=pixels[chosen].expand(-1, 3, -1, -1).contiguous(),
        labels=labels[chosen],
        class_names=tuple(map(str, bunch.target_names.tolist())),
        mean=(mean, mean, mean),
        std=(std, std, std),
        name=f"digits-{split}",
    )


def digits_index(labels: list[int], split: DigitsSplit) -> torch.Tensor:
    """Positions, ascending, of a split's images among all.

    Within each class the images are ranked by a hash of their position: 25 of them validate, the next 25 test, the rest
    train.  A hash, because random streams differ between versions of a library and this split must not.

    Raises:
        DataError: if the split is unknown.
    """
    if split not in _SPLITS:
        raise DataError(f"unknown split {split!r} of digits; choose one of {', '.join(_SPLITS)}")
    ranked: dict[int, list[int]] = {}
    for position in sorted(range(len(labels)), key=_rank):
        ranked.setdefault(labels[position], []).append(position)
    k = _HELD_OUT_PER_CLASS
    part = {"val": slice(0, k), "test": slice(k, 2 * k), "train": slice(2 * k, None)}[split]
    return torch.tensor(sorted(position for members in ranked.values() for position in members[part]), dtype=torch.long)


def _rank(position: int) -> bytes:
    return hashlib.sha256(f"digits/{_SPLIT_SEED}/{position}".encode()).digest()
