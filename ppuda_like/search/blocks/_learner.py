"""One block that learns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ppuda_like._compute import autocast, random_state
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet, smoothed_cross_entropy
from ppuda_like.search.blocks._frontier import Frontier
from ppuda_like.search.blocks._scaler import LossScaler
from ppuda_like.search.blocks._synthesiser import Synthesiser
from ppuda_like.search.blocks._train_config import BlockTrainConfig
from ppuda_like.vision import main_output
from ppuda_like.vision._train_net import _optimizer
from ppuda_like.vision._train_schedule import learning_rate

__all__ = ["Learner"]


class Learner:
    """A block, what gives it its loss, and its optimiser.

    Args:
        index: of the block.
        block: takes a frontier; returns the next one, or the network's output if it is the last.
        net: gives the block its gradient, from the newest value of that frontier; None for the last block, which has
            the network's own head.
        config: the run.
        per_epoch: steps in an epoch.
        num_classes: of the data.

    Raises:
        DataError: if the block has nothing to learn.
    """

    def __init__(
        self,
        index: int,
        block: nn.Module,
        net: AuxiliaryNet | Synthesiser | None,
        config: BlockTrainConfig,
        per_epoch: int,
        num_classes: int,
    ) -> None:
        self.index = index
        self.modules = nn.ModuleDict({"block": block} | ({} if net is None else {"auxiliary": net}))
        self.block = block
        self.net = net
        self.config = config
        self.training = config.of_block(index)
        self.per_epoch = per_epoch
        self.num_classes = num_classes
        self.skipped = 0
        self.overflows = 0
        self.scaler = LossScaler() if self.training.amp == "fp16" else None
        if not any(parameter.requires_grad for parameter in block.parameters()):
            raise DataError(
                f"block {index} has no parameter that requires a gradient, and so nothing to learn; unfreeze it, or "
                "cut so that it goes with a neighbour"
            )
        self.optimizer = _optimizer(self.modules, self.training)

    def step(self, frontier: Frontier, labels: Tensor, number: int) -> tuple[Frontier, dict[str, float]]:
        """Learn from a batch.

        A loss or gradient that is not finite leaves no trace in the block: its update is skipped and counted.  What it
        hands on is handed on all the same, so that the blocks behind skip the batch too if that is not finite.

        Args:
            frontier: what enters the block, detached.
            labels: shape (n,).
            number: of the step, from 0.

        Returns:
            What leaves it, as computed before the update, detached; and the metrics, none if the step was skipped.

        Raises:
            PpudaLikeError: if more steps than ``max_skipped`` were skipped.
        """
        self.modules.train()
        before = {name: buffer.clone() for name, buffer in self.modules.named_buffers()}
        self.schedule(number)
        with self.forward(number, labels.device):
            found: Any = self.block(frontier)
            loss, logits = self.loss(found, labels)
        torch.autograd.backward(self.scaled(loss))
        after = found.detached() if isinstance(found, Frontier) else Frontier()
        hits = (logits.argmax(1) == labels).sum()
        if (found_ := self.update(loss, number, before, hits)) is None:
            return after, {}
        loss_, hits_ = found_
        return after, {"loss": loss_, "top1": hits_ / len(labels)}

    def schedule(self, number: int) -> None:
        """Make the optimiser ready for the step of that number, from 0."""
        epoch, batch = divmod(number, self.per_epoch)
        if self.config.restart and not batch and epoch in self.training.milestones:
            self.optimizer.state.clear()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.training, number, self.per_epoch)
        self.optimizer.zero_grad()

    @contextmanager
    def forward(self, number: int, device: torch.device) -> Iterator[None]:
        """Around the forward pass of a step: its random numbers and its arithmetic."""
        seed = derived_seed(self.training.seed, "block", self.index, number)
        with random_state(seed, device), autocast(device, self.training.amp):
            yield

    def scaled(self, loss: Tensor) -> Tensor:
        """A loss as its gradient is to be taken."""
        return loss if self.scaler is None else loss.float() * self.scaler.scale

    def update(
        self, loss: Tensor, number: int, buffers: Mapping[str, Tensor], *others: Tensor
    ) -> tuple[float, ...] | None:
        """Update the weights by the gradients that are there, if they and the loss are finite.

        Args:
            loss: a scalar.
            number: of the step, from 0.
            buffers: of the modules as they were before, which come back if the step is skipped.
            others: scalars, to be read along with the loss.

        Returns:
            The loss and the others; None if the step was skipped.

        Raises:
            PpudaLikeError: if more steps than ``max_skipped`` were skipped.
        """
        config, scale = self.training, 1.0
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.scaler is not None:
            scale = self.scaler.scale
            for gradient in gradients:
                gradient.div_(scale)
        norm = get_total_norm(gradients)
        loss_, norm_, *rest = torch.stack([value.detach().double() for value in (loss, norm, *others)]).tolist()
        finite = math.isfinite(loss_) and math.isfinite(norm_)
        if self.scaler is not None:
            self.scaler.update(finite=finite)
        if finite:
            if config.clip:
                clip_grads_with_norm_(parameters, config.clip, norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
            return loss_, *rest
        self.optimizer.zero_grad()
        with torch.no_grad():
            for name, buffer in self.modules.named_buffers():
                buffer.copy_(buffers[name])
        if math.isfinite(loss_) and scale > 1:  # the scaled loss was too large, and will be smaller the next time
            self.overflows += 1
            return None
        self.skipped += 1
        if self.skipped > config.max_skipped:
            raise PpudaLikeError(
                f"{self.skipped} steps of {number + 1} of block {self.index} had no finite loss or gradient (at most "
                f"{config.max_skipped} may; the last loss was {loss_:g}); lower 'lr', set 'clip', or look for images "
                "or weights that are not finite, in the blocks before too; the last checkpoint is untouched"
            )
        return None

    def named(self, metrics: dict[str, float]) -> dict[str, float]:
        """Metrics by name and block."""
        return {f"{key}_{self.index}": value for key, value in metrics.items()}

    @torch.no_grad()
    def frozen(self, frontier: Frontier) -> Frontier:
        """What leaves the block in evaluation."""
        self.modules.eval()
        found: Frontier = self.block(frontier)
        return found

    def state_dict(self) -> dict[str, Any]:
        """All that changes."""
        return {
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "skipped": self.skipped,
            "overflows": self.overflows,
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.skipped, self.overflows = state["skipped"], state["overflows"]
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])

    def loss(self, found: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of what the block computed, a scalar, and logits (n, classes)."""
        smoothing = self.config.label_smoothing
        if isinstance(self.net, AuxiliaryNet):
            return self.net.loss(found.newest, labels, smoothing)
        logits = main_output(found)
        if tuple(logits.shape) != (len(labels), self.num_classes):
            raise DataError(
                f"the network must return logits of shape ({len(labels)}, {self.num_classes}), one per class of the "
                f"data (got {tuple(logits.shape)}); build it with num_classes={self.num_classes}"
            )
        return smoothed_cross_entropy(logits, labels, smoothing), logits
