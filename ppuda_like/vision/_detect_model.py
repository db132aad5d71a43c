"""Faster R-CNN on the last feature map of a classification network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign, roi_align

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError
from ppuda_like.graph import Shape
from ppuda_like.vision._detect_backbone import Backbone, BackboneNorm
from ppuda_like.vision._statistics import IMAGENET_MEAN, IMAGENET_STD, RGB

__all__ = ["DetectorConfig", "detector", "num_classes_of"]


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """What a detector is made of, besides its backbone.

    Attributes:
        min_size: images are resized so that their shorter side has this many pixels,
        max_size: unless the longer one would have more than this.
        fixed_size: height and width that images are brought to instead, for backbones that read one size only.
        anchor_sizes: sides of the square anchors in pixels of the resized image.
        aspect_ratios: height by width of the anchors of each size.
        norm: what batch normalisation in the backbone uses: ``"train"``, ``"frozen"`` or ``"batch"``, see
            :class:`Backbone`.
        pool_size: height and width that the features of a box are brought to by RoIAlign.
        head_width: width of the two hidden layers that see them.
        proposals: boxes per image that the first stage hands on.
        mean: per channel, subtracted from pixels in 0..1.
        std: per channel, divided by.

    Raises:
        ValueError: if a size is not positive, ``max_size`` is below ``min_size``, or there are no anchors.
    """

    min_size: int = 800
    max_size: int = 1333
    fixed_size: tuple[int, int] | None = None
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    norm: BackboneNorm = "train"
    pool_size: int = 7
    head_width: int = 1024
    proposals: int = 2000
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD

    def __post_init__(self) -> None:
        for key in ("anchor_sizes", "aspect_ratios", "mean", "std"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        if self.fixed_size is not None:
            object.__setattr__(self, "fixed_size", tuple(self.fixed_size))
        for key in ("min_size", "pool_size", "head_width", "proposals"):
            if getattr(self, key) < 1:
                raise ValueError(f"'{key}' must be positive (got {getattr(self, key)})")
        if self.max_size < self.min_size:
            raise ValueError(f"'max_size' must be at least 'min_size' = {self.min_size} (got {self.max_size})")
        if self.fixed_size is not None and (len(self.fixed_size) != 2 or min(self.fixed_size) < 1):
            raise ValueError(f"'fixed_size' must be a height and a width in pixels (got {self.fixed_size})")
        for key in ("anchor_sizes", "aspect_ratios", "std"):
            values = getattr(self, key)
            if not values or min(values) <= 0:
                raise ValueError(f"'{key}' must hold positive values, at least one (got {values})")


def detector(
    model: nn.Module,
    *,
    num_classes: int = 2,
    config: DetectorConfig | None = None,
    input_shape: Shape | None = None,
    seed: int = 0,
) -> FasterRCNN:
    """Faster R-CNN (arXiv:1506.01497) whose backbone is a classification network, with a single feature map.

    The features before the network's global pooling feed the region proposals and, through RoIAlign
    (arXiv:1703.06870), the box head.  Anchors and RoIAlign use the backbone's own stride, where torchvision guesses
    it from the sizes of the first images.

    Args:
        model: any classification network with a feature map before its class layer: torchvision's convolutional ones
            and Swin, :class:`ppuda_like.deepnets.Network`, your own.  It becomes a part of the detector and loses its
            class layer.
        num_classes: labels, the background (0) included.
        config: sizes, anchors and the rest; the published ones by default.
        input_shape: of the network's usual input, (1, 3, H, W), if it does not say so itself.
        seed: of the initial weights of all but the backbone.

    Returns:
        A torchvision model: a list of images (3, H, W), floats in 0..1, and in training of targets, gives the losses;
        in evaluation mode it gives boxes, labels and scores.

    Raises:
        DataError: if the network cannot be a backbone, see :class:`Backbone`, or there is no class.

    Example:
        >>> from torchvision.models import resnet18
        >>> model = detector(resnet18(), config=DetectorConfig(min_size=64, max_size=96, head_width=32)).eval()
        >>> sorted(model([torch.rand(3, 64, 96)])[0])
        ['boxes', 'labels', 'scores']
    """
    config = config or DetectorConfig()
    if num_classes < 2:
        raise DataError(f"'num_classes' must be at least 2: the background and one kind of object (got {num_classes})")
    fixed = config.fixed_size
    backbone = Backbone(model, input_shape=input_shape, fixed_size=fixed, norm=config.norm)
    first = next(backbone.parameters())
    anchors = _Anchors(config.anchor_sizes, config.aspect_ratios, backbone.stride)
    # The initial weights come from torch's global random state, which is put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "detector"))
        made = FasterRCNN(
            backbone,
            min_size=config.min_size,
            max_size=config.max_size,
            image_mean=list(config.mean),
            image_std=list(config.std),
            rpn_anchor_generator=anchors,
            rpn_head=RPNHead(backbone.out_channels, anchors.num_anchors_per_location()[0]),
            rpn_pre_nms_top_n_train=config.proposals,
            rpn_pre_nms_top_n_test=config.proposals,
            rpn_post_nms_top_n_train=config.proposals,
            rpn_post_nms_top_n_test=config.proposals,
            box_roi_pool=_RoIAlign(config.pool_size, backbone.stride),
            box_head=TwoMLPHead(backbone.out_channels * config.pool_size**2, config.head_width),
            box_predictor=FastRCNNPredictor(config.head_width, num_classes),
            # torchvision wants the width first; images of one size are not padded
            fixed_size=None if fixed is None else (fixed[1], fixed[0]),
            size_divisible=math.lcm(32, backbone.stride) if fixed is None else 1,
        )
    return made.to(first.device, first.dtype)


def num_classes_of(detector: FasterRCNN) -> int:
    """Number of labels of a detector, the background included."""
    return int(detector.roi_heads.box_predictor.cls_score.out_features)


class _Anchors(AnchorGenerator):  # type: ignore[misc]  # torchvision has no types
    """Anchors at the exact stride, where torchvision divides the sizes of image and feature map."""

    def __init__(self, sizes: tuple[int, ...], aspect_ratios: tuple[float, ...], stride: int) -> None:
        super().__init__((sizes,), (aspect_ratios,))
        self.stride = stride

    def grid_anchors(self, grid_sizes: list[list[int]], strides: list[list[Tensor]]) -> list[Tensor]:
        exact = [[torch.full_like(side, self.stride) for side in level] for level in strides]
        found: list[Tensor] = super().grid_anchors(grid_sizes, exact)
        return found


class _RoIAlign(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision has no types
    """Features of each box at the exact stride, where torchvision guesses it from the first images it sees."""

    def __init__(self, size: int, stride: int) -> None:
        super().__init__(["0"], size, sampling_ratio=2)
        self.stride = stride

    def forward(
        self, features: Mapping[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """Tensor (boxes of all images, channels, size, size)."""
        (only,) = features.values()
        pooled: Tensor = roi_align(only, boxes, self.output_size, 1 / self.stride, self.sampling_ratio)
        return pooled
