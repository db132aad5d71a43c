"""Images in a folder tree with one folder per class."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from ppuda_like.errors import DataError
from ppuda_like.vision._folder_data import FolderData, Unreadable
from ppuda_like.vision._statistics import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD, LARGE, RGB

__all__ = ["FolderSplit", "class_folders", "folder_data", "image_files", "image_folder"]

FolderSplit = Literal["all", "train", "val", "test"]


def image_folder(
    path: str | Path,
    size: int = 32,
    split: FolderSplit = "all",
    *,
    mean: RGB | None = None,
    std: RGB | None = None,
    unreadable: Unreadable = "error",
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
        unreadable: ``"error"`` for a :class:`DataError` that names the file, when an image is asked for that cannot
            be decoded.  ``"skip"`` decodes every file once, now, leaves out those that cannot be decoded, says so
            in a logged warning and counts them in ``num_skipped``.

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
    data = folder_data(root, chosen, size, mean=mean, std=std, name=f"{root.name}-{split}")
    return data.readable() if unreadable == "skip" else data


def folder_data(
    root: Path,
    members: Mapping[str, Sequence[str]],
    size: int,
    *,
    mean: RGB | None = None,
    std: RGB | None = None,
    name: str = "",
) -> FolderData:
    """The images of each class, with the statistics that suit the size where none are given.

    Args:
        root: folder that holds the files.
        members: files of each class, relative to ``root``, in the order of the labels.
        size: height and width that images are brought to.
        mean: per channel, of pixels in 0..1.
        std: likewise.
        name: what the images are.
    """
    labels = [label for label, files in enumerate(members.values()) for _ in files]
    small = size < LARGE
    return FolderData(
        root=root,
        files=tuple(file for files in members.values() for file in files),
        labels=torch.tensor(labels, dtype=torch.long),
        class_names=tuple(members),
        size=size,
        mean=mean or (CIFAR10_MEAN if small else IMAGENET_MEAN),
        std=std or (CIFAR10_STD if small else IMAGENET_STD),
        name=name,
    )


class _Part:
    """Which stretch of a class's sorted files a split takes, in tenths."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def __call__(self, count: int) -> slice:
        return slice(count * self.start // 10, count * self.stop // 10)


def _members(root: Path, split: FolderSplit) -> tuple[dict[str, list[str]], _Part]:
    """The class folders a split reads, and the part of each it takes."""
    if not (root / "train").is_dir():
        parts = {"all": (0, 10), "train": (0, 8), "val": (8, 9), "test": (9, 10)}
        return class_folders(root), _Part(*parts[split])
    if split == "all":
        raise DataError(f"'{root}' is divided into subfolders such as 'train'; take the split 'train', 'val' or 'test'")
    if (root / split).is_dir() and (split != "train" or (root / "val").is_dir()):
        return class_folders(root, split), _Part(0, 10)
    if split == "test":
        raise DataError(f"'{root}' holds a folder 'train' but none named 'test'; add one or take another split")
    return class_folders(root, "train"), _Part(0, 9) if split == "train" else _Part(9, 10)


def class_folders(root: Path, part: str = "") -> dict[str, list[str]]:
    """Image files of each class folder of ``root / part``, sorted, relative to ``root``.

    Raises:
        DataError: if there is no class folder, or one holds no image.
    """
    top = root / part
    names = sorted(entry.name for entry in top.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"'{top}' holds no class folders; put the images of each class in a folder of its own")
    members = {name: image_files(root, os.path.join(part, name)) for name in names}
    for name, files in members.items():
        if not files:
            raise DataError(
                f"class folder '{top / name}' holds no images ({', '.join(IMG_EXTENSIONS)}); "
                "add some or delete the folder"
            )
    return members


def image_files(root: Path, part: str) -> list[str]:
    """Image files anywhere below ``root / part``, sorted, relative to ``root``; hidden ones are left out."""
    found = []
    for folder, _, files in os.walk(root / part):  # it tells files from folders without a system call for each
        inside = os.path.relpath(folder, root)
        found += [
            os.path.join(inside, file)
            for file in files
            if file.lower().endswith(IMG_EXTENSIONS) and not file.startswith(".")
        ]
    return sorted(found, key=lambda file: Path(file).parts)
