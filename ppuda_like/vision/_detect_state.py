"""Checkpoints of the training of a detector."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from ppuda_like._runs import checkpoint_file
from ppuda_like.errors import CheckpointError
from ppuda_like.vision._detect_config import DetectConfig

__all__ = ["DetectProgress", "load_state", "save_state"]

STATE_FORMAT = 1
STATE_FILE = "state.pt"


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
    state = {
        "format": STATE_FORMAT,
        "facts": json.dumps(_facts(config, images, detector)),
        "detector": detector.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(progress),
    }
    with checkpoint_file(config.out / STATE_FILE) as path:
        torch.save(state, path)


def load_state(
    config: DetectConfig, images: int, detector: nn.Module, optimizer: torch.optim.Optimizer
) -> DetectProgress:
    """Continue from ``state.pt`` in the run's folder, or start anew where there is none.

    Random streams need no state: each epoch and each step derives its own from the run's seed and its number.

    Raises:
        CheckpointError: if the file is broken, of another format, or of a run with another config, detector or number
            of images.
    """
    path = config.out / STATE_FILE
    if not path.exists():
        return DetectProgress()
    remedy = "delete the file to start anew, or choose another folder"
    device = next(detector.parameters()).device
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError) as error:
        reason = f"it is damaged or no such file: {type(error).__name__}"
        raise CheckpointError(f"cannot read the training state '{path}' ({reason}); {remedy}") from error
    found = state.get("format") if isinstance(state, dict) else type(state).__name__
    if found != STATE_FORMAT:
        raise CheckpointError(f"the training state '{path}' must have format {STATE_FORMAT} (got {found!r}); {remedy}")
    before, now = json.loads(state["facts"]), json.loads(json.dumps(_facts(config, images, detector)))
    changed = [
        f"{key}, {before.get(key)} before, now {value}" for key, value in now.items() if before.get(key) != value
    ]
    if changed:
        shown = "; ".join(change if len(change) < 200 else f"{change[:200]}..." for change in changed[:3])
        raise CheckpointError(
            f"the run in '{config.out}' was started otherwise (different: {shown}); resume it as it was, {remedy}"
        )
    detector.load_state_dict(state["detector"])
    optimizer.load_state_dict(state["optimizer"])
    return DetectProgress(**state["progress"])


def _facts(config: DetectConfig, images: int, detector: nn.Module) -> dict[str, Any]:
    """What a run is of: a resumption must find the same."""
    shapes = {f"tensor {name}": list(tensor.shape) for name, tensor in detector.state_dict().items()}
    return {**config.identity, "training images": images, "number of tensors": len(shapes), **shapes}
