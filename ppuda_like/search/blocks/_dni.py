"""Blocks that train on gradients guessed at their ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppuda_like.errors import DataError
from ppuda_like.search.blocks._driver import Driver, Job, Metrics
from ppuda_like.search.blocks._frontier import Frontier
from ppuda_like.search.blocks._learner import Learner
from ppuda_like.search.blocks._synthesiser import Synthesiser

__all__ = ["Dni"]


@dataclass(frozen=True)
class _Pending:
    """A step that waits for the true gradient."""

    number: int
    guess: Tensor
    buffers: Mapping[str, Tensor]


class DniLearner(Learner):
    """A block, the synthesiser of the gradient at its end, and their optimiser; the last block has the true loss."""

    _pending: _Pending | None = None

    def begin(self, frontier: Frontier, labels: Tensor, number: int) -> tuple[Frontier, Tensor | None, Metrics]:
        """Take the gradient of a batch: by the guess at the block's end, or by the loss, which also ends the step.

        Args:
            frontier: what enters the block, detached.
            labels: shape (n,).
            number: of the step, from 0.

        Returns:
            What leaves the block; the gradient by what entered, if that was a value; and the metrics so far.
        """
        self.modules.train()
        buffers = {name: buffer.clone() for name, buffer in self.modules.named_buffers()}
        self.schedule(number)
        entered = tuple([value.detach().requires_grad_() for value in frontier.values])
        metrics: Metrics = {}
        with self.forward(number, labels.device):
            found: Any = self.block(Frontier(entered, frontier.passed))
            if isinstance(self.net, Synthesiser):
                guess = self.net(found.newest.detach(), labels).to(found.newest.dtype)
            else:
                loss, logits = self.loss(found, labels)
        if isinstance(self.net, Synthesiser):
            torch.autograd.backward(found.newest, guess.detach())
            self._pending = _Pending(number, guess, buffers)
        else:
            torch.autograd.backward(loss)
            hits = (logits.argmax(1) == labels).sum()
            gradient = entered[-1].grad if entered else None
            if (updated := self.update(loss, number, buffers, hits)) is not None:
                metrics = {"loss": updated[0], "top1": updated[1] / len(labels)}
            return Frontier(), gradient, metrics
        return found.detached(), entered[-1].grad if entered else None, metrics

    def finish(self, gradient: Tensor) -> Metrics:
        """End the step that has begun: draw the guess to the true gradient, and update all weights."""
        assert self._pending is not None
        pending, self._pending = self._pending, None
        loss = (pending.guess - gradient.to(pending.guess.dtype)).square().sum() / len(gradient)
        torch.autograd.backward(loss)
        updated = self.update(loss, pending.number, pending.buffers)
        return {} if updated is None else {"guess": updated[0]}


class Dni(Driver):
    """Each block takes its gradient from a guess at its end, and tells the block before how good its guess was.

    Jaderberg et al., "Decoupled Neural Interfaces using Synthetic Gradients" (arXiv:1608.05343).  All gradients of a
    step are by the weights before it.
    """

    whole = True

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        wide = max((len(frontier) for frontier in job.model.partition.frontiers), default=1)
        if wide > 1:
            raise DataError(
                f"'dni' guesses the gradient of a single value, but {wide} leave a block here; cut where one crosses"
            )

    def run(self, steps: range) -> Iterator[tuple[int, list[Metrics]]]:
        """Do some steps."""
        for step, frontier, labels in self._batches(steps):
            found: Metrics = {}
            before: DniLearner | None = None
            for learner in self.learners:
                assert isinstance(learner, DniLearner)
                frontier, gradient, metrics = learner.begin(frontier, labels, step)
                found |= learner.named(metrics)
                if before is not None:
                    assert gradient is not None
                    found |= before.named(before.finish(gradient))
                before = learner
            yield 1, [found]

    def _learners(self) -> list[Learner]:
        job = self.job
        return [
            DniLearner(i, block, net, job.config, job.stream.per_epoch, job.num_classes)
            for i, (block, net) in enumerate(job.parts())
        ]
