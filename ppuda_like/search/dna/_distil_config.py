"""What the training of a supernet is a function of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ppuda_like._compute import Amp
from ppuda_like._config import RunConfig
from ppuda_like.search.dna._distil_paths import Sampling
from ppuda_like.search.dna._supernet import Boundary
from ppuda_like.vision import AUGMENTATIONS, Augmentation

__all__ = ["DistilConfig"]

_CHOICES = {
    "augment": tuple(AUGMENTATIONS),
    "sampling": ("uniform", "fair"),
    "boundary": ("wide", "adapters"),
    "amp": ("none", "bf16", "fp16"),
}


@dataclass(frozen=True, kw_only=True)
class DistilConfig(RunConfig):
    """The training of the cells of a supernet by the features of a teacher.

    Every cell of every stage is trained on its own: what it becomes depends on the teacher, the images and these values
    only, so that stages give the same result together, one after another, or in processes of their own.

    Attributes:
        out: folder that the run writes to.
        epochs: of each stage.
        batch_size: images of a path.
        augment: how the training images vary, by name in ``AUGMENTATIONS``.
        paths: drawn for each step and cell; their gradients are summed.  Several processes share them out.
        sampling: ``"uniform"``, or ``"fair"``: each operation once in as many draws as there are operations, which are
            one step if ``paths`` says so (arXiv:1907.01845).
        same_images: whether the paths of a step see the same images, or each a batch of its own.
        boundary: see :class:`CellNet`.
        lr: base learning rate of each stage, or a single one for all.
        decay: factor of the learning rate; epoch e, from 1, has ``lr * decay**e``.
        betas: decay of Adam's averages.
        weight_decay: in the gradient; none for parameters of one dimension, norms and biases.
        clip: largest norm of the gradient of a cell; 0 for any.
        amp: arithmetic of the forward passes: single precision, bfloat16, or float16 with a scaled loss (CUDA only).
        stages: numbers of those to train; None for all.
        together: whether one pass of the teacher serves all stages, or stages are trained one after another.
        seed: of weights, images, augmentation and paths.
        device: where teacher and cells run.
        workers: processes that prepare images ahead; 0 to prepare them in between.
        max_skipped: a cell with more steps than this that had no finite loss or gradient stops the run with an error.
        checkpoint_minutes: time between checkpoints.
        max_minutes: time after which a call makes checkpoints and returns, to be resumed by the next; None for no end.

    Raises:
        PpudaLikeError: if a value is out of range or does not go with the others.

    Example:
        >>> config = DistilConfig.published("runs/dna")
        >>> round(config.learning_rate(stage=1, epoch=1), 6), round(config.learning_rate(stage=1, epoch=20), 9)
        (0.0045, 0.000607883)
    """

    _free: ClassVar[frozenset[str]] = frozenset(
        {"out", "stages", "together", "device", "workers", "checkpoint_minutes", "max_minutes", "max_skipped"}
    )

    out: Path
    epochs: int = 20
    batch_size: int = 64
    augment: Augmentation = "crop"
    paths: int = 1
    sampling: Sampling = "uniform"
    same_images: bool = True
    boundary: Boundary = "wide"
    lr: tuple[float, ...] = (0.002,)
    decay: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    clip: float = 0.0
    amp: Amp = "none"
    stages: tuple[int, ...] | None = None
    together: bool = True
    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    max_skipped: int = 100
    checkpoint_minutes: float = 5.0
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        for key in ("lr", "betas", "stages"):
            value = getattr(self, key)
            object.__setattr__(self, key, None if value is None else tuple(value))
        for key, choices in _CHOICES.items():
            self._require(key, getattr(self, key) in choices, f"one of {', '.join(choices)}")
        for key in ("epochs", "batch_size", "paths", "decay"):
            self._require(key, 0 < getattr(self, key) < math.inf, "positive")
        for key in ("weight_decay", "clip", "workers", "max_skipped", "checkpoint_minutes"):
            self._require(key, 0 <= getattr(self, key) < math.inf, "0 or more")
        self._require("lr", bool(self.lr) and all(0 < lr < math.inf for lr in self.lr), "one or more positive numbers")
        self._require("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two numbers in [0, 1)")
        self._require("max_minutes", self.max_minutes is None or self.max_minutes > 0, "positive, or None")
        chosen = self.stages is None or (
            bool(self.stages) and list(self.stages) == sorted({s for s in self.stages if s >= 0})
        )
        self._require("stages", chosen, "ascending numbers of stages from 0, or None for all")
        kind = self._device_type()
        self._require("amp", self.amp != "fp16" or kind == "cuda", f"'none' or 'bf16' on the device {self.device!r}")

    @classmethod
    def published(cls, out: str | Path, **changes: Any) -> DistilConfig:
        """The published training on ImageNet (arXiv:1911.13053), for eight processes of 64 images and a path each.

        Args:
            out: folder that the run writes to.
            changes: values that replace those of the recipe.
        """
        recipe: dict[str, Any] = {
            "augment": "imagenet",
            "paths": 8,
            "same_images": False,
            "lr": (0.002, 0.005, 0.005, 0.005, 0.005, 0.002),
        }
        return cls(**{"out": out} | recipe | changes)

    def learning_rate(self, stage: int, epoch: int) -> float:
        """Learning rate of a stage in an epoch, from 1."""
        return (self.lr[stage] if len(self.lr) > 1 else self.lr[0]) * self.decay**epoch
