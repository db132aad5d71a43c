"""ImageNet, in the folders that torchvision makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ppuda_like.errors import DataError
from ppuda_like.vision._folder import class_folders, folder_data
from ppuda_like.vision._folder_data import FolderData
from ppuda_like.vision._statistics import IMAGENET_MEAN, IMAGENET_STD

__all__ = ["imagenet"]

_HELD_OUT = 50


def imagenet(root: Path, split: Literal["train", "val", "test"], size: int = 224) -> FolderData:
    """ImageNet (Russakovsky et al. 2015, arXiv:1409.0575) on disk, from ``train/WNID/*.JPEG`` and ``val/WNID/*.JPEG``.

    Labels follow the sorted WordNet ids, as everywhere.

    Args:
        root: folder that holds ``train`` and ``val``.
        split: the last 50 training images of each class, by name, are ``"val"`` and are not trained on; the official
            validation images are ``"test"``, since the labels of the official test are not public.
        size: height and width that images are brought to.

    Raises:
        DataError: if a class holds no image, or too few to hold 50 out, or the folders differ in their classes.
    """
    members = class_folders(root, "train")
    if split == "test":
        official = class_folders(root, "val")
        if list(official) != list(members):
            odd = sorted(set(official) ^ set(members))
            raise DataError(
                f"'{root / 'train'}' and '{root / 'val'}' must hold the same classes ('{odd[0]}' is in "
                "one of them only); is one of the archives not unpacked, or 'val' not sorted into folders of classes?"
            )
        members = official
    else:
        for name, files in members.items():
            if len(files) <= _HELD_OUT:
                raise DataError(
                    f"class folder '{root / 'train' / name}' has {len(files)} images, too few to hold {_HELD_OUT} out; "
                    "is its archive unpacked?"
                )
        part = slice(None, -_HELD_OUT) if split == "train" else slice(-_HELD_OUT, None)
        members = {name: files[part] for name, files in members.items()}
    return folder_data(root, members, size, mean=IMAGENET_MEAN, std=IMAGENET_STD, name=f"imagenet-{split}")
