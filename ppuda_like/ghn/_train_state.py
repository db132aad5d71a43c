"""Checkpoints of a training run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from ppuda_like._runs import check_same_run, checkpoint_file, read_state, write_state
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.ghn._train_config import TrainConfig

__all__ = ["LossScale", "Progress", "WeightAverage", "load_state", "save_state", "write_checkpoint"]

STATE_FORMAT = 2


@dataclass(kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        step: updates done or skipped.
        skipped_steps: those skipped, for want of a finite loss or gradient.
        skipped_nets: networks left out of their step, for want of a finite loss and gradient or of memory.
        out_of_memory: those for want of memory.
        loss_scale: of the losses in half precision.
        seconds: time spent, validation included.
        best_top1: best mean accuracy at a validation, negative before the first.
    """

    step: int = 0
    skipped_steps: int = 0
    skipped_nets: int = 0
    out_of_memory: int = 0
    loss_scale: LossScale = field(default_factory=lambda: LossScale())
    seconds: float = 0.0
    best_top1: float = -1.0


@dataclass
class LossScale:
    """A factor of the loss in half precision, as large as gradients allow (arXiv:1710.03740, section 3.2).

    Attributes:
        value: the factor.
        steps: since it last changed.
    """

    value: float = 2.0**14
    steps: int = 0

    def update(self, *, overflow: bool) -> None:
        """Halve it after a step with a gradient that was not finite; double it after 500 steps without."""
        self.steps += 1
        if overflow:
            self.value, self.steps = max(1.0, self.value / 2), 0
        elif self.steps == 500:
            self.value, self.steps = self.value * 2, 0


class WeightAverage:
    """Exponential moving average of a module's weights.

    Args:
        module: whose weights are averaged; they are copied.
        decay: of the average; 0 follows the weights themselves.  The first updates use a smaller one.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.weights = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, tensor in module.state_dict().items():
            self.weights[name].lerp_(tensor, 1 - decay)


def save_state(
    config: TrainConfig, ghn: nn.Module, average: WeightAverage, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write everything a resumption needs to ``state.pt`` in the run's folder; it appears complete or stays as it was.

    Raises:
        CheckpointError: if it cannot be written.
    """
    parts = {
        "config": json.dumps(config.identity, sort_keys=True),
        "ghn": ghn.state_dict(),
        "average": average.weights,
        "average_updates": average.updates,
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    write_state(config.out, STATE_FORMAT, parts)


def write_checkpoint(ghn: GHN, path: Path) -> None:
    """Write a hypernetwork; the file appears complete, or stays as it was.

    Raises:
        CheckpointError: if it cannot be written.
    """
    with checkpoint_file(path) as temporary:
        ghn.save_pretrained(temporary)


def load_state(
    config: TrainConfig, ghn: nn.Module, average: WeightAverage, optimizer: torch.optim.Optimizer
) -> Progress:
    """Continue from ``state.pt`` in the run's folder, or start anew where there is none.

    Random streams need no state: each step derives its own from the run's seed and its number.

    Raises:
        CheckpointError: if the file is broken, of another format, or of a run with another config.
    """
    state = read_state(config.out, STATE_FORMAT, config.device)
    if state is None:
        return Progress()
    check_same_run(config.out, "config", json.loads(state["config"]), config.identity)
    ghn.load_state_dict(state["ghn"])
    average.weights = state["average"]
    average.updates = state["average_updates"]
    optimizer.load_state_dict(state["optimizer"])
    found = state["progress"]
    return Progress(**{**found, "loss_scale": LossScale(**found["loss_scale"])})
