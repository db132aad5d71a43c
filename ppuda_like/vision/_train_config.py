"""What the training of one network is a function of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ppuda_like._compute import Amp
from ppuda_like._config import RunConfig
from ppuda_like.errors import PpudaLikeError
from ppuda_like.vision._augment import AUGMENTATIONS, Augmentation

__all__ = ["NetTrainConfig"]

_CHOICES = {
    "optimizer": ("sgd", "adam", "adamw", "rmsprop"),
    "schedule": ("cosine", "step", "exponential", "constant"),
    "amp": ("none", "bf16", "fp16"),
    "augment": tuple(AUGMENTATIONS),
}


@dataclass(frozen=True, kw_only=True)
class NetTrainConfig(RunConfig):
    """The training of one network; the defaults are those of :meth:`sgd50`.

    Attributes:
        out: folder that the run writes to.
        epochs: passes over the training images.
        batch_size: images in one step; what is left after the last full batch of a pass is dropped.
        augment: how the training images vary, by name in ``AUGMENTATIONS``.
        optimizer: ``"sgd"``; ``"adam"``, with weight decay in the gradient; ``"adamw"``, with it decoupled; or
            ``"rmsprop"`` as in TensorFlow.
        lr: highest learning rate.
        momentum: of ``"sgd"`` and ``"rmsprop"``.
        nesterov: whether that momentum is Nesterov's.
        betas: decay of the averages of ``"adam"`` and ``"adamw"``.
        alpha: decay of the average of squares of ``"rmsprop"``.
        eps: added to that average.
        weight_decay: strength of the decay.
        decay_all: whether it holds for all weights, or not for those of one dimension: norms and biases.
        schedule: ``"cosine"`` to ``final_lr``; ``"step"``, times ``factor`` at each of the ``milestones``;
            ``"exponential"``, times ``factor`` an epoch; or ``"constant"``.
        final_lr: where the cosine ends, as a share of ``lr``.
        milestones: epochs, in ascending order.
        factor: of the schedules ``"step"`` and ``"exponential"``.
        warmup: epochs of linear warm-up before the schedule; may be a fraction.
        label_smoothing: of the cross entropy.
        clip: largest norm of the gradient of all weights together; 0 for any.
        amp: arithmetic of the forward pass: single precision, bfloat16, or float16 with a scaled loss (CUDA only).
            A CPU without instructions for bfloat16 is many times slower with it.
        channels_last: whether weights and images lie in memory with the channels last: depthwise and small convolutions
            on a CPU, and 16-bit ones on a GPU, are often faster so.
        ema: decay of the moving average of the weights that is validated and kept; 0 for the weights themselves.
        auxiliary: weight of the loss of each auxiliary classifier; 0 leaves their outputs aside.
        drop_path: probability of dropping an edge of a cell that training ends with; it grows linearly from 0, epoch by
            epoch.  For networks that have a ``drop_path_rate``, as those of ``ppuda_like.deepnets``.
        bn_batch_stats: whether validation normalises with the statistics of each batch and not the running ones.
        bn_images: training images, not augmented, over which the running statistics of batch normalisations are taken
            anew at the end of each epoch, in whole batches; 0 for those that training ran up, which need some hundred
            steps to come near.  Without effect with ``bn_batch_stats``.
        seed: of the order of the images, the augmentation, dropout and drop path; on the command line of the initial
            weights too.
        device: where the network runs.
        workers: processes that prepare images ahead; 0 to prepare them in between.
        val_batch_size: images that a validation takes at a time.
        max_skipped: a run with more steps than this that had no finite loss or gradient stops with an error.
        checkpoint_minutes: time between checkpoints.
        max_minutes: time after which a call makes a checkpoint and returns, to be resumed by the next; None for no end.
        tensorboard: whether metrics go to TensorBoard too, in the subfolder ``tensorboard``.

    Raises:
        PpudaLikeError: if a value is out of range or does not go with the others.

    Example:
        >>> NetTrainConfig.finetune("runs/x", epochs=10).weight_decay
        0.001
    """

    _free: ClassVar[frozenset[str]] = frozenset(
        {"out", "device", "workers", "val_batch_size", "checkpoint_minutes", "max_minutes", "tensorboard"}
    )

    out: Path
    epochs: int = 50
    batch_size: int = 96
    augment: Augmentation = "crop"
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = "sgd"
    lr: float = 0.025
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: float = 0.9
    eps: float = 1e-3
    weight_decay: float = 3e-4
    decay_all: bool = True
    schedule: Literal["cosine", "step", "exponential", "constant"] = "cosine"
    final_lr: float = 0.0
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    warmup: float = 0.0
    label_smoothing: float = 0.0
    clip: float = 5.0
    amp: Amp = "none"
    channels_last: bool = False
    ema: float = 0.0
    auxiliary: float = 0.0
    drop_path: float = 0.0
    bn_batch_stats: bool = False
    bn_images: int = 0
    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    val_batch_size: int = 64
    max_skipped: int = 100
    checkpoint_minutes: float = 5.0
    max_minutes: float | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        object.__setattr__(self, "betas", tuple(self.betas))
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for key, choices in _CHOICES.items():
            self._require(key, getattr(self, key) in choices, f"one of {', '.join(choices)}")
        for key in ("epochs", "batch_size", "val_batch_size", "lr", "factor", "eps"):
            self._require(key, 0 < getattr(self, key) < math.inf, "positive")
        for key in ("weight_decay", "clip", "auxiliary", "bn_images", "workers", "max_skipped", "checkpoint_minutes"):
            self._require(key, 0 <= getattr(self, key) < math.inf, "0 or more")
        for key in ("momentum", "alpha", "label_smoothing", "ema", "drop_path"):
            self._require(key, 0 <= getattr(self, key) < 1, "at least 0 and below 1")
        self._require("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two numbers in [0, 1)")
        self._require("final_lr", 0 <= self.final_lr <= 1, "a share of 'lr', 0 to 1")
        self._require("warmup", 0 <= self.warmup < self.epochs, f"at least 0 and below the {self.epochs} epochs")
        self._require("max_minutes", self.max_minutes is None or self.max_minutes > 0, "positive, or None")
        self._require("nesterov", not self.nesterov or self.momentum > 0, "off without momentum")
        ascending = list(self.milestones) == sorted({epoch for epoch in self.milestones if epoch > 0})
        self._require("milestones", ascending, "ascending numbers of epochs from 1")
        self._require(
            "milestones",
            bool(self.milestones) == (self.schedule == "step"),
            "given with the schedule 'step', and with no other",
        )
        device = self._device_type()
        if self.amp == "fp16" and device != "cuda":
            raise PpudaLikeError(
                f"amp 'fp16' needs a CUDA device (got device {self.device!r}); take 'bf16', or 'none' for single "
                "precision"
            )

    @classmethod
    def sgd50(cls, out: str | Path, **changes: Any) -> NetTrainConfig:
        """50 epochs of SGD on CIFAR-10 as in PPUDA (arXiv:2110.13100), the gradient clipped as in DARTS.

        Args:
            out: folder that the run writes to.
            changes: values that replace those of the recipe.
        """
        return cls(**{"out": out} | changes)

    @classmethod
    def darts(cls, out: str | Path, **changes: Any) -> NetTrainConfig:
        """The final training of architecture search (DARTS, arXiv:1806.09055, section 3.2) on CIFAR-10.

        600 epochs with cutout of 16 pixels, drop path and an auxiliary classifier: for networks of
        ``ppuda_like.deepnets`` built with ``auxiliary=True``.

        Args:
            out: folder that the run writes to.
            changes: values that replace those of the recipe.
        """
        recipe: dict[str, Any] = {"epochs": 600, "augment": "crop-cutout", "auxiliary": 0.4, "drop_path": 0.2}
        return cls(**{"out": out} | recipe | changes)

    @classmethod
    def imagenet(cls, out: str | Path, **changes: Any) -> NetTrainConfig:
        """250 epochs on ImageNet as in PPUDA (arXiv:2110.13100) and DARTS (arXiv:1806.09055).

        Args:
            out: folder that the run writes to.
            changes: values that replace those of the recipe.
        """
        recipe: dict[str, Any] = {
            "epochs": 250,
            "batch_size": 128,
            "augment": "imagenet",
            "lr": 0.1,
            "weight_decay": 3e-5,
            "schedule": "exponential",
            "factor": 0.97,
            "label_smoothing": 0.1,
        }
        return cls(**{"out": out} | recipe | changes)

    @classmethod
    def finetune(cls, out: str | Path, **changes: Any) -> NetTrainConfig:
        """50 epochs from given weights on few images, 100 of each class, as in PPUDA (arXiv:2110.13100).

        On so few images an epoch has a handful of steps, and running statistics stay far behind the weights: they are
        taken anew over 1,000 images.

        Args:
            out: folder that the run writes to.
            changes: values that replace those of the recipe.
        """
        recipe: dict[str, Any] = {"weight_decay": 1e-3, "bn_images": 1_000}
        return cls(**{"out": out} | recipe | changes)

    @property
    def identity(self) -> dict[str, Any]:
        """As :attr:`RunConfig.identity`, without the options that have no effect beside the others."""
        others = {"alpha", "eps"} if self.optimizer != "rmsprop" else set()
        if self.bn_batch_stats:
            others.add("bn_images")
        return {key: value for key, value in super().identity.items() if key not in others}
