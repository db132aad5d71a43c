"""What a training run of a hypernetwork is a function of."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from ppuda_like.deepnets._sampler import SampledSplit
from ppuda_like.ghn._config import GHNConfig
from ppuda_like.vision import AUGMENTATIONS, Augmentation, default_augmentation

__all__ = ["NetsConfig", "OptimConfig", "TrainConfig", "learning_rate"]


@dataclass(frozen=True, kw_only=True)
class NetsConfig:
    """Which networks the hypernetwork is trained on.

    Attributes:
        split: split of DeepNets-1M they are sampled from.
        store: dataset to take the networks of the split from instead, by turns; None to sample new ones for ever.
        meta_batch: networks in one step, in all processes together.
        widths: initial widths (channels) to draw from, all equally likely; repeat one to draw it more often.  None for
            the published rule, :func:`ppuda_like.deepnets.sample_width`.
        fc_dims: widths of a hidden fully connected layer to draw from; the published rule has its own.
        max_params: networks with more parameters are passed over.
        max_macs: networks with more multiply-accumulates per image (32x32, or 224x224 where images are larger than
            64x64) are passed over; they bound the time of a step.
        max_nodes: networks with more nodes are passed over.
        max_total_nodes: nodes in one meta-batch at most; networks past that are left out of it.
        repeat: steps in a row that a meta-batch serves, with other images each time: preparing one takes time.
        pool: number of different meta-batches; once all have served, they serve again, in a new order each time.  They
            stay in memory, and need preparing only once.  0 for new networks in every step.
    """

    split: SampledSplit = "train"
    store: Path | None = None
    meta_batch: int = 8
    widths: tuple[int, ...] | None = (32, 48, 64, 80, 96, 112, 128)
    fc_dims: tuple[int, ...] = (64, 128, 192, 256)
    max_params: int = 10_000_000
    max_macs: int = 1_000_000_000
    max_nodes: int = 1_000
    max_total_nodes: int = 2_200
    repeat: int = 1
    pool: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", None if self.store is None else Path(self.store))
        _positive(self, "meta_batch", "max_params", "max_macs", "max_nodes", "max_total_nodes", "repeat")
        if self.pool < 0:
            raise ValueError(f"'pool' must be a number of meta-batches, or 0 (got {self.pool})")
        for key in ("widths", "fc_dims"):
            value = getattr(self, key)
            if key == "widths" and value is None:
                continue
            object.__setattr__(self, key, tuple(value))
            if not value or min(value) < 1:
                raise ValueError(f"'{key}' must hold positive widths, at least one (got {value})")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How the hypernetwork's weights are updated.

    Attributes:
        optimizer: Adam, with weight decay in the gradient, or AdamW, with it decoupled.
        lr: highest learning rate.
        betas: decay of the averages of the gradient and of its square.
        weight_decay: strength of the decay.
        schedule: ``"cosine"`` to ``final_lr``, or ``"step"``: a tenth after 2/3 and a hundredth after 5/6 of the steps.
        final_lr: where the cosine ends, as a share of ``lr``.
        warmup: steps of linear warm-up.
        clip: largest norm of the gradient of all weights together.
        net_norm: norm that the gradient of each network at its predicted parameters is scaled to, so that all networks
            of a meta-batch count the same: unscaled norms differ a hundredfold.  None to leave them.
        norm_penalty: weight of the sum of the Frobenius norms of a network's predicted tensors in the loss; GHN-3 uses
            3e-5.
        ema: decay of the moving average of the weights that checkpoints hold; 0 for the weights themselves.
        label_smoothing: of the cross entropy.
        max_skipped: a run with more steps than this in which all networks failed, or whose gradient was not finite,
            stops with an error.
    """

    optimizer: Literal["adam", "adamw"] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-5
    schedule: Literal["cosine", "step"] = "step"
    final_lr: float = 0.0
    warmup: int = 0
    clip: float = 5.0
    net_norm: float | None = None
    norm_penalty: float = 0.0
    ema: float = 0.0
    label_smoothing: float = 0.0
    max_skipped: int = 100

    def __post_init__(self) -> None:
        if self.optimizer not in ("adam", "adamw"):
            raise ValueError(f"'optimizer' must be 'adam' or 'adamw' (got {self.optimizer!r})")
        if self.schedule not in ("cosine", "step"):
            raise ValueError(f"'schedule' must be 'cosine' or 'step' (got {self.schedule!r})")
        object.__setattr__(self, "betas", tuple(self.betas))
        _positive(self, "lr", "clip")
        if not 0 <= self.ema < 1:
            raise ValueError(f"'ema' must be in [0, 1) (got {self.ema})")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run.

    Attributes:
        out: folder that the run writes to.
        ghn: the hypernetwork.
        nets: the networks it is trained on.
        optim: the updates.
        data: name of a data set, or path of an image folder or an archive of one, as ``vision.load_images`` takes it.
        data_root: folder of data sets.
        download: download CIFAR if it is not there.
        image_size: height and width of the images.
        augment: how the training images vary, by name in ``AUGMENTATIONS``; ``"default"`` for what suits the data.
        batch_size: images that a network sees in one step.
        image_workers: processes that load images ahead, from disk; 0 for images in memory.
        amp: 16-bit arithmetic in the networks' own passes: ``"bf16"``, or ``"fp16"`` with a scaled loss.  The
            hypernetwork stays in 32 bits.
        same_images: whether all networks of a meta-batch see the same ones, or each its own.
        fast_size: height and width of the images in the first steps, for networks that take any size: those that
            neither flatten their features nor hold a positional encoding.  0 for ``image_size``.
        fast_share: share of the steps that are the first.
        steps: updates in the whole run; the schedule depends on it.
        init: initial weights of the decoder: torch's own, or those of ``identity_init``.
        start: checkpoint to take the initial weights from instead, by name or path; None for new ones.
        seed: of everything random.
        device: where the hypernetwork and the networks run.
        net_threads: networks of a meta-batch that run at the same time on the CPU, each on one thread; 0 for one
            after the other on all threads.
        workers: processes that prepare networks ahead; 0 to prepare them in between.
        checkpoint_minutes: time between checkpoints.
        max_minutes: time after which the run makes a checkpoint and stops, to be resumed; None for no end.
        log_steps: steps that one line of metrics averages over.
        val_steps: steps between validations; 0 for none.
        val_nets: networks of the ``val`` split that a validation takes.
        val_width: their initial width; None for their own.
        tensorboard: whether metrics go to TensorBoard too, in the subfolder ``tensorboard``.
    """

    out: Path
    ghn: GHNConfig = field(default_factory=GHNConfig)
    nets: NetsConfig = field(default_factory=NetsConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    data: str = "digits"
    data_root: Path = Path("data")
    download: bool = False
    image_size: int = 32
    augment: Augmentation | Literal["default"] = "default"
    batch_size: int = 64
    image_workers: int = 0
    amp: Literal["none", "bf16", "fp16"] = "none"
    same_images: bool = True
    fast_size: int = 0
    fast_share: float = 0.5
    steps: int = 10_000
    init: Literal["torch", "identity"] = "torch"
    start: str | Path | None = None
    seed: int = 0
    device: str = "cpu"
    net_threads: int = 0
    workers: int = 0
    checkpoint_minutes: float = 5.0
    max_minutes: float | None = None
    log_steps: int = 20
    val_steps: int = 0
    val_nets: int = 8
    val_width: int | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        object.__setattr__(self, "data_root", Path(self.data_root))
        _positive(self, "image_size", "batch_size", "steps", "log_steps", "val_nets")
        if self.init not in ("torch", "identity"):
            raise ValueError(f"'init' must be 'torch' or 'identity' (got {self.init!r})")
        if self.augment == "default":
            object.__setattr__(self, "augment", default_augmentation(self.data, self.image_size))
        if self.augment not in AUGMENTATIONS:
            raise ValueError(f"'augment' must be 'default' or one of {', '.join(AUGMENTATIONS)} (got {self.augment!r})")
        if self.amp not in ("none", "bf16", "fp16"):
            raise ValueError(f"'amp' must be 'none', 'bf16' or 'fp16' (got {self.amp!r})")
        if self.fast_size < 0:
            raise ValueError(f"'fast_size' must be positive, or 0 (got {self.fast_size})")
        if not 0 <= self.fast_share <= 1:
            raise ValueError(f"'fast_share' must be in 0..1 (got {self.fast_share})")

    def to_dict(self) -> dict[str, Any]:
        """The resolved config as JSON values."""
        nets = {**asdict(self.nets), "store": None if self.nets.store is None else str(self.nets.store)}
        start = None if self.start is None else str(self.start)
        paths = {"out": str(self.out), "data_root": str(self.data_root)}
        return {**asdict(self), **paths, "start": start, "nets": nets, "ghn": self.ghn.to_dict()}

    @property
    def augmentation(self) -> Augmentation:
        """How the training images vary."""
        return cast(Augmentation, self.augment)  # "default" has been resolved

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between a run and its resumption: all that the trained weights depend on."""
        free = {
            "out",
            "data_root",
            "download",
            "device",
            "net_threads",
            "workers",
            "image_workers",
            "checkpoint_minutes",
            "max_minutes",
            "log_steps",
            "val_steps",
            "val_nets",
            "val_width",
            "tensorboard",
        }
        return {key: value for key, value in self.to_dict().items() if key not in free}


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Learning rate of the update number ``step`` (from 0) among ``steps``.

    >>> [round(learning_rate(OptimConfig(lr=1.0, schedule="step"), step, 12), 4) for step in (0, 7, 8, 10)]
    [1.0, 1.0, 0.1, 0.01]
    """
    if step < config.warmup:
        return config.lr * (step + 1) / (config.warmup + 1)
    if config.schedule == "step":
        return config.lr * 0.1 ** ((3 * step >= 2 * steps) + (6 * step >= 5 * steps))
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * (config.final_lr + (1 - config.final_lr) * (1 + math.cos(math.pi * done)) / 2)


def _positive(config: object, *keys: str) -> None:
    for key in keys:
        if not getattr(config, key) > 0:
            raise ValueError(f"'{key}' must be positive (got {getattr(config, key)})")
