"""One block that learns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet, smoothed_cross_entropy
from ppuda_like.search.blocks._frontier import Frontier
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
        auxiliary: reads the newest value of that frontier; None for the last block, which has the network's own head.
        config: the run.
        per_epoch: steps in an epoch.
        num_classes: of the data.
    """

    def __init__(
        self,
        index: int,
        block: nn.Module,
        auxiliary: AuxiliaryNet | None,
        config: BlockTrainConfig,
        per_epoch: int,
        num_classes: int,
    ) -> None:
        self.index = index
        self.modules = nn.ModuleDict({"block": block} | ({} if auxiliary is None else {"auxiliary": auxiliary}))
        self.block = block
        self.auxiliary = auxiliary
        self.config = config
        self.per_epoch = per_epoch
        self.num_classes = num_classes
        self.skipped = 0
        self.optimizer = _optimizer(self.modules, config.training)

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
        config = self.config.training
        self.modules.train()
        before = {name: buffer.clone() for name, buffer in self.modules.named_buffers()}
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, number, self.per_epoch)
        self.optimizer.zero_grad()
        with _random_state(derived_seed(config.seed, "block", self.index, number), labels.device):
            found: Any = self.block(frontier)
            loss, logits = self._loss(found, labels)
            torch.autograd.backward(loss)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        hits = (logits.argmax(1) == labels).sum()
        loss_, norm_, hits_ = torch.stack([value.detach().double() for value in (loss, norm, hits)]).tolist()
        after = found.detached() if isinstance(found, Frontier) else Frontier()
        if math.isfinite(loss_) and math.isfinite(norm_):
            if config.clip:
                clip_grads_with_norm_(parameters, config.clip, norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
            return after, {"loss": loss_, "top1": hits_ / len(labels)}
        self.optimizer.zero_grad()
        with torch.no_grad():
            for name, buffer in self.modules.named_buffers():
                buffer.copy_(before[name])
        self.skipped += 1
        if self.skipped > config.max_skipped:
            raise PpudaLikeError(
                f"{self.skipped} steps of {number + 1} of block {self.index} had no finite loss or gradient (at most "
                f"{config.max_skipped} may; the last loss was {loss_:g}); lower 'lr', set 'clip', or look for images "
                "or weights that are not finite, in the blocks before too; the last checkpoint is untouched"
            )
        return after, {}

    def named(self, metrics: dict[str, float]) -> dict[str, float]:
        """Metrics by name and block."""
        return {f"{key}_{self.index}": value for key, value in metrics.items()}

    @torch.no_grad()
    def frozen(self, frontier: Frontier) -> Frontier:
        """What leaves the block in evaluation."""
        self.modules.eval()
        found: Frontier = self.block(frontier)
        return found

    def logits(self, found: Any) -> Tensor:
        """The block's classification of what it computed: logits (n, classes)."""
        logits: Tensor = main_output(found) if self.auxiliary is None else self.auxiliary(found.newest)
        return logits

    def state_dict(self) -> dict[str, Any]:
        """All that changes."""
        return {
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self.modules.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.skipped = state["skipped"]

    def _loss(self, found: Any, labels: Tensor) -> tuple[Tensor, Tensor]:
        smoothing = self.config.label_smoothing
        if self.auxiliary is not None:
            return self.auxiliary.loss(found.newest, labels, smoothing)
        logits = main_output(found)
        if tuple(logits.shape) != (len(labels), self.num_classes):
            raise DataError(
                f"the network must return logits of shape ({len(labels)}, {self.num_classes}), one per class of the "
                f"data (got {tuple(logits.shape)}); build it with num_classes={self.num_classes}"
            )
        return smoothed_cross_entropy(logits, labels, smoothing), logits


@contextmanager
def _random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the random streams of torch on the CPU and the device; afterwards they are as before."""
    on_cuda = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=on_cuda):
        torch.default_generator.manual_seed(seed)
        for index in on_cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
