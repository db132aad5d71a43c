"""What the training of blocks is a function of."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.blocks._replay_config import ReplayConfig
from ppuda_like.vision import NetTrainConfig

__all__ = ["BlockTrainConfig", "Method"]

Method = Literal["sync", "sequential", "parallel", "async", "backprop"]

_UNUSED = ("amp", "channels_last", "ema", "auxiliary", "drop_path", "bn_batch_stats", "label_smoothing", "max_minutes")
# What the trained weights depend on, and the training of one network does not know, is part of a run's identity.


@dataclass(frozen=True, kw_only=True)
class BlockTrainConfig:
    """The training of a network block by block.

    Attributes:
        training: images, optimiser and schedule, the same for each block; ``clip`` holds for each block.
        method: ``"sync"``: one batch goes through all blocks, each learning as it passes; ``"sequential"``: one block
            after the other is trained to the end and then frozen; ``"parallel"``: as ``"sync"``, to the same weights,
            with a process for each block; ``"async"``: each block at a pace of its own, on outputs of the one before
            that a buffer keeps; ``"backprop"``: end to end, as without blocks.
        label_smoothing: of the cross entropies: the true class has 1 minus this, the others share it equally.
        replay: with ``"async"``, paces and buffers.
        queue: with ``"parallel"``, batches that may wait between two blocks.
        checkpoint_steps: steps between checkpoints; there is one at the end of each epoch too.

    Raises:
        PpudaLikeError: if a value is out of range, or ``training`` asks for what the training of blocks does not do.

    Example:
        >>> config = BlockTrainConfig.sedona("runs/x", method="sequential")
        >>> config.training.lr, config.label_smoothing
        (0.1, 0.1)
    """

    training: NetTrainConfig
    method: Method = "sync"
    label_smoothing: float = 0.0
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    queue: int = 4
    checkpoint_steps: int = 500

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise PpudaLikeError(f"'method' must be one of {', '.join(get_args(Method))} (got {self.method!r})")
        if not 0 <= self.label_smoothing < 1:
            raise PpudaLikeError(f"'label_smoothing' must be at least 0 and below 1 (got {self.label_smoothing})")
        if self.queue < 1 or self.checkpoint_steps < 1:
            raise PpudaLikeError(
                f"'queue' and 'checkpoint_steps' must be at least 1 (got {self.queue}, {self.checkpoint_steps})"
            )
        usual = {one.name: one.default for one in fields(NetTrainConfig)}
        wrong = [key for key in _UNUSED if getattr(self.training, key) != usual[key]]
        if wrong:
            raise PpudaLikeError(
                f"the training of blocks knows no {', '.join(map(repr, wrong))} of the training of a network; leave "
                "them at their defaults (label smoothing has a place of its own here)"
            )
        if self.method == "parallel" and self.training.device != "cpu":
            raise PpudaLikeError(
                f"'parallel' runs a process for each block on the CPU (got device {self.training.device!r}); take "
                "device='cpu', or method 'sync'"
            )
        if self.method != "async" and self.replay != ReplayConfig():
            raise PpudaLikeError(f"'replay' is of the method 'async' only (got method {self.method!r})")

    @classmethod
    def sedona(cls, out: str | Path, *, method: Method = "sync", **changes: Any) -> BlockTrainConfig:
        """The training of SEDONA (ICLR 2021) on CIFAR-10: about 64 000 steps of SGD with a cosine from 0.1 to 0.001.

        Args:
            out: folder that the run writes to.
            method: how blocks are trained.
            changes: values of ``training`` that replace those of the recipe.
        """
        recipe: dict[str, Any] = {"epochs": 182, "batch_size": 128, "augment": "crop", "lr": 0.1, "final_lr": 0.01}
        recipe |= {"weight_decay": 1e-4, "clip": 0.0}
        return cls(training=NetTrainConfig(**{"out": Path(out)} | recipe | changes), method=method, label_smoothing=0.1)

    @classmethod
    def dgl(cls, out: str | Path, *, method: Method = "sync", **changes: Any) -> BlockTrainConfig:
        """The training of the auxiliary study of DGL (arXiv:1901.08164): 50 epochs, the rate times 0.2 every 15.

        Args:
            out: folder that the run writes to.
            method: how blocks are trained.
            changes: values of ``training`` that replace those of the recipe.
        """
        recipe: dict[str, Any] = {"epochs": 50, "batch_size": 128, "augment": "crop", "lr": 0.1, "clip": 0.0}
        recipe |= {"weight_decay": 5e-4, "schedule": "step", "milestones": (15, 30, 45), "factor": 0.2}
        return cls(training=NetTrainConfig(**{"out": Path(out)} | recipe | changes), method=method)

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between a run and its resumption; ``sync`` and ``parallel`` continue each other."""
        method = "sync" if self.method == "parallel" else self.method
        own: dict[str, Any] = {"method": method, "label_smoothing": self.label_smoothing}
        own |= {"replay": self.replay.to_dict()} if method == "async" else {}
        return {**self.training.identity, **own}
