"""Data sets of images by name."""

from __future__ import annotations

import difflib
import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ppuda_like.errors import DataError
from ppuda_like.vision._archive import ARCHIVE_SUFFIXES, is_archive, unpacked
from ppuda_like.vision._augment import Augmentation
from ppuda_like.vision._cifar import cifar
from ppuda_like.vision._data import ImageSource
from ppuda_like.vision._digits import digits
from ppuda_like.vision._folder import image_folder
from ppuda_like.vision._folder_data import FolderData, Unreadable
from ppuda_like.vision._imagenet import imagenet
from ppuda_like.vision._resized import resized
from ppuda_like.vision._statistics import LARGE
from ppuda_like.vision._tiny_imagenet import tiny_imagenet

__all__ = ["IMAGE_SETS", "ImageSet", "ImageSplit", "default_augmentation", "load_images"]

_log = logging.getLogger(__name__)

ImageSplit = Literal["train", "val", "test"]

_MOST_BYTES = 2 << 30  # of a data set in memory
_KEPT_FROM = 5_000  # decoding fewer images takes about a second


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """What is asked of a data set; the fields are the arguments of :func:`load_images`."""

    name: str
    split: ImageSplit
    size: int
    root: Path
    download: bool
    unreadable: Unreadable


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A data set that :func:`load_images` knows, and what suits it.

    Attributes:
        load: reads it.
        size: height and width of its images, unless others are asked for.
        augment: how its training images vary.
        noise_std: standard deviation of the Gaussian noise that robustness is measured under; None where no value is
            established.
    """

    load: Callable[[ImageRequest], ImageSource]
    size: int
    augment: Augmentation
    noise_std: float | None = None


def load_images(
    name: str | Path,
    split: ImageSplit,
    size: int | None = None,
    *,
    root: str | Path = "data",
    download: bool = False,
    unreadable: Unreadable = "error",
) -> ImageSource:
    """The images of a data set.

    - ``digits``: scikit-learn's, see :func:`digits`.
    - ``cifar10``, ``cifar100``: as torchvision downloads them; the last 5,000 training images are ``"val"``.
    - ``imagenet``: ``root/imagenet/train/WNID/*.JPEG`` and ``root/imagenet/val/WNID/*.JPEG``; 50 training images of
      each class are ``"val"``, the official validation images ``"test"``.
    - ``tiny-imagenet``: ``root/tiny-imagenet-200`` as in its archive; the last tenth of the training images is
      ``"val"``, the official validation images are ``"test"``.
    - anything else is the path of an image folder, see :func:`image_folder`, or of a ``.zip``, ``.tar``, ``.tar.gz`` or
      ``.tar.xz`` of one, which is unpacked once under ``root``.

    CIFAR and small images of folders (below 64 pixels; Tiny ImageNet up to 64; 2 GiB at most) are in memory.  Decoded
    images of a folder, if they are 5,000 or more, are kept in ``root/decoded``, so that only the first call takes time.
    Larger images are decoded when they are asked for.

    Args:
        name: of a data set, or a path; a folder that is named like a data set is given as ``./NAME``.
        split: which images.
        size: height and width; by default 32 pixels, 64 for Tiny ImageNet, 224 for ImageNet.
        root: folder of data sets.
        download: download CIFAR if it is not there.  The others cannot be.
        unreadable: ``"skip"`` leaves out the files of a folder that cannot be decoded, see :func:`image_folder`.

    Raises:
        DataError: if there is no such data set or split, files are missing or damaged, or an image cannot be decoded.

    Example:
        >>> data = load_images("digits", "val")
        >>> len(data), data.image_size
        (250, 32)
    """
    if split not in ("train", "val", "test"):
        raise DataError(f"unknown split {split!r} of {name}; choose one of train, val, test")
    if size is not None and size < 1:
        raise DataError(f"'size' must be at least 1 pixel (got {size})")
    found = _image_set(name)
    return found.load(
        ImageRequest(
            name=str(name),
            split=split,
            size=found.size if size is None else size,
            root=Path(root),
            download=download,
            unreadable=unreadable,
        )
    )


def default_augmentation(name: str | Path, size: int | None = None) -> Augmentation:
    """How the training images of a data set vary, unless one wants it otherwise.

    Args:
        name: as :func:`load_images` takes it; a path need not exist.
        size: height and width; by default that of the data set.

    Example:
        >>> default_augmentation("cifar10"), default_augmentation("my/folder"), default_augmentation("my/folder", 224)
        ('crop', 'crop', 'imagenet')
    """
    found = IMAGE_SETS.get(str(name), _FOLDER)
    large = size is not None and size > found.size and size >= LARGE
    return "imagenet" if large and found.augment == "crop" else found.augment


def _image_set(name: str | Path) -> ImageSet:
    path = Path(name)
    if isinstance(name, str) and name in IMAGE_SETS:
        return IMAGE_SETS[name]
    if path.is_dir() or (path.is_file() and is_archive(path)):
        return _FOLDER
    if path.is_file():
        raise DataError(f"'{path}' is neither a folder of images nor an archive ({', '.join(ARCHIVE_SUFFIXES)}) of one")
    close = difflib.get_close_matches(str(name), IMAGE_SETS, n=1)
    guess = f"; did you mean '{close[0]}'?" if close else "."
    raise DataError(
        f"no data set '{name}'{guess} Choose one of {', '.join(IMAGE_SETS)}, or give the path of an image folder or of "
        "an archive of one"
    )


def _digits(request: ImageRequest) -> ImageSource:
    return digits(request.split, request.size)


def _cifar10(request: ImageRequest) -> ImageSource:
    return resized(cifar("cifar10", request.split, request.root, download=request.download), request.size)


def _cifar100(request: ImageRequest) -> ImageSource:
    return resized(cifar("cifar100", request.split, request.root, download=request.download), request.size)


def _imagenet(request: ImageRequest) -> ImageSource:
    folder = _existing(request, ("imagenet", "."), ("train", "val"), "https://www.image-net.org (one must sign up)")
    return _on_disk(imagenet(folder, request.split, request.size), request)


def _tiny_imagenet(request: ImageRequest) -> ImageSource:
    source = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    folder = _existing(request, ("tiny-imagenet-200", "tiny-imagenet", "."), ("wnids.txt", "train", "val"), source)
    data = tiny_imagenet(folder, request.split, request.size)
    return _in_memory(data, request) if request.size <= LARGE else _on_disk(data, request)


def _folder(request: ImageRequest) -> ImageSource:
    path = Path(request.name)
    folder = unpacked(path, request.root) if path.is_file() else path
    data = image_folder(folder, request.size, request.split)
    return _in_memory(data, request) if request.size < LARGE else _on_disk(data, request)


def _existing(request: ImageRequest, names: tuple[str, ...], wanted: tuple[str, ...], source: str) -> Path:
    """The first of the folders under the root that holds what is wanted."""
    folders = [request.root / name for name in names]
    for folder in folders:
        if all((folder / entry).exists() for entry in wanted):
            return folder
    looked = ", ".join(f"'{folder}'" for folder in folders)
    cannot = f"; {request.name} cannot be downloaded from here" if request.download else ""
    raise DataError(
        f"no {request.name} in {looked}, where {', '.join(wanted)} should lie side by side{cannot}; "
        f"get it from {source}, or give its folder's parent as 'root'"
    )


def _in_memory(data: FolderData, request: ImageRequest) -> ImageSource:
    if len(data) * 3 * data.size**2 > _MOST_BYTES:
        _log.info("%s: %d images are too many for memory; they are decoded when needed", data.name, len(data))
        return _on_disk(data, request)
    if len(data) < _KEPT_FROM:
        return data.load(unreadable=request.unreadable)
    place = hashlib.sha256(os.fsencode(data.root.resolve())).hexdigest()[:8]  # folders may share a name
    cache = request.root / "decoded" / f"{data.name}-{data.size}-{place}.safetensors"
    return data.load(unreadable=request.unreadable, cache=cache)


def _on_disk(data: FolderData, request: ImageRequest) -> ImageSource:
    return data.readable() if request.unreadable == "skip" else data


IMAGE_SETS: Mapping[str, ImageSet] = {
    "digits": ImageSet(load=_digits, size=32, augment="affine"),
    "cifar10": ImageSet(load=_cifar10, size=32, augment="crop", noise_std=0.08),
    "cifar100": ImageSet(load=_cifar100, size=32, augment="crop"),
    "imagenet": ImageSet(load=_imagenet, size=224, augment="imagenet", noise_std=0.18),
    "tiny-imagenet": ImageSet(load=_tiny_imagenet, size=64, augment="crop"),
}
"""The data sets that have a name."""

_FOLDER = ImageSet(load=_folder, size=32, augment="crop")
