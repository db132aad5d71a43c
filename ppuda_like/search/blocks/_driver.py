"""What a way to train blocks is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ppuda_like.errors import GraphError
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet
from ppuda_like.search.blocks._blockwise import BlockwiseModel
from ppuda_like.search.blocks._frontier import Frontier
from ppuda_like.search.blocks._learner import Learner
from ppuda_like.search.blocks._replay import ReplayStatistics
from ppuda_like.search.blocks._synthesiser import Synthesiser
from ppuda_like.search.blocks._train_config import BlockTrainConfig
from ppuda_like.vision import ImageStream

__all__ = ["Driver", "Job", "Metrics", "Net"]

Metrics = dict[str, float]
Net = AuxiliaryNet | Synthesiser


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be trained, and on what.

    Attributes:
        model: the blocks, on their device.
        nets: what gives each block but the last its gradient.
        config: the run.
        stream: batches of images.
        num_classes: of the images.
    """

    model: BlockwiseModel
    nets: Sequence[Net]
    config: BlockTrainConfig
    stream: ImageStream
    num_classes: int

    def learners(self) -> list[Learner]:
        """One for each block, with its auxiliary network; the last one has none."""
        return [self.learner(i, block, net) for i, (block, net) in enumerate(self.parts())]

    def parts(self) -> Iterator[tuple[nn.Module, Net | None]]:
        """Each block with what gives it its gradient."""
        yield from zip(self.model.blocks, [*self.nets, None], strict=True)

    def learner(self, index: int, block: nn.Module, net: Net | None) -> Learner:
        """What trains one block."""
        return Learner(index, block, net, self.config, self.stream.per_epoch, self.num_classes)

    def batch(self, images: Tensor, labels: Tensor) -> tuple[Frontier, Tensor]:
        """What the first block takes, and labels, on the device and in the precision of the network."""
        first = next(self.model.parameters())
        return Frontier((), (images.to(first.device, first.dtype),)), labels.to(first.device)


class Driver(ABC):
    """A way to train blocks.

    Args:
        job: what is to be trained.

    Attributes:
        learners: what learns, in order; their states and the driver's own are all that a resumption needs.
        in_turn: how many times the steps of one block a run takes: more than one where blocks learn one after another.
    """

    learners: list[Learner]
    in_turn = 1
    whole = False
    """Whether the network's own head is the only classifier."""
    evaluates = False
    """Whether blocks run in evaluation mode too, which blocks split for one mode cannot."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.learners = self._learners()
        job.model.train()
        if self.evaluates and job.model.only_mode is not None:
            raise GraphError(
                f"{job.config.method!r} runs blocks in training and in evaluation, but these were split for one mode "
                "only, as the network computes something else in the other; take 'sync', or make its forward the same"
            )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around all calls of :meth:`run`."""
        yield

    @abstractmethod
    def run(self, steps: range) -> Iterator[tuple[int, list[Metrics]]]:
        """Do some steps; after each part of them tell how many they were, and the metrics by name and block.

        Whoever asks may stop in between: what was told is what was done.
        """

    def state_dict(self) -> dict[str, Any]:
        """What changes besides the learners."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        assert not state

    @property
    def replay(self) -> tuple[ReplayStatistics, ...]:
        """What happened in the buffers between blocks; empty where there are none."""
        return ()

    def _learners(self) -> list[Learner]:
        return self.job.learners()

    def _batches(self, steps: range) -> Iterator[tuple[int, Frontier, Tensor]]:
        """Number, input of the first block and labels of each step."""
        model = self.job.model
        model.train()
        model.start()  # for the check of the mode
        per_block = self.job.config.training.epochs * self.job.stream.per_epoch
        numbers = [step % per_block for step in steps]
        batches = self.job.stream.batches(numbers, self.job.config.training.workers)
        for step, (images, labels) in zip(steps, batches, strict=True):
            yield step, *self.job.batch(images, labels)
