"""One cell in training: its optimiser, its progress and its checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ppuda_like._compute import autocast, random_state
from ppuda_like._ranks import Ranks
from ppuda_like._runs import JsonLines, Means, check_same_run, read_state, write_state
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import PpudaLikeError
from ppuda_like.search.dna._cell import Cell
from ppuda_like.search.dna._distil_config import DistilConfig
from ppuda_like.search.dna._distil_paths import draw_path
from ppuda_like.search.dna._supernet import CellNet
from ppuda_like.vision import save_weights

__all__ = ["CellProgress", "CellTraining", "cell_name"]

_FORMAT = 1


def cell_name(stage: int, cell: int) -> str:
    """What files of a cell are called."""
    return f"stage{stage}-cell{cell}"


@dataclass(kw_only=True)
class CellProgress:
    """How far the training of a cell is.

    Attributes:
        step: updates done or skipped.
        skipped_steps: updates skipped, for want of a finite loss or gradient.
        overflows: updates skipped because the scaled loss in float16 overflowed; the scale adapts.
        loss: mean of the last epoch that is done; NaN before.
        means: sums and counts of the metrics of the epoch that is not.
    """

    step: int = 0
    skipped_steps: int = 0
    overflows: int = 0
    loss: float = math.nan
    means: dict[str, tuple[float, int]] = field(default_factory=dict)


class CellTraining:
    """The training of one cell.

    Args:
        config: of the run.
        cell: what is trained.
        net: its operations, on the device.
        facts: what a resumption must have in common with the run, by topic.
        per_epoch: updates in an epoch.
        ranks: the processes of the run.
    """

    def __init__(
        self,
        config: DistilConfig,
        cell: Cell,
        net: CellNet,
        facts: Mapping[str, Mapping[str, Any]],
        per_epoch: int,
        ranks: Ranks,
    ) -> None:
        self.config, self.cell, self.net, self.facts = config, cell, net, facts
        self.per_epoch, self.ranks = per_epoch, ranks
        self.name = cell_name(net.stage, net.cell)
        self.folder = config.out / self.name
        self.device = next(net.parameters()).device
        self.parameters = list(net.parameters())
        groups = [
            {"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in self.parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.Adam([g for g in groups if g["params"]], lr=config.lr[0], betas=config.betas)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.amp == "fp16")
        self.progress = CellProgress()
        self.means = Means()
        self.log: JsonLines | None = None
        self._loss = 0.0

    @property
    def total(self) -> int:
        """Updates of the whole training."""
        return self.config.epochs * self.per_epoch

    @property
    def finished(self) -> bool:
        """Whether all of them are done."""
        return self.progress.step >= self.total

    def load(self) -> None:
        """Continue from the checkpoint in the cell's folder, or begin where there is none.

        Raises:
            CheckpointError: if it is broken, of another format, or of a run with another config, space, teacher or
                images.
        """
        if self.ranks.first:
            self.folder.mkdir(parents=True, exist_ok=True)
        state = read_state(self.folder, _FORMAT, self.device)
        if state is not None:
            before = json.loads(state["facts"])
            for topic, now in self.facts.items():
                check_same_run(self.folder, topic, before[topic], now)
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.progress = CellProgress(**state["progress"])
            self.means.load_state_dict(self.progress.means)
        if self.ranks.first:
            self.log = JsonLines(self.folder / "metrics.jsonl", self.progress.step)

    def save(self) -> None:
        """Write ``state.pt``, and the weights by themselves if the training is finished.

        Raises:
            CheckpointError: if they cannot be written; what was there is untouched then.
        """
        if not self.ranks.first:
            return
        self.progress.means = self.means.state_dict()
        parts = {
            "facts": json.dumps(self.facts),
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": asdict(self.progress),
        }
        write_state(self.folder, _FORMAT, parts)
        if self.finished:
            save_weights(self.net, self.weights)

    @property
    def weights(self) -> Path:
        """File of the weights when the training is finished."""
        return self.config.out / f"{self.name}.safetensors"

    # --------------------------------------------------------------------------------------------------- steps

    def begin_step(self) -> None:
        """Forget the gradients of the step before; those of operations that no path uses stay None."""
        epoch = self.progress.step // self.per_epoch + 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate(self.net.stage, epoch)
        self.optimizer.zero_grad(set_to_none=True)
        if not self.net.training:
            self.net.train()
        self._loss = 0.0

    def add_path(self, draw: int, inputs: Tensor, target: Tensor) -> None:
        """Add the gradient of one path: mean squared error over all elements.

        Args:
            draw: number of the path among all of the training.
            inputs: of the stage.
            target: features of the teacher behind it.
        """
        place = (self.net.stage, self.net.cell)
        path = draw_path(self.cell, draw, self.config.sampling, derived_seed(self.config.seed, "paths", *place))
        with random_state(derived_seed(self.config.seed, "step", *place, draw), self.device):
            with autocast(self.device, self.config.amp):
                output = self.net(inputs, path)
            loss = F.mse_loss(output.float(), target.float())
            torch.autograd.backward(self.scaler.scale(loss))
        self._loss += float(loss.detach())

    def end_step(self) -> None:
        """Sum over processes, and update the weights unless a loss or a gradient is not finite.

        Raises:
            PpudaLikeError: if too many steps were skipped.
        """
        config, progress = self.config, self.progress
        loss = (
            float(self.ranks.sum(torch.tensor(self._loss, dtype=torch.float64))) if self.ranks.world > 1 else self._loss
        )
        loss /= config.paths
        self.ranks.sum_gradients(self.parameters)
        used = [p for p in self.parameters if p.grad is not None]
        scale = self.scaler.get_scale()
        self.scaler.unscale_(self.optimizer)
        norm = get_total_norm([p.grad for p in used if p.grad is not None])
        finite = math.isfinite(loss) and bool(norm.isfinite())
        if finite:
            if config.clip:
                clip_grads_with_norm_(used, config.clip, norm)
            self.scaler.step(self.optimizer)
            self.means.add({"loss": loss, "grad_norm": float(norm)})
        self.scaler.update()
        progress.step += 1
        if not finite:
            self._skip(loss, overflow=config.amp == "fp16" and scale > 1 and math.isfinite(loss))
        if progress.step % self.per_epoch == 0:
            self._finish_epoch()

    def _skip(self, loss: float, *, overflow: bool) -> None:
        progress = self.progress
        if overflow:
            progress.overflows += 1
            return
        progress.skipped_steps += 1
        if progress.skipped_steps > self.config.max_skipped:
            raise PpudaLikeError(
                f"{progress.skipped_steps} steps of {progress.step} of {self.name} had no finite loss or gradient (at "
                f"most {self.config.max_skipped} may; the last loss was {loss:g}); lower 'lr' or set 'clip', look for "
                "images or features of the teacher that are not finite, or take amp 'bf16' or 'none' in place of "
                "'fp16'; the last checkpoint is untouched"
            )

    def _finish_epoch(self) -> None:
        progress = self.progress
        epoch = progress.step // self.per_epoch
        found = self.means.take()
        progress.loss = found.get("loss", math.nan)
        found |= {"epoch": epoch, "lr": self.config.learning_rate(self.net.stage, epoch)}
        found |= {"skipped_steps": progress.skipped_steps, "overflows": progress.overflows}
        if self.log is not None:
            self.log(found, progress.step)
