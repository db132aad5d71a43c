"""What the training of a detector is a function of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["DetectConfig", "learning_rate"]

_WARMUP_FACTOR = 1e-3


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """One training run of a detector; the published recipe by default.

    Attributes:
        out: folder that the run writes to.
        epochs: passes over the training images; a finished run goes on when there are to be more.
        batch_size: images in one step.
        lr: learning rate, after a linear warm-up in the first epoch (at most 1,000 steps, from a thousandth of it).
        momentum: of stochastic gradient descent.
        weight_decay: strength of the decay.
        lr_step: epochs after each of which the learning rate falls,
        lr_gamma: to this share of what it was.
        flip: probability that an image is mirrored left to right.
        clip: largest norm of the gradient of all weights together; None for no limit.
        max_skipped: a run with more steps than this without a finite loss and gradient stops with an error.
        val_epochs: epochs between validations; the last epoch is always validated.
        name: what is trained and from which weights, for people to read; a run is only continued under the same name.
        seed: of everything random.
        workers: processes that read images ahead; 0 to read them in between.

    Raises:
        ValueError: if a number is out of its range.
    """

    out: Path
    epochs: int = 10
    batch_size: int = 2
    lr: float = 0.005
    momentum: float = 0.9
    weight_decay: float = 0.0005
    lr_step: int = 3
    lr_gamma: float = 0.1
    flip: float = 0.5
    clip: float | None = None
    max_skipped: int = 20
    val_epochs: int = 1
    name: str = ""
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        for key in ("epochs", "batch_size", "lr", "lr_step", "lr_gamma", "val_epochs"):
            if not getattr(self, key) > 0:
                raise ValueError(f"'{key}' must be positive (got {getattr(self, key)})")
        for key in ("momentum", "weight_decay", "max_skipped", "workers"):
            if not getattr(self, key) >= 0:
                raise ValueError(f"'{key}' must be 0 or more (got {getattr(self, key)})")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"'flip' must be in 0..1 (got {self.flip})")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"'clip' must be positive, or None (got {self.clip})")

    def to_dict(self) -> dict[str, Any]:
        """The resolved config as JSON values."""
        return {**asdict(self), "out": str(self.out)}

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between a run and its resumption."""
        free = {"out", "epochs", "max_skipped", "val_epochs", "workers"}
        return {key: value for key, value in self.to_dict().items() if key not in free}


def learning_rate(config: DetectConfig, step: int, per_epoch: int) -> float:
    """Learning rate of the update number ``step`` (from 0), with ``per_epoch`` of them in an epoch.

    >>> config = DetectConfig(out=Path("run"), lr=1.0)
    >>> [round(learning_rate(config, step, 5), 4) for step in (0, 2, 4, 14, 15, 30)]
    [0.001, 0.5005, 1.0, 1.0, 0.1, 0.01]
    """
    warmup = min(1_000, per_epoch - 1)
    lr = config.lr * config.lr_gamma ** (step // per_epoch // config.lr_step)
    if step < warmup:
        lr *= _WARMUP_FACTOR + (1 - _WARMUP_FACTOR) * step / warmup
    return lr
