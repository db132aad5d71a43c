"""Average precision of a detector."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from tqdm import tqdm

from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.vision._detect_batches import batches
from ppuda_like.vision._detect_data import DetectionData
from ppuda_like.vision._detect_model import num_classes_of

__all__ = ["DetectionScore", "evaluate_detector", "make_metric"]


@dataclass(frozen=True, kw_only=True)
class DetectionScore:
    """What :func:`evaluate_detector` measured.

    Attributes:
        ap: mean average precision over overlaps (IoU) of 0.50, 0.55, ..., 0.95, 0..1, as COCO defines it.
        ap50: at an overlap of 0.5, the measure published for Penn-Fudan.
        ap75: at an overlap of 0.75.
        num_images: number of images.
        num_objects: boxes in them.
        num_detections: boxes found, of any score the detector gives away.
        seconds: time taken.
    """

    ap: float
    ap50: float
    ap75: float
    num_images: int
    num_objects: int
    num_detections: int
    seconds: float

    def to_dict(self) -> dict[str, float]:
        """The values by name."""
        return asdict(self)


def evaluate_detector(
    detector: FasterRCNN,
    data: DetectionData,
    *,
    batch_size: int = 2,
    workers: int = 0,
    progress: bool | None = None,
) -> DetectionScore:
    """Average precision of a detector's boxes, by pycocotools.

    The detector evaluates and is left in the mode it came in.

    Args:
        detector: of :func:`detector`, or any torchvision one with a box head like Faster R-CNN's.
        data: images with their boxes.
        batch_size: images at a time.
        workers: processes that read images ahead; 0 to read them in between.
        progress: show a progress bar; None for only in a terminal.

    Raises:
        PpudaLikeError: if torchmetrics or pycocotools are not installed.
        DataError: if there are no images or no boxes in any, or an item is not what :class:`DetectionData` says.

    Example:
        >>> import tempfile
        >>> from torchvision.models import resnet18
        >>> from ppuda_like.vision import DetectorConfig, detector, generate_pedestrians, penn_fudan
        >>> model = detector(resnet18(), config=DetectorConfig(min_size=64, max_size=96, head_width=8, proposals=20))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = penn_fudan(generate_pedestrians(f"{folder}/made", 2))
        ...     evaluate_detector(model, data).num_images
        2
    """
    metric = make_metric()
    first = next(detector.parameters())
    start = time.perf_counter()
    images = objects = detections = 0
    loaded = batches(data, batch_size=batch_size, num_classes=num_classes_of(detector), workers=workers)
    total = -(-len(data) // batch_size)
    disable = None if progress is None else not progress
    with _evaluating(detector), torch.no_grad():
        for pixels, targets in tqdm(loaded, "evaluate", total=total, unit="batch", disable=disable, leave=False):
            found = detector([image.to(first) for image in pixels])
            metric.update([_on_cpu(one) for one in found], [_on_cpu(target, "boxes", "labels") for target in targets])
            images += len(pixels)
            objects += sum(len(target["labels"]) for target in targets)
            detections += sum(len(one["labels"]) for one in found)
    if not objects:
        raise DataError(f"the {images} images to evaluate on hold no boxes at all; average precision needs some")
    computed = metric.compute()
    return DetectionScore(
        ap=float(computed["map"]),
        ap50=float(computed["map_50"]),
        ap75=float(computed["map_75"]),
        num_images=images,
        num_objects=objects,
        num_detections=detections,
        seconds=time.perf_counter() - start,
    )


def _on_cpu(values: Mapping[str, Tensor], *keys: str) -> dict[str, Tensor]:
    """Tensors of one image as the metric takes them, of those keys or of all."""
    chosen = {key: torch.as_tensor(values[key]).cpu() for key in keys or values}
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in chosen.items()}


def make_metric() -> Any:
    """The measure; made before a long training that needs it at the end.

    Raises:
        PpudaLikeError: if torchmetrics or pycocotools are not installed.
    """
    try:
        from torchmetrics.detection import MeanAveragePrecision

        return MeanAveragePrecision(box_format="xyxy", iou_type="bbox")
    except ImportError as error:
        raise PpudaLikeError(
            f"average precision needs torchmetrics and pycocotools ({error}); install them with "
            "pip install 'ppuda-like[detection]'"
        ) from error


@contextmanager
def _evaluating(detector: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in detector.modules()}
    try:
        detector.eval()
        yield
    finally:
        for module, training in modes.items():
            module.training = training
