"""What SEDONA's search is a function of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ppuda_like._config import RunConfig
from ppuda_like.search.blocks._auxiliary import AUXILIARIES, LIGHT
from ppuda_like.search.blocks._weight_memory import Evict
from ppuda_like.vision import AUGMENTATIONS, Augmentation

__all__ = ["BlockSearchConfig", "Gradient"]

Gradient = Literal["exact", "first-order", "reference"]

# What may change as long as no logit has moved.
_UPDATES = frozenset({"unroll", "gradient", "outer_lr", "outer_betas", "outer_weight_decay"})
_CHOICES = {
    "gradient": ("exact", "first-order", "reference"),
    "evict": ("oldest", "worst"),
    "augment": tuple(AUGMENTATIONS),
}


@dataclass(frozen=True, kw_only=True)
class BlockSearchConfig(RunConfig):
    """SEDONA's search for blocks (ICLR 2021); the defaults are those of its code for CIFAR-10, but for ``gradient``.

    Attributes:
        out: folder that the search writes to.
        iterations: updates of the logits; a search that is finished goes on with more of them.  With 0 the memory of
            weights is filled only: copies of such a folder are where searches with another ``gradient``, ``unroll`` or
            Adam can start.
        unroll: steps of training that an update looks ahead, T.
        pretrain_steps: steps of training that fill the memory of weights before; also the length of the cosine.
        snapshots: of the weights in these steps, evenly spread.
        capacity: of the memory of weights.
        evict: what leaves a full memory: the ``"oldest"`` element or the ``"worst"``, of the highest error.
        memory_on_disk: whether the memory is on disk only, or held in memory and written with each checkpoint.
        gradient: of the logits.  ``"exact"``: of the validation loss after ``unroll`` steps.  ``"first-order"``: the
            same, but for how the gradient of a step depends on the weights that the steps before left.
            ``"reference"``: of the training loss in the last step, with activations divided and logits multiplied by
            the inverse probability of a boundary, as in the published code.
        boundaries: drawn in each step: only there auxiliary networks are evaluated; 0 for all of them.
        num_candidates: drawn for each of these boundaries, two at least, as only weights of those drawn are compared;
            0 for all of them.
        candidates: for the auxiliary network at each boundary, in the order of the columns of ``beta``; with a single
            one only boundaries are searched for.
        features: of light auxiliary networks: 512 times the ``feat_mult`` of SEDONA's networks.
        batch_size: images in a training step.
        val_batch_size: images in a validation, all if there are fewer.
        val_share: share of the training images to validate on if no others are given.
        augment: how the training images vary.
        lr: highest learning rate of the weights.
        final_lr: what its cosine ends with, as a share of ``lr``.
        momentum: of the SGD of the weights.
        weight_decay: of the weights.
        label_smoothing: of the cross entropies: the true class has 1 minus this, the others share it equally.
        outer_lr: of the Adam of the logits.
        outer_betas: decay of its averages.
        outer_weight_decay: of the logits, in their gradient.
        bn_batch_stats: whether validation normalises with the statistics of its batch.  With running ones, as in the
            published code, the gradient leaves out how these depend on the weights.
        seed: of the auxiliary networks, the images, dropout, and what is drawn from the memory.
        device: where all is computed.
        workers: processes that prepare training images ahead in the steps that fill the memory; 0 for none.
        checkpoint_steps: steps or updates between checkpoints.
        max_skipped: a search with more steps and updates than this without a finite loss and gradient stops.

    Raises:
        PpudaLikeError: if a value is out of range or does not go with the others.

    Example:
        >>> config = BlockSearchConfig(out="runs/x")
        >>> round(config.learning_rate(36_000), 7), round(config.learning_rate(39_920), 7)
        (0.0034227, 0.001001)
    """

    _free: ClassVar[frozenset[str]] = _UPDATES | {
        "out",
        "iterations",
        "device",
        "workers",
        "memory_on_disk",
        "checkpoint_steps",
        "max_skipped",
    }

    out: Path
    iterations: int = 2000
    unroll: int = 5
    pretrain_steps: int = 40_000
    snapshots: int = 500
    capacity: int = 50
    evict: Evict = "oldest"
    memory_on_disk: bool = False
    gradient: Gradient = "exact"
    boundaries: int = 0
    num_candidates: int = 0
    candidates: tuple[str, ...] = LIGHT
    features: int = 512
    batch_size: int = 128
    val_batch_size: int = 1024
    val_share: float = 0.4
    augment: Augmentation = "crop"
    lr: float = 0.1
    final_lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    outer_lr: float = 0.01
    outer_betas: tuple[float, float] = (0.5, 0.999)
    outer_weight_decay: float = 1e-6
    bn_batch_stats: bool = True
    seed: int = 0
    device: str = "cpu"
    workers: int = 0
    checkpoint_steps: int = 500
    max_skipped: int = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        for key in ("candidates", "outer_betas"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        for key, choices in _CHOICES.items():
            self._require(key, getattr(self, key) in choices, f"one of {', '.join(choices)}")
        positive = ("unroll", "pretrain_steps", "snapshots", "capacity", "features")
        for key in (*positive, "batch_size", "val_batch_size", "checkpoint_steps", "lr", "outer_lr"):
            self._require(key, 0 < getattr(self, key) < math.inf, "positive")
        for key in (
            "iterations",
            "boundaries",
            "num_candidates",
            "weight_decay",
            "outer_weight_decay",
            "workers",
            "max_skipped",
        ):
            self._require(key, 0 <= getattr(self, key) < math.inf, "0 or more")
        for key in ("momentum", "label_smoothing"):
            self._require(key, 0 <= getattr(self, key) < 1, "at least 0 and below 1")
        self._require("val_share", 0 < self.val_share < 1, "above 0 and below 1")
        self._require("final_lr", 0 <= self.final_lr <= 1, "a share of 'lr', 0 to 1")
        betas = self.outer_betas
        self._require("outer_betas", len(betas) == 2 and all(0 <= b < 1 for b in betas), "two numbers in [0, 1)")
        known = len(self.candidates) == len({*self.candidates} & AUXILIARIES.keys()) > 0
        self._require("candidates", known, f"different names out of {', '.join(AUXILIARIES)}, one at least")
        self._require(
            "candidates",
            "predsim" not in self.candidates or len(self.candidates) == 1,
            "classifiers by cross entropy, whose logits can be mixed, or 'predsim' alone",
        )
        most = len(self.candidates)
        drawn = self.num_candidates
        self._require("num_candidates", not drawn or 2 <= drawn <= most, f"2 to {most}, as there are, or 0 for all")
        self._device_type()  # for its check

    @property
    def snapshot_steps(self) -> int:
        """Steps between two snapshots that fill the memory."""
        return max(1, self.pretrain_steps // self.snapshots)

    def learning_rate(self, step: int) -> float:
        """Learning rate of the weights in a step, from 0: a cosine over ``pretrain_steps``, constant behind."""
        done = min(step / self.pretrain_steps, 1.0)
        return self.lr * (self.final_lr + (1 - self.final_lr) * (1 + math.cos(math.pi * done)) / 2)

    @property
    def update_identity(self) -> dict[str, Any]:
        """What must not change either once there was an update of the logits."""
        return {key: value for key, value in self.to_dict().items() if key in _UPDATES}
