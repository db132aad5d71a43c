"""Checkpoints of the training of a detector."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from ppuda_like._runs import check_same_run, read_state, write_state
from ppuda_like.vision._detect_config import DetectConfig

__all__ = ["DetectProgress", "load_state", "save_state"]

STATE_FORMAT = 1


@dataclass(kw_only=True)
class DetectProgress:
    """How far a run is.

    Attributes:
        epoch: epochs done, their validation included.
        step: updates done or skipped.
        skipped_steps: those skipped, for want of a finite loss or gradient.
        seconds: time spent, validation included.
        score: what the last validation found; empty before the first.
    """

    epoch: int = 0
    step: int = 0
    skipped_steps: int = 0
    seconds: float = 0.0
    score: dict[str, float] = field(default_factory=dict)


def save_state(
    config: DetectConfig,
    images: int,
    detector: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: DetectProgress,
) -> None:
    """Write everything a resumption needs to ``state.pt`` in the run's folder; it appears complete or stays as it was.

    Raises:
        CheckpointError: if it cannot be written.
    """
    parts = {
        "facts": json.dumps(_facts(config, images, detector)),
        "detector": detector.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    write_state(config.out, STATE_FORMAT, parts)


def load_state(
    config: DetectConfig, images: int, detector: nn.Module, optimizer: torch.optim.Optimizer
) -> DetectProgress:
    """Continue from ``state.pt`` in the run's folder, or start anew where there is none.

    Random streams need no state: each epoch and each step derives its own from the run's seed and its number.

    Raises:
        CheckpointError: if the file is broken, of another format, or of a run with another config, detector or number
            of images.
    """
    state = read_state(config.out, STATE_FORMAT, next(detector.parameters()).device)
    if state is None:
        return DetectProgress()
    check_same_run(config.out, "setup", json.loads(state["facts"]), _facts(config, images, detector))
    detector.load_state_dict(state["detector"])
    optimizer.load_state_dict(state["optimizer"])
    return DetectProgress(**state["progress"])


def _facts(config: DetectConfig, images: int, detector: nn.Module) -> dict[str, Any]:
    """What a run is of: a resumption must find the same."""
    shapes = {f"tensor {name}": list(tensor.shape) for name, tensor in detector.state_dict().items()}
    return {**config.identity, "training images": images, "number of tensors": len(shapes), **shapes}
