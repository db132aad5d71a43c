"""Images in a folder tree with one folder per class, decoded when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from ppuda_like.errors import DataError
from ppuda_like.vision._data import RGB, ImageData, normalise

__all__ = ["FolderData", "FolderSplit", "image_folder"]

FolderSplit = Literal["all", "train", "val", "test"]
CIFAR10_MEAN: RGB = (0.49139968, 0.48215827, 0.44653124)
CIFAR10_STD: RGB = (0.24703233, 0.24348505, 0.26158768)
IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)

_LARGE = 64  # from this size on: shorter side to size / 0.875, then the centre, and ImageNet's statistics


@dataclass(frozen=True, eq=False, kw_only=True)
class FolderData:
    """Labelled images on disk; each is decoded when a batch asks for it.

    Attributes:
        paths: image files, class by class.
        labels: long tensor of shape (N,), the class of each file.
        class_names: names of the class folders, sorted.
        size: height and width that images are brought to.
        mean: what is subtracted from each channel, of pixels in 0..1.
        std: what each channel is divided by.
        name: what the images are, for people to read.
    """

    paths: tuple[Path, ...]
    labels: Tensor
    class_names: tuple[str, ...]
    size: int
    mean: RGB
    std: RGB
    name: str = ""

    @property
    def image_size(self) -> int:
        """Height of the images in pixels."""
        return self.size

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.paths)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """One normalised image (3, size, size) and its label, as torch's data sets give them.

        Raises:
            DataError: if the file cannot be read as an image.
        """
        images, labels = self.batch(torch.tensor([position]))
        return images[0], int(labels)

    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Bytes (n, 3, size, size) and labels (n,) at the positions ``index`` (n,).

        Raises:
            DataError: if a file cannot be read as an image.
        """
        images = [torch.from_numpy(_read(self.paths[position], self.size)) for position in index.tolist()]
        return torch.stack(images).permute(0, 3, 1, 2), self.labels[index]

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (n, 3, size, size) and labels (n,) at the positions ``index`` (n,).

        Raises:
            DataError: if a file cannot be read as an image.
        """
        images, labels = self.pixels(index)
        return normalise(images, self.mean, self.std), labels

    def load(self) -> ImageData:
        """All images decoded into memory: 3 kB each at 32 pixels, 150 kB at 224.

        Raises:
            DataError: if a file cannot be read as an image.
        """
        images, labels = self.pixels(torch.arange(len(self)))
        return ImageData(
            images=images.contiguous(),
            labels=labels,
            class_names=self.class_names,
            mean=self.mean,
            std=self.std,
            name=self.name,
        )


def image_folder(
    path: str | Path,
    size: int = 32,
    split: FolderSplit = "all",
    *,
    mean: RGB | None = None,
    std: RGB | None = None,
) -> FolderData:
    """Images of a tree ``path/CLASS/any.jpg``, or ``path/train/CLASS/..`` beside ``path/test/CLASS/..``.

    With a subfolder ``train``, each split reads the subfolder of its name; where ``val`` is missing, the last tenth of
    each class of ``train`` validates and ``"train"`` leaves it out; ``"all"`` is not defined.
    Of a plain tree ``"val"`` is the second last and ``"test"`` the last tenth of each class, ``"train"`` the rest.

    Args:
        path: the folder.
        size: images are resized (shorter side) and their centre is cut to this height and width; images of that size
            already are left alone.  From 64 pixels on, one eighth is cut away around the centre.
        split: which images.
        mean: per channel; CIFAR-10's below 64 pixels, ImageNet's from there on, where None.
        std: likewise.

    Raises:
        DataError: if the folder is missing, holds no class folder, a class folder holds no image, or the split is
            not there.
    """
    root = Path(path)
    if split not in ("all", "train", "val", "test"):
        raise DataError(f"unknown split {split!r} of an image folder; choose one of all, train, val, test")
    if size < 1:
        raise DataError(f"'size' must be at least 1 pixel (got {size})")
    if not root.is_dir():
        raise DataError(f"no image folder at '{root}'; give a folder that holds one folder of images per class")
    members, kept = _members(root, split)
    chosen = {name: files[kept(len(files))] for name, files in members.items()}
    empty = [name for name, files in chosen.items() if not files]
    if empty:
        raise DataError(
            f"class folder '{empty[0]}' of '{root}' has too few images for the split '{split}'; "
            "add images (10 at least) or take the split 'all'"
        )
    labels = [label for label, files in enumerate(chosen.values()) for _ in files]
    small = size < _LARGE
    return FolderData(
        paths=tuple(file for files in chosen.values() for file in files),
        labels=torch.tensor(labels, dtype=torch.long),
        class_names=tuple(chosen),
        size=size,
        mean=mean or (CIFAR10_MEAN if small else IMAGENET_MEAN),
        std=std or (CIFAR10_STD if small else IMAGENET_STD),
        name=f"{root.name}-{split}",
    )


class _Part:
    """Which stretch of a class's sorted files a split takes, in tenths."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def __call__(self, count: int) -> slice:
        return slice(count * self.start // 10, count * self.stop // 10)


def _members(root: Path, split: FolderSplit) -> tuple[dict[str, list[Path]], _Part]:
    """The class folders a split reads, and the part of each it takes."""
    if not (root / "train").is_dir():
        parts = {"all": (0, 10), "train": (0, 8), "val": (8, 9), "test": (9, 10)}
        return _classes(root), _Part(*parts[split])
    if split == "all":
        raise DataError(f"'{root}' is divided into subfolders such as 'train'; take the split 'train', 'val' or 'test'")
    if (root / split).is_dir() and (split != "train" or (root / "val").is_dir()):
        return _classes(root / split), _Part(0, 10)
    if split == "test":
        raise DataError(f"'{root}' holds a folder 'train' but none named 'test'; add one or take another split")
    return _classes(root / "train"), _Part(0, 9) if split == "train" else _Part(9, 10)


def _classes(root: Path) -> dict[str, list[Path]]:
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"'{root}' holds no class folders; put the images of each class in a folder of its own")
    members = {folder.name: _images(folder) for folder in folders}
    for folder in folders:
        if not members[folder.name]:
            raise DataError(
                f"class folder '{folder}' holds no images ({', '.join(IMG_EXTENSIONS)}); add some or delete the folder"
            )
    return members


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMG_EXTENSIONS and file.is_file())


def _read(path: Path, size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"unreadable image '{path}' ({error}); replace or delete the file") from error
    if image.size != (size, size):
        image = _centre(image, size)
    return np.array(image, dtype=np.uint8)


def _centre(image: Image.Image, size: int) -> Image.Image:
    shorter = size if size < _LARGE else round(size / 0.875)
    width, height = _scaled(image.size, shorter)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - size) // 2, (height - size) // 2
    return image.crop((left, top, left + size, top + size))


def _scaled(sides: Sequence[int], shorter: int) -> tuple[int, int]:
    scale = shorter / min(sides)
    return max(shorter, round(sides[0] * scale)), max(shorter, round(sides[1] * scale))
