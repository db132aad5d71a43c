"""Labelled images on disk, decoded when they are needed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from ppuda_like.errors import DataError
from ppuda_like.vision._cache import files_key, read_decoded, write_decoded
from ppuda_like.vision._data import ImageData, normalise
from ppuda_like.vision._decode import UnreadableImageError, read_image
from ppuda_like.vision._statistics import RGB

__all__ = ["FolderData", "Unreadable"]

_log = logging.getLogger(__name__)

Unreadable = Literal["error", "skip"]


@dataclass(frozen=True, eq=False, kw_only=True)
class FolderData:
    """Labelled images on disk; each is decoded when a batch asks for it.

    A file that cannot be decoded is an error whenever it is asked for: a batch never holds less, or something else,
    than it was asked for.  :meth:`readable` and :meth:`load` leave such files out beforehand.

    Attributes:
        root: folder that holds the files.
        files: image files relative to it, class by class.
        labels: long tensor of shape (N,), the class of each file.
        class_names: names of the class folders.
        size: height and width that images are brought to.
        mean: what is subtracted from each channel, of pixels in 0..1.
        std: what each channel is divided by.
        name: what the images are, for people to read.
        num_skipped: files left out because they could not be decoded.
    """

    root: Path
    files: tuple[str, ...]
    labels: Tensor
    class_names: tuple[str, ...]
    size: int
    mean: RGB
    std: RGB
    name: str = ""
    num_skipped: int = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """Path of each image."""
        return tuple(self.root / file for file in self.files)

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
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        """One normalised image (3, size, size) and its label, as torch's data sets give them.

        Raises:
            DataError: if the file cannot be read as an image.
        """
        return normalise(self._read(position), self.mean, self.std), int(self.labels[position])

    def pixels(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Bytes (n, 3, size, size) and labels (n,) at the positions ``index`` (n,).

        Raises:
            DataError: if a file cannot be read as an image.
        """
        return torch.stack([self._read(position) for position in index.tolist()]), self.labels[index]

    def originals(self, index: Tensor) -> Iterator[Tensor]:
        """Bytes (3, h, w) of each image at the positions ``index`` (n,), in the size of its file.

        Raises:
            DataError: if a file cannot be read as an image.
        """
        return (read_image(self.root / self.files[position]) for position in index.tolist())

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised images (n, 3, size, size) and labels (n,) at the positions ``index`` (n,).

        Raises:
            DataError: if a file cannot be read as an image.
        """
        images, labels = self.pixels(index)
        return normalise(images, self.mean, self.std), labels

    def readable(self) -> FolderData:
        """These images without those that cannot be decoded; every file is decoded once to see.

        Raises:
            DataError: if a file cannot be opened, or no image is left.
        """
        kept = [p for p in tqdm(range(len(self)), desc="verify", unit="image", disable=None) if self._decodes(p)]
        if len(kept) == len(self):
            return self
        return self._of(torch.tensor(kept, dtype=torch.long))

    def load(self, *, unreadable: Unreadable = "error", cache: Path | None = None) -> ImageData:
        """All images decoded into memory: 3 kB each at 32 pixels, 150 kB at 224.

        Args:
            unreadable: ``"skip"`` leaves out the files that cannot be decoded, and counts them in ``num_skipped``.
            cache: file to keep the decoded images in; as long as names, lengths and times of the image files are the
                same, a later call reads them from there, in a fraction of the time.  Where it cannot be written, a
                warning is logged.

        Raises:
            DataError: if a file cannot be read as an image, or none can.
        """
        key = "" if cache is None else files_key(self.root, self.files, self.size)
        found = None if cache is None else read_decoded(cache, key)
        if found is None or (unreadable == "error" and len(found["kept"]) < len(self)):
            found = self._decode(unreadable)
            if cache is not None:
                _keep(cache, key, found)
        kept = found["kept"]
        data = self if len(kept) == len(self) else self._of(kept)
        return ImageData(
            images=found["images"],
            labels=data.labels,
            class_names=self.class_names,
            mean=self.mean,
            std=self.std,
            name=self.name,
            num_skipped=data.num_skipped,
        )

    def _read(self, position: int) -> Tensor:
        return read_image(self.root / self.files[position], self.size)

    def _decode(self, unreadable: Unreadable) -> dict[str, Tensor]:
        images = torch.empty(len(self), 3, self.size, self.size, dtype=torch.uint8)
        kept: list[int] = []
        for position in tqdm(range(len(self)), desc="decode", unit="image", disable=None, leave=False):
            try:
                images[len(kept)] = self._read(position)
            except UnreadableImageError as error:
                if unreadable == "error":
                    raise
                _log.debug("%s", error)
            else:
                kept.append(position)
        return {"images": images[: len(kept)], "kept": torch.tensor(kept, dtype=torch.long)}

    def _decodes(self, position: int) -> bool:
        try:
            self._read(position)
        except UnreadableImageError as error:
            _log.debug("%s", error)
            return False
        return True

    def _of(self, kept: Tensor) -> FolderData:
        if not len(kept):
            raise DataError(f"none of the {len(self)} images in '{self.root}' can be read; are they images at all?")
        num_skipped = len(self) - len(kept)
        _log.warning("'%s': left out %d unreadable images of %d", self.root, num_skipped, len(self))
        files = tuple(self.files[position] for position in kept.tolist())
        return replace(self, files=files, labels=self.labels[kept], num_skipped=self.num_skipped + num_skipped)


def _keep(cache: Path, key: str, found: dict[str, Tensor]) -> None:
    try:
        write_decoded(cache, key, found)
    except OSError as error:
        _log.warning(
            "the decoded images could not be kept in '%s' (%s); the next call decodes them again", cache, error
        )
    else:
        _log.info("decoded images are kept in '%s'", cache)
