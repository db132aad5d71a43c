"""The images that the networks of a training step see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ppuda_like.ghn._net_stream import PreparedNet
from ppuda_like.ghn._train_config import TrainConfig
from ppuda_like.vision import ImageData, ImageSource, ImageStream, load_images

__all__ = ["StepImages", "run_images", "step_images"]


def run_images(config: TrainConfig, split: Literal["train", "val"]) -> ImageSource:
    """The images a run trains or validates on."""
    return load_images(config.data, split, config.image_size, root=config.data_root, download=config.download)


class StepImages:
    """Images and labels for the networks of one step.

    Args:
        config: of the run.
        step: number of the step.
        batches: the batch of the step for all networks, or one for each.
    """

    def __init__(self, config: TrainConfig, step: int, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.config = config
        self.batches = batches
        self.fast = bool(config.fast_size) and step < config.fast_share * config.steps

    def __call__(self, position: int, net: PreparedNet) -> tuple[Tensor, Tensor]:
        """What a network sees.

        Args:
            position: of the network in the meta-batch.
            net: the network; in the first steps, one that takes any size sees small images.
        """
        config = self.config
        images, labels = self.batches[0 if config.same_images else position]
        if self.fast and net.config.glob_avg and not net.config.genotype.is_transformer:
            images = F.interpolate(images, size=(config.fast_size,) * 2, mode="bilinear", antialias=True)
        # Channels last: depthwise convolutions and pools on the CPU run about twice as fast.
        return images.to(config.device, memory_format=torch.channels_last), labels.to(config.device)


class _Lazy(Sequence[tuple[Tensor, Tensor]]):
    """Batches of a stream from a number on, made when they are asked for."""

    def __init__(self, stream: ImageStream, first: int, size: int) -> None:
        self.stream = stream
        self.first = first
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self.stream[self.first + number]


def step_images(config: TrainConfig, data: ImageSource, steps: range) -> Iterator[StepImages]:
    """The images of each step; which they are depends on the run's seed and the number of the step alone.

    Args:
        config: of the run; with ``image_workers``, processes load them ahead.
        data: training images; those in memory are kept on the run's device.
        steps: which steps.
    """
    if isinstance(data, ImageData) and not config.image_workers:
        data = replace(data, images=data.images.to(config.device), labels=data.labels.to(config.device))
    stream = ImageStream(data, batch_size=config.batch_size, augment=config.augmentation, seed=config.seed)
    per_step = 1 if config.same_images else config.nets.meta_batch
    if not config.image_workers:
        for step in steps:
            yield StepImages(config, step, _Lazy(stream, step * per_step, per_step))
        return
    loaded = stream.batches(range(steps.start * per_step, steps.stop * per_step), config.image_workers)
    for step in steps:
        yield StepImages(config, step, [next(loaded) for _ in range(per_step)])
