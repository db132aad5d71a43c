"""Checkpoints of the training of one network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ppuda_like._runs import check_same_run, read_state, write_state

__all__ = ["NetProgress", "NetState", "average_of"]

STATE_FORMAT = 1


@dataclass(kw_only=True)
class NetProgress:
    """How far a run is.

    Attributes:
        step: updates done or skipped.
        epoch: epochs done, their validation included.
        skipped_steps: updates skipped, for want of a finite loss or gradient.
        overflows: updates skipped because the scaled loss in float16 overflowed; the scale adapts.
        seconds: time spent, validation included.
        epoch_seconds: of it, on the updates of the epoch that is not done.
        means: sums and counts of the metrics of that epoch.
        best_top1: best accuracy at a validation, negative before the first.
        val: what the last validation found; empty before the first.
    """

    step: int = 0
    epoch: int = 0
    skipped_steps: int = 0
    overflows: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    means: dict[str, tuple[float, int]] = field(default_factory=dict)
    best_top1: float = -1.0
    val: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class NetState:
    """All that changes in a run, and with it all that a checkpoint holds.

    Random streams need no place in it: each step derives its own from the run's seed and its number.  Nor do the
    images: a batch is a function of its number.

    Attributes:
        facts: what the run is of, by topic: values of the config, tensors of the model, facts of the images.
        model: the network.
        average: its moving average; None without.
        optimizer: with the state of the updates.
        scaler: of the loss in float16.
        progress: how far the run is.
    """

    facts: Mapping[str, Mapping[str, Any]]
    model: nn.Module
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: NetProgress = field(default_factory=NetProgress)

    @property
    def trained(self) -> nn.Module:
        """The network that is validated and kept: the average where there is one."""
        return self.model if self.average is None else self.average.module

    def save(self, folder: Path) -> None:
        """Write ``state.pt``, which appears complete or stays as it was.

        Raises:
            CheckpointError: if it cannot be written.
        """
        parts = {
            "facts": json.dumps(self.facts),
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": asdict(self.progress),
        }
        write_state(folder, STATE_FORMAT, parts)

    def load(self, folder: Path, device: torch.device) -> None:
        """Continue from ``state.pt``, or stay as it is where there is none.

        Raises:
            CheckpointError: if the file is broken, of another format, or of a run with another config, model or images.
        """
        state = read_state(folder, STATE_FORMAT, device)
        if state is None:
            return
        before = json.loads(state["facts"])
        for topic, now in self.facts.items():
            check_same_run(folder, topic, before[topic], now)
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = NetProgress(**state["progress"])


def average_of(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of a network's parameters and buffers; its first updates use a smaller decay.

    torch's own averages round integer buffers, such as the index tables of Swin transformers; here they follow the
    network.
    """

    @torch.no_grad()
    def update(averages: Any, values: Any, updates: Tensor | int) -> None:
        if averages[0].is_floating_point():
            done = int(updates)
            torch._foreach_lerp_(averages, values, 1 - min(decay, (1 + done) / (10 + done)))
        else:
            torch._foreach_copy_(averages, values)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)
