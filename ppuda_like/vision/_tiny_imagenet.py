"""Tiny ImageNet, in the layout of its archive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from ppuda_like.errors import DataError
from ppuda_like.vision._folder import folder_data, image_files
from ppuda_like.vision._folder_data import FolderData
from ppuda_like.vision._statistics import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["tiny_imagenet"]


def tiny_imagenet(root: Path, split: Literal["train", "val", "test"], size: int = 64) -> FolderData:
    """Tiny ImageNet on disk: 200 classes with 500 training images of 64 pixels each.

    Args:
        root: folder that holds ``wnids.txt``, ``train/WNID/images`` and ``val``; the labels are the lines of
            ``wnids.txt``.
        split: the last tenth of each class's training images, by name, is ``"val"`` and is not trained on; the official
            validation images are ``"test"``, since the labels of the official test are not public.
        size: height and width that images are brought to.

    Raises:
        DataError: if a file of lists is missing or names what is not there, or a class has too few images.
    """
    classes = _lines(root / "wnids.txt")
    members = _validation(root, classes) if split == "test" else _training(root, classes, split)
    return folder_data(root, members, size, mean=IMAGENET_MEAN, std=IMAGENET_STD, name=f"tiny-imagenet-{split}")


def _training(root: Path, classes: list[str], split: str) -> dict[str, list[str]]:
    members = {}
    for name in classes:
        files = image_files(root, os.path.join("train", name, "images"))
        first = len(files) * 9 // 10
        members[name] = files[:first] if split == "train" else files[first:]
        if not members[name]:
            raise DataError(
                f"'{root / 'train' / name / 'images'}' has {len(files)} images, too few for the split '{split}'; "
                "unpack the archive again"
            )
    return members


def _validation(root: Path, classes: list[str]) -> dict[str, list[str]]:
    lists = root / "val" / "val_annotations.txt"
    there = set(image_files(root, os.path.join("val", "images")))
    members: dict[str, list[str]] = {name: [] for name in classes}
    for number, line in enumerate(_lines(lists), start=1):
        fields = line.split("\t")
        file = os.path.join("val", "images", fields[0])
        if len(fields) < 2 or fields[1] not in members or file not in there:
            raise DataError(
                f"line {number} of '{lists}' must name an image in '{root / 'val' / 'images'}' and one of the "
                f"{len(classes)} classes of wnids.txt (got {line!r}); unpack the archive again"
            )
        members[fields[1]].append(file)
    return {name: sorted(files) for name, files in members.items()}


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise DataError(f"no readable list '{path}' ({error}); unpack the archive of Tiny ImageNet again") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"'{path}' is empty; unpack the archive of Tiny ImageNet again")
    return lines
