"""Batches of few classes for the first part of a training."""

from __future__ import annotations

from torch import Tensor

from ppuda_like.search.blocks._train_config import BlockTrainConfig
from ppuda_like.vision import ImageSource, ImageStream

__all__ = ["stream_of"]


def stream_of(config: BlockTrainConfig, data: ImageSource) -> ImageStream:
    """The batches of a run."""
    training = config.training
    seed, size, augment = training.seed, training.batch_size, training.augment
    classes = config.classes_per_batch
    stream = ImageStream(data, batch_size=size, augment=augment, seed=seed, classes_per_batch=classes)
    if classes is None or config.classes_steps is None:
        return stream
    return _StagedStream(stream, config.classes_steps)


class _StagedStream(ImageStream):
    """Of a stream of few classes in a batch the first batches, and then those of the usual one."""

    def __init__(self, first: ImageStream, until: int) -> None:
        super().__init__(first.data, batch_size=first.batch_size, augment=first.variation, seed=first.seed)
        self._first = first
        self._until = until

    def index(self, number: int) -> Tensor:
        """Positions (n,) in the data of a batch's images."""
        return self._first.index(number) if number < self._until else super().index(number)
