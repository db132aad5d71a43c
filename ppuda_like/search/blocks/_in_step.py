"""The ways to train blocks in one process, in step with each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ppuda_like.search.blocks._blockwise import BlockwiseModel
from ppuda_like.search.blocks._driver import Driver, Metrics
from ppuda_like.search.blocks._frontier import Frontier
from ppuda_like.search.blocks._learner import Learner

__all__ = ["Backprop", "Sequential", "Sync"]


class Sync(Driver):
    """A batch goes through all blocks, each learning as it passes (arXiv:1901.08164, algorithm 1)."""

    def run(self, steps: range) -> Iterator[tuple[int, list[Metrics]]]:
        """Do some steps."""
        for step, frontier, labels in self._batches(steps):
            found: Metrics = {}
            for learner in self.learners:
                frontier, metrics = learner.step(frontier, labels, step)
                found |= learner.named(metrics)
            yield 1, [found]


class Backprop(Sync):
    """End to end: all blocks are one."""

    whole = True

    def _learners(self) -> list[Learner]:
        return [self.job.learner(0, _EndToEnd(self.job.model), None)]


class _EndToEnd(nn.Module):
    """All blocks as one, undetached."""

    def __init__(self, model: BlockwiseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frontier: Frontier) -> Any:
        return self.model(*frontier.passed)


class Sequential(Driver):
    """One block after another is trained to the end, on the outputs of those before, which are frozen by then."""

    evaluates = True

    def _learners(self) -> list[Learner]:
        learners = self.job.learners()
        self.in_turn = len(learners)
        return learners

    def run(self, steps: range) -> Iterator[tuple[int, list[Metrics]]]:
        """Do some steps."""
        per_block = self.job.config.training.epochs * self.job.stream.per_epoch
        for step, frontier, labels in self._batches(steps):
            current, number = divmod(step, per_block)
            for learner in self.learners[:current]:
                frontier = learner.frozen(frontier)
            learner = self.learners[current]
            _, metrics = learner.step(frontier, labels, number)
            yield 1, [learner.named(metrics)]
