"""The batches that a detector is trained and evaluated on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError
from ppuda_like.vision._detect_data import DetectionData, check_item

__all__ = ["DetectionBatch", "batches", "epoch_batches"]

Item = tuple[Tensor, dict[str, Any]]
DetectionBatch = tuple[list[Tensor], list[dict[str, Any]]]


def epoch_batches(
    data: DetectionData,
    epoch: int,
    *,
    batch_size: int,
    num_classes: int,
    flip: float,
    seed: int,
    workers: int = 0,
) -> Iterator[DetectionBatch]:
    """The batches of one epoch, each image once, in an order and mirrored as seed and epoch say.

    The last batch may be smaller.

    Raises:
        DataError: if an item is not what :class:`DetectionData` says.
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "detect-epoch", epoch))
    order = torch.randperm(len(data), generator=generator).tolist()
    mirrored = (torch.rand(len(data), generator=generator) < flip).tolist()
    items = _Items(data, order, [mirrored[position] for position in order], num_classes)
    return _load(items, batch_size, workers)


def batches(data: DetectionData, *, batch_size: int, num_classes: int, workers: int = 0) -> Iterator[DetectionBatch]:
    """All images in their order.

    Raises:
        DataError: if an item is not what :class:`DetectionData` says.
    """
    order = list(range(len(data)))
    return _load(_Items(data, order, [False] * len(order), num_classes), batch_size, workers)


@dataclass(frozen=True)
class _Items(Dataset[Item | DataError]):
    """Checked items in some order.  Errors are items too: torch would bury the message of one in a worker."""

    data: DetectionData
    order: list[int]
    mirrored: list[bool]
    num_classes: int

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Item | DataError:
        try:
            image, target = self.data[self.order[place]]
            check_item(image, target, self.num_classes, f"image {self.order[place]}")
        except DataError as error:
            return error
        if not self.mirrored[place]:
            return image, dict(target)
        return F.horizontal_flip(image), {key: _mirror(key, value, image) for key, value in target.items()}


def _mirror(key: str, value: Any, image: Tensor) -> Any:
    if key == "boxes" and not isinstance(value, tv_tensors.BoundingBoxes):
        value = tv_tensors.BoundingBoxes(value, format="XYXY", canvas_size=image.shape[-2:])
    spatial = isinstance(value, tv_tensors.BoundingBoxes | tv_tensors.Mask)
    return F.horizontal_flip(value) if spatial else value


def _load(items: _Items, batch_size: int, workers: int) -> Iterator[DetectionBatch]:
    loader: DataLoader[Item | DataError] = DataLoader(
        items,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # the workers' own seeds; else they come from the global random state
    )
    found: list[Item | DataError]
    for found in loader:
        batch: DetectionBatch = ([], [])
        for item in found:
            if isinstance(item, DataError):
                raise item
            batch[0].append(item[0])
            batch[1].append(item[1])
        yield batch


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # A signal to the whole process group is for the run to answer, which still needs its workers for the last step.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
