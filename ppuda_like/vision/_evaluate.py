"""Accuracy of one network on labelled images."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ppuda_like.errors import DataError
from ppuda_like.vision._data import ImageSource

__all__ = ["Evaluation", "evaluate", "main_output"]

_ORDER_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What :func:`evaluate` measured.

    Attributes:
        top1: share of images whose label has the highest logit, 0..1.
        top5: share of images whose label is among the five highest logits (all of them where there are fewer).
        loss: mean cross entropy.
        num_images: number of images.
        seconds: time taken.
    """

    top1: float
    top5: float
    loss: float
    num_images: int
    seconds: float


def evaluate(
    model: nn.Module,
    data: ImageSource,
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> Evaluation:
    """Top-1, top-5 and loss of a network on images.

    A batch normalisation that is in training mode, as the hypernetwork leaves it, uses the statistics of each batch;
    its running statistics are restored.  All other modules evaluate.  Every module leaves as it came.

    Images are visited in a fixed random order, in batches of equal size (within one), at most ``batch_size``: data
    sorted by class would give batches of one class and useless statistics.  An image with a logit that is not finite
    counts as wrong.

    Args:
        model: a network that takes (n, 3, H, W) and returns logits (n, classes), or several outputs of which the one
            named ``out`` or ``logits``, or else the first, is logits.
        data: :func:`digits`, :func:`image_folder`, or any other source of images.
        batch_size: images at a time; accuracies with batch statistics are quoted at 64.
        device: where to run, the model being there already; None for where it is.
        progress: show a progress bar; None for only in a terminal.

    Raises:
        DataError: if the network has weights on the meta device, gives no logits, or has another number of classes.

    Example:
        >>> from ppuda_like.vision import digits
        >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))
        >>> evaluate(model, digits("test")).num_images
        250
    """
    first = next(model.parameters(), None)
    if first is not None and first.is_meta:
        raise DataError("the network's weights are on the meta device and hold no values; fill them before evaluating")
    if batch_size < 1:
        raise DataError(f"'batch_size' must be at least 1 (got {batch_size})")
    where = torch.device(device) if device is not None else first.device if first is not None else torch.device("cpu")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(_ORDER_SEED))
    batches = order.tensor_split(math.ceil(len(data) / batch_size))
    disable = None if progress is None else not progress
    top1 = top5 = loss = 0.0
    start = time.perf_counter()
    with _evaluation_mode(model), torch.no_grad():
        for index in tqdm(batches, desc="evaluate", unit="batch", disable=disable, leave=False):
            images, labels = (tensor.to(where) for tensor in data.batch(index))
            logits = main_output(model(images))
            _check(logits, labels, len(data.class_names))
            logits = logits.float()
            valid = logits.isfinite().all(dim=1)
            best = logits.topk(min(5, logits.size(1)), dim=1).indices
            hits = (best == labels[:, None]) & valid[:, None]
            top1 += float(hits[:, 0].sum())
            top5 += float(hits.sum())
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
    n = len(data)
    return Evaluation(top1=top1 / n, top5=top5 / n, loss=loss / n, num_images=n, seconds=time.perf_counter() - start)


def main_output(output: object) -> Tensor:
    """The logits among what a network returns: itself, ``out``, ``logits``, or the first of several.

    Raises:
        DataError: if there is no tensor.
    """
    if isinstance(output, Mapping) and output:
        named = next((key for key in ("out", "logits") if key in output), next(iter(output)))
        output = output[named]
    elif is_dataclass(output) and not isinstance(output, type):
        names = [field.name for field in fields(output)]
        output = getattr(output, next((name for name in ("out", "logits") if name in names), names[0]))
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise DataError(f"the network must return logits, a tensor of shape (n, classes) (got {type(output).__name__})")
    return output


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    """All modules in evaluation mode but the batch normalisations that train; all as before afterwards."""
    modes = {module: module.training for module in model.modules()}
    on_batch = [m for m, training in modes.items() if training and isinstance(m, nn.modules.batchnorm._BatchNorm)]
    saved = [(buffer, buffer.clone()) for module in on_batch for buffer in module.buffers(recurse=False)]
    try:
        model.eval()
        for trained in on_batch:
            trained.training = True
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for buffer, value in saved:
                buffer.copy_(value)


def _check(logits: Tensor, labels: Tensor, num_classes: int) -> None:
    if tuple(logits.shape) != (len(labels), num_classes):
        raise DataError(
            f"the network must return logits of shape ({len(labels)}, {num_classes}), one per class of the data "
            f"(got {tuple(logits.shape)}); build it with num_classes={num_classes}"
        )
