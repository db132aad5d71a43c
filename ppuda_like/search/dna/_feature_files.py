"""Features of a teacher on disk, for data so small that they are read faster than computed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppuda_like._files import replacing
from ppuda_like.errors import DataError
from ppuda_like.search.dna._teacher import Teacher
from ppuda_like.vision import ImageSource

__all__ = ["FeatureFiles", "cache_features"]

_FORMAT = "ppuda-like teacher features"


class FeatureFiles:
    """The features of a teacher for all images of a source, read from a folder as they are needed.

    Args:
        folder: that :func:`cache_features` wrote.

    Raises:
        DataError: if it is not there, or not complete.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        try:
            self.identity = json.loads((self.folder / "features.json").read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"'{self.folder}' holds no features: features.json: {error}; make them anew") from error
        if not isinstance(self.identity, dict) or self.identity.get("format") != _FORMAT:
            raise DataError(f"'{self.folder}' holds no features of a teacher; make them by cache_features")
        taps = len(self.identity["teacher"]["taps"])
        self._arrays = [_read(self.folder / f"tap{tap}.npy") for tap in range(taps)]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}  # open files do not travel

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]

    def batch(self, index: Tensor, last: int | None = None) -> list[Tensor]:
        """Features of the images at the positions ``index`` (n,) behind the taps up to number ``last``, float32."""
        taps = len(self._arrays) if last is None else last + 1
        return [torch.from_numpy(array[index.numpy()].astype(np.float32)) for array in self._arrays[:taps]]

    def check(self, teacher: Teacher, images: ImageSource) -> None:
        """Refuse features of another teacher or other images.

        Raises:
            DataError: if they are; it names the difference.
        """
        wanted = _identity(teacher, images, self.identity["dtype"])
        differing = [key for key, value in wanted.items() if self.identity.get(key) != value]
        if differing:
            raise DataError(f"'{self.folder}' holds features of another {' and '.join(differing)}; make them anew")


def cache_features(
    teacher: Teacher,
    images: ImageSource,
    folder: str | os.PathLike[str],
    *,
    half: bool = True,
    batch_size: int = 64,
    device: str = "cpu",
) -> FeatureFiles:
    """Write the features of a teacher for all images, as they are, to a folder; those that are there are used.

    Args:
        teacher: whose features are written.
        images: of the size that the teacher is to see.
        folder: gets an array of shape (images, channels, height, width) for each tap.
        half: whether to write 16-bit numbers: half the space, about three digits.
        batch_size: images of a pass.
        device: where the teacher runs.

    Raises:
        DataError: if the folder holds features of another teacher or other images, or a feature is not finite.
    """
    folder = Path(folder)
    dtype = "float16" if half else "float32"
    if (folder / "features.json").exists():
        found = FeatureFiles(folder)
        found.check(teacher, images)
        return found
    folder.mkdir(parents=True, exist_ok=True)
    teacher.to(device)
    shapes = teacher.shapes(images.image_size)
    arrays = [
        np.lib.format.open_memmap(folder / f"tap{tap}.npy", mode="w+", dtype=dtype, shape=(len(images), *shape))
        for tap, shape in enumerate(shapes)
    ]
    for start in range(0, len(images), batch_size):
        index = torch.arange(start, min(start + batch_size, len(images)))
        batch, _ = images.batch(index)
        for array, features in zip(arrays, teacher.features(batch.to(device)), strict=True):
            values = features.cpu().numpy().astype(dtype)
            if not np.isfinite(values).all():
                raise DataError(
                    f"features of {teacher.name} for images {start}..{int(index[-1])} are not finite as {dtype}; "
                    "take half=False, or look at the teacher's weights"
                )
            array[start : start + len(index)] = values
    for array in arrays:
        array.flush()
    # Written last: arrays without it are not read.
    with replacing(folder / "features.json") as path:
        path.write_text(json.dumps(_identity(teacher, images, dtype)) + "\n")
    return FeatureFiles(folder)


def _identity(teacher: Teacher, images: ImageSource, dtype: str) -> dict[str, Any]:
    facts = {
        "images": len(images),
        "image_size": images.image_size,
        "labels": images.labels.bincount().tolist(),
        "mean": list(images.mean),
        "std": list(images.std),
    }
    return {"format": _FORMAT, "teacher": teacher.identity, "images": facts, "dtype": dtype}


def _read(path: Path) -> Any:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"'{path}' is missing or damaged: {error}; delete its folder and make the features anew"
        ) from error
