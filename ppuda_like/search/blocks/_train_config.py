"""What the training of blocks is a function of."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.blocks._recipes import RECIPES, RecipeName
from ppuda_like.search.blocks._replay_config import ReplayConfig
from ppuda_like.vision import NetTrainConfig

__all__ = ["BlockTrainConfig", "Method"]

Method = Literal["sync", "sequential", "parallel", "ranks", "async", "dni", "backprop"]

_UNUSED = ("channels_last", "ema", "auxiliary", "drop_path", "bn_batch_stats", "label_smoothing", "max_minutes")
_OF_BLOCKS = (
    *("optimizer", "lr", "momentum", "nesterov", "betas", "alpha", "eps", "weight_decay", "decay_all", "clip"),
    *("schedule", "final_lr", "milestones", "factor", "warmup"),
)


@dataclass(frozen=True, kw_only=True)
class BlockTrainConfig:
    """The training of a network block by block.

    Attributes:
        training: images, optimiser and schedule of each block; ``clip`` holds for each block.  In half precision
            (``amp``) weights stay in single precision; with ``"fp16"`` each block scales its loss by a factor of its
            own, which starts at 2^32, halves with each overflow and doubles after 1 000 steps without one.
        method: ``"sync"``: one batch goes through all blocks, each learning as it passes; ``"sequential"``: one block
            after the other is trained to the end and then frozen; ``"parallel"``: as ``"sync"``, to the same weights,
            with a process for each block; ``"ranks"``: likewise, with the blocks shared out to the processes of a
            process group, as ``torchrun`` starts it; ``"async"``: each block at a pace of its own, on outputs of the
            one before that a buffer keeps; ``"dni"``: together, each on a gradient guessed at its end; ``"backprop"``:
            end to end, as without blocks.
        label_smoothing: of the cross entropies: the true class has 1 minus this, the others share it equally.
        per_block: what of the optimiser and the schedule of ``training`` is another for a block, by its number.
        restart: whether optimisers start anew, their momentum lost, at each of the ``milestones``.
        classes_per_batch: number of classes that a batch has images of; None for whatever the order brings.
        classes_steps: steps until which that holds, counted from the run's first; None for all.
        replay: with ``"async"``, paces and buffers.
        queue: with ``"parallel"`` and ``"ranks"``, batches that may wait between two blocks.
        checkpoint_steps: steps between checkpoints; there is one at the end of each epoch too.

    Raises:
        PpudaLikeError: if a value is out of range, or ``training`` asks for what the training of blocks does not do.

    Example:
        >>> config = BlockTrainConfig.recipe("sedona", "runs/x", method="sequential")
        >>> config.training.lr, config.label_smoothing
        (0.1, 0.1)
    """

    training: NetTrainConfig
    method: Method = "sync"
    label_smoothing: float = 0.0
    per_block: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    restart: bool = False
    classes_per_batch: int | None = None
    classes_steps: int | None = None
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
        object.__setattr__(self, "per_block", {index: dict(own) for index, own in self.per_block.items()})
        self._check_blocks()
        if self.method == "dni" and self.training.amp == "fp16":
            raise PpudaLikeError("'dni' has no scale for its gradients in 'fp16'; take amp 'bf16' or 'none'")
        if self.restart and not self.training.milestones:
            raise PpudaLikeError("'restart' is at 'milestones', which the schedule 'step' has (got none)")
        if self.classes_steps is not None and (self.classes_per_batch is None or self.classes_steps < 0):
            raise PpudaLikeError(
                "'classes_steps' must be 0 or more, and goes with 'classes_per_batch' "
                f"(got {self.classes_steps} and {self.classes_per_batch})"
            )
        if self.method != "async" and self.replay != ReplayConfig():
            raise PpudaLikeError(f"'replay' is of the method 'async' only (got method {self.method!r})")

    @classmethod
    def recipe(
        cls, name: RecipeName, out: str | Path, *, method: Method | None = None, **changes: Any
    ) -> BlockTrainConfig:
        """A published training; ``RECIPES`` tells what each is.

        Those in float16 are in single precision where ``device`` is none of CUDA.

        Args:
            name: of the recipe.
            out: folder that the run writes to.
            method: how blocks are trained; None for what the recipe is meant for.
            changes: values of ``training`` that replace those of the recipe.

        Raises:
            PpudaLikeError: if there is none of that name, or a value is out of range.
        """
        if name not in RECIPES:
            near = difflib.get_close_matches(name, RECIPES, n=3)
            hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"choose one of {', '.join(RECIPES)}"
            raise PpudaLikeError(f"no recipe of a training by blocks is called {name!r}; {hint}")
        recipe = RECIPES[name]
        on_cuda = str(changes.get("device", "cpu")).startswith("cuda")
        values = {"out": Path(out), "amp": "fp16" if recipe.half and on_cuda else "none", **recipe.training, **changes}
        own: dict[str, Any] = {"method": recipe.method if method is None else method, **recipe.own}
        return cls(training=NetTrainConfig(**values), **own)

    def of_block(self, index: int) -> NetTrainConfig:
        """The training of the block of that number.

        Example:
            >>> config = BlockTrainConfig(training=NetTrainConfig(out="run"), per_block={1: {"lr": 0.5}})
            >>> config.of_block(0).lr, config.of_block(1).lr
            (0.025, 0.5)
        """
        return replace(self.training, **self.per_block.get(index, {}))

    @property
    def identity(self) -> dict[str, Any]:
        """What must not change between a run and its resumption; sync, parallel and ranks continue each other."""
        method = "sync" if self.method in ("parallel", "ranks") else self.method
        own: dict[str, Any] = {"method": method, "label_smoothing": self.label_smoothing}
        own |= {"replay": self.replay.to_dict()} if method == "async" else {}
        own |= {"restart": True} if self.restart else {}
        own |= {"classes_per_batch": self.classes_per_batch, "classes_steps": self.classes_steps}
        own |= {"per_block": {str(index): values for index, values in sorted(self.per_block.items())} or None}
        return {**self.training.identity, **own}

    def _check_blocks(self) -> None:
        if self.per_block and self.method == "backprop":
            raise PpudaLikeError("'per_block' must be empty with the method 'backprop', which trains all blocks as one")
        for index, own in self.per_block.items():
            unknown = sorted(set(own) - set(_OF_BLOCKS))
            if index < 0 or unknown:
                raise PpudaLikeError(
                    "'per_block' must have values of a block by its number, from 0, and of those of 'training' "
                    f"{', '.join(_OF_BLOCKS)} (got {', '.join(map(repr, unknown)) or 'none else'} for block {index})"
                )
            try:
                self.of_block(index)
            except PpudaLikeError as error:
                raise PpudaLikeError(f"'per_block' of block {index}: {error}") from error
