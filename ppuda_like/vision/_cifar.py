"""CIFAR-10 and CIFAR-100, as torchvision downloads and reads them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import torch
from filelock import FileLock
from torchvision.datasets import CIFAR10, CIFAR100

from ppuda_like.errors import DataError
from ppuda_like.vision._data import ImageData
from ppuda_like.vision._statistics import CIFAR10_MEAN, CIFAR10_STD, CIFAR100_MEAN, CIFAR100_STD

__all__ = ["cifar"]

_HELD_OUT = 5_000


def cifar(
    name: Literal["cifar10", "cifar100"], split: Literal["train", "val", "test"], root: Path, *, download: bool = False
) -> ImageData:
    """CIFAR-10 or CIFAR-100 (Krizhevsky 2009) in memory, 32 pixels, as bytes.

    Args:
        name: which.
        split: the last 5,000 of the 50,000 training images validate and are not trained on.
        root: folder that holds ``cifar-10-batches-py`` or ``cifar-100-python``.
        download: download them to there if they are missing; checksums are compared.

    Raises:
        DataError: if the files are missing, are not those that were published, or cannot be downloaded.
    """
    kind = CIFAR10 if name == "cifar10" else CIFAR100
    folder = root / kind.base_folder
    try:
        with _alone(root, name) if download else nullcontext():
            # It unpickles nothing but files of known checksums.
            read = kind(root, train=split != "test", download=download)
    except RuntimeError as error:
        if download:
            raise DataError(f"what {kind.url} sends is not {name} as it was published ({error})") from error
        raise DataError(
            f"the files of {name} in '{folder}' are missing or not those published; take download=True, or unpack "
            f"{kind.filename} from {kind.url} in '{root}'"
        ) from error
    except OSError as error:
        if not download:
            raise
        raise DataError(f"could not download {kind.url} to '{root}': {error}") from error
    images = torch.from_numpy(read.data).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor(read.targets, dtype=torch.long)
    first = len(images) - _HELD_OUT
    part = {"train": slice(0, first), "val": slice(first, None), "test": slice(None)}[split]
    return ImageData(
        images=images[part],
        labels=labels[part],
        class_names=tuple(read.classes),
        mean=CIFAR10_MEAN if name == "cifar10" else CIFAR100_MEAN,
        std=CIFAR10_STD if name == "cifar10" else CIFAR100_STD,
        name=f"{name}-{split}",
    )


def _alone(root: Path, name: str) -> FileLock:
    """Processes that start together download once."""
    root.mkdir(parents=True, exist_ok=True)
    return FileLock(root / f".{name}.lock")
