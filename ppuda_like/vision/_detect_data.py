"""Images with boxes: what detectors are trained and evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from ppuda_like.errors import DataError

__all__ = ["DetectionData", "check_item"]


class DetectionData(Protocol):
    """Images and what is in them, one by one, as torchvision's detectors take them.

    An item is an image (3, H, W), floats in 0..1, and a mapping with ``boxes`` (n, 4), corners x1, y1, x2, y2 in
    pixels, and ``labels`` (n,), long, from 1 on: 0 is the background.
    """

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, position: int) -> tuple[Tensor, Mapping[str, Any]]:
        """One image and its target."""


def check_item(image: Tensor, target: Mapping[str, Any], num_classes: int, name: str) -> None:
    """Refuse an item that a detector would fail on, or learn nonsense from.

    Args:
        image: as :class:`DetectionData` gives it.
        target: likewise.
        num_classes: of the detector, background included.
        name: of the item, for the message.

    Raises:
        DataError: if the image is not (3, H, W) of floats, a box is missing, empty or outside the image, or a label is
            not in 1..num_classes - 1.
    """
    if image.dim() != 3 or image.size(0) != 3 or not image.is_floating_point():
        raise DataError(
            f"{name}: the image must be floats in 0..1 of shape (3, H, W) (got {image.dtype}, {tuple(image.shape)})"
        )
    missing = [key for key in ("boxes", "labels") if not isinstance(target.get(key), Tensor)]
    if missing:
        lack = " and ".join(missing)
        raise DataError(f"{name}: the target must hold the tensors 'boxes' and 'labels' (it lacks {lack})")
    boxes, labels = target["boxes"], target["labels"]
    if boxes.dim() != 2 or boxes.size(1) != 4 or labels.shape != boxes.shape[:1]:
        raise DataError(
            f"{name}: 'boxes' must have shape (n, 4) and 'labels' (n,) "
            f"(got {tuple(boxes.shape)} and {tuple(labels.shape)})"
        )
    height, width = image.shape[-2:]
    for box in boxes.tolist():
        x1, y1, x2, y2 = box
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise DataError(
                f"{name}: a box must have 0 <= x1 < x2 <= {width} and 0 <= y1 < y2 <= {height}, the image being "
                f"{height}x{width} (got {box}); clip boxes to the image and drop the empty ones"
            )
    wrong = sorted(set(labels.tolist()) - set(range(1, num_classes)))
    if wrong:
        raise DataError(
            f"{name}: labels must be in 1..{num_classes - 1}, 0 being the background (got {wrong}); build the detector "
            "with as many classes as the data have, and one for the background"
        )
