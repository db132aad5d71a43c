"""The Penn-Fudan pedestrians: 170 street scenes with a mask of each person."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from ppuda_like.errors import DataError
from ppuda_like.vision._archive import unpacked

__all__ = ["PennFudan", "PennFudanSplit", "penn_fudan"]

PennFudanSplit = Literal["all", "train", "test"]

_SPLIT_SEED = 0
_IMAGES, _MASKS = "PNGImages", "PedMasks"
_WANTED = (f"{_IMAGES}/*.[pP][nN][gG]", f"{_MASKS}/*.[pP][nN][gG]")  # of an archive
_MOST_BYTES = 4 << 30  # of them, unpacked
_HOME = "https://www.cis.upenn.edu/~jshi/ped_html/"


@dataclass(frozen=True, eq=False, kw_only=True)
class PennFudan(Dataset[tuple[Tensor, dict[str, Any]]]):
    """Images with the boxes of the people in them, read when they are asked for.

    An item is an image, a ``tv_tensors.Image`` of floats in 0..1 of shape (3, H, W), and a dictionary:

    - ``boxes``: ``tv_tensors.BoundingBoxes`` (n, 4), float32, corners x1, y1, x2, y2 in pixels.  x1 and y1 are the
      first column and row of a person's pixels, x2 and y2 one more than the last, so that a box has the extent of
      its pixels exactly.  (Boxes from the last pixel itself, as often used with these data, are one pixel smaller.)
    - ``labels``: (n,), long, all 1.
    - ``masks``: ``tv_tensors.Mask`` (n, H, W) of zeros and ones, bytes; with ``with_masks`` only.
    - ``image_id``: position of the image among all of the folder, in the order of their names.
    - ``area``: of each box in square pixels, (n,), float32.
    - ``iscrowd``: (n,), long, all 0.

    The people of an image are in the order of their numbers in its mask.

    Attributes:
        images: one file per image.
        masks: the mask of each: the pixels of person k have the value k, those of the background 0.
        image_ids: position of each among all images of the folder.
        with_masks: whether items hold masks.
        name: what the images are, for people to read.
    """

    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    image_ids: tuple[int, ...]
    with_masks: bool = False
    name: str = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each label; label 0 stands for no object."""
        return ("background", "pedestrian")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[Tensor, dict[str, Any]]:
        """An image and its target.

        Raises:
            DataError: if a file cannot be read as an image, the mask has another size than the image, is no image of
                numbers, or holds no person, or a person in it is one pixel wide or high.
        """
        image = np.array(_open(self.images[position]).convert("RGB"))
        numbers = _numbers(self.masks[position], (image.shape[0], image.shape[1]))
        people = [number for number in np.unique(numbers).tolist() if number]
        if not people:
            raise DataError(f"the mask '{self.masks[position]}' holds no person; delete it and its image")
        masks = torch.from_numpy(np.stack([numbers == number for number in people]).astype(np.uint8))
        boxes = torch.tensor([_extent(mask, self.masks[position]) for mask in masks], dtype=torch.float32)
        target: dict[str, Any] = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=image.shape[:2]),
            "labels": torch.ones(len(people), dtype=torch.long),
            "image_id": self.image_ids[position],
            "area": (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            "iscrowd": torch.zeros(len(people), dtype=torch.long),
        }
        if self.with_masks:
            target["masks"] = tv_tensors.Mask(masks)
        pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
        return tv_tensors.Image(pixels.contiguous()), target


def penn_fudan(
    root: str | Path,
    split: PennFudanSplit = "all",
    *,
    num_test: int = 50,
    with_masks: bool = False,
) -> PennFudan:
    """The Penn-Fudan pedestrians (Wang et al., ACCV 2007), or any data in their layout.

    ``PNGImages/NAME.png`` are the images and ``PedMasks/NAME_mask.png`` their masks.  The images are put in a random
    order that depends on their names alone (a SHA-256 of a seed and the name, so that no library's random stream
    matters); its last 50 are the test images, the others are for training.

    Args:
        root: the folder ``PennFudanPed``, the folder that holds it, or the zip or tar file of it, which is unpacked
            beside itself.
        split: which images.
        num_test: how many are test images.
        with_masks: whether items hold the masks of the people.

    Raises:
        DataError: if there are no data, an image has no mask or a mask no image, the archive is damaged, or no image
            would be left for training.

    Example:
        >>> import tempfile
        >>> from ppuda_like.vision import generate_pedestrians
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = generate_pedestrians(f"{folder}/made", 6)
        ...     data = penn_fudan(root, "test", num_test=2)
        ...     image, target = data[0]
        >>> len(data), tuple(image.shape), target["boxes"].shape[1]
        (2, (3, 96, 128), 4)
    """
    if split not in ("all", "train", "test"):
        raise DataError(f"unknown split {split!r} of Penn-Fudan; choose one of all, train, test")
    folder = _folder(Path(root))
    pairs = _pairs(folder)
    if split == "all":
        chosen = list(range(len(pairs)))
    else:
        if not 1 <= num_test < len(pairs):
            raise DataError(
                f"'num_test' must be in 1..{len(pairs) - 1}: '{folder}' holds {len(pairs)} images, of which some "
                f"must be left for training (got {num_test})"
            )
        order = sorted(range(len(pairs)), key=lambda place: _rank(pairs[place][0].stem))
        chosen = sorted(order[-num_test:] if split == "test" else order[:-num_test])
    return PennFudan(
        images=tuple(pairs[place][0] for place in chosen),
        masks=tuple(pairs[place][1] for place in chosen),
        image_ids=tuple(chosen),
        with_masks=with_masks,
        name=f"{folder.name}-{split}",
    )


def _folder(root: Path) -> Path:
    """The folder with the images and masks, out of what the caller gave."""
    if root.is_file():
        root = unpacked(root, root.parent, _WANTED, most_bytes=_MOST_BYTES)
    for folder in (root, root / "PennFudanPed"):
        if (folder / _IMAGES).is_dir():
            return folder
    inside = [path.parent for path in sorted(root.glob(f"*/{_IMAGES}"))] if root.is_dir() else []
    if len(inside) == 1:
        return inside[0]
    raise DataError(
        f"no Penn-Fudan data at '{root}', which should hold the folders '{_IMAGES}' and '{_MASKS}'; download "
        f"PennFudanPed.zip from {_HOME} and give the file or the folder in it"
    )


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Images and their masks, in the order of their names."""
    images = {file.stem: file for file in _pngs(folder / _IMAGES)}
    masks = {file.stem.removesuffix("_mask"): file for file in _pngs(folder / _MASKS)}
    for have, lack, kind in ((masks, images, "image"), (images, masks, "mask")):
        alone = sorted(have.keys() - lack.keys())
        if alone:
            raise DataError(
                f"'{have[alone[0]]}' has no {kind} of the name '{alone[0]}' beside it ({len(alone)} in all); "
                f"download the data again from {_HOME}, or delete what has no counterpart"
            )
    if not images:
        raise DataError(f"'{folder}' holds no images ({_IMAGES}/*.png); download the data again from {_HOME}")
    return [(images[name], masks[name]) for name in sorted(images)]


def _pngs(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return [file for file in found if file.suffix.lower() == ".png" and not file.name.startswith(".")]


def _rank(name: str) -> bytes:
    return hashlib.sha256(f"penn-fudan/{_SPLIT_SEED}/{name}".encode()).digest()


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"unreadable image '{path}' ({error}); replace or delete the file") from error
    return image


def _numbers(path: Path, size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """The number of the person at each pixel."""
    mask = _open(path)
    if mask.mode not in ("1", "L", "P", "I", "I;16"):
        raise DataError(
            f"the mask '{path}' must hold one number per pixel, that of the person there (got an image of mode "
            f"{mask.mode}); store numbers, not colours"
        )
    numbers = np.array(mask)
    if numbers.shape != size:
        raise DataError(f"the mask '{path}' must have the size of its image, {size} (got {numbers.shape})")
    return numbers


def _extent(mask: Tensor, path: Path) -> list[int]:
    rows, columns = (mask.any(dim=1 - axis).nonzero()[:, 0] for axis in (0, 1))
    x1, x2 = int(columns[0]), int(columns[-1]) + 1
    y1, y2 = int(rows[0]), int(rows[-1]) + 1
    if min(x2 - x1, y2 - y1) < 2:
        raise DataError(
            f"a person in the mask '{path}' is {y2 - y1} pixels high and {x2 - x1} wide, which must be a mistake (was "
            "the mask resized with interpolation?); repair the mask or delete it and its image"
        )
    return [x1, y1, x2, y2]
