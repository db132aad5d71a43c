"""The loop of a detector's training."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from tqdm import tqdm

from ppuda_like._runs import Means
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import PpudaLikeError
from ppuda_like.vision._detect_batches import DetectionBatch, epoch_batches
from ppuda_like.vision._detect_config import DetectConfig, learning_rate
from ppuda_like.vision._detect_data import DetectionData
from ppuda_like.vision._detect_evaluate import evaluate_detector
from ppuda_like.vision._detect_model import num_classes_of
from ppuda_like.vision._detect_state import DetectProgress

__all__ = ["DetectRun"]


class DetectRun:
    """The moving parts of one run, and one epoch of it."""

    def __init__(
        self,
        config: DetectConfig,
        detector: FasterRCNN,
        optimizer: torch.optim.Optimizer,
        state: DetectProgress,
        train: DetectionData,
        val: DetectionData | None,
        disable: bool | None,
    ) -> None:
        self.config = config
        self.detector = detector
        self.optimizer = optimizer
        self.state = state
        self.train = train
        self.val = val
        self.disable = disable
        self.per_epoch = -(-len(train) // config.batch_size)

    def epoch(self, stop: threading.Event) -> dict[str, float] | None:
        """Train for one epoch, and validate where it is time to.

        Returns:
            The metrics of the epoch; None if it was stopped before its end, in which case the state is worth nothing.
        """
        config, state = self.config, self.state
        start = time.perf_counter()
        means = Means()
        loaded = epoch_batches(
            self.train,
            state.epoch,
            batch_size=config.batch_size,
            num_classes=num_classes_of(self.detector),
            flip=config.flip,
            seed=config.seed,
            workers=config.workers,
        )
        self.detector.train()
        name = f"epoch {state.epoch + 1}/{config.epochs}"
        with tqdm(loaded, name, total=self.per_epoch, unit="step", disable=self.disable, leave=False) as bar:
            for batch in bar:
                means.add(self.step(batch))
                state.step += 1
                if stop.is_set():
                    return None
        state.epoch += 1
        metrics = {"epoch": float(state.epoch), **means.take(), "skipped_steps": float(state.skipped_steps)}
        metrics["seconds_training"] = round(time.perf_counter() - start, 3)
        if self.val is not None and (state.epoch % config.val_epochs == 0 or state.epoch == config.epochs):
            score = evaluate_detector(
                self.detector,
                self.val,
                batch_size=config.batch_size,
                workers=config.workers,
                progress=None if self.disable is None else not self.disable,
            )
            state.score = score.to_dict()
            metrics |= {f"val_{key}": value for key, value in state.score.items() if key.startswith("ap")}
        state.seconds += time.perf_counter() - start
        return metrics

    def step(self, batch: DetectionBatch) -> dict[str, float]:
        """One update, or none if its loss or gradient is not finite; its metrics."""
        config, state = self.config, self.state
        lr = learning_rate(config, state.step, self.per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        weights: list[nn.Parameter] = self.optimizer.param_groups[0]["params"]
        statistics = [(buffer, buffer.clone()) for buffer in self.detector.buffers()]
        self.optimizer.zero_grad()
        losses = self._losses(batch)
        loss: Tensor = sum(losses.values(), torch.zeros(()).to(weights[0]))
        norm = math.nan
        metrics = {"loss": float(loss.detach()), **{key: float(value.detach()) for key, value in losses.items()}}
        if math.isfinite(metrics["loss"]):
            loss.backward()  # type: ignore[no-untyped-call]
            norm = float(nn.utils.clip_grad_norm_(weights, config.clip or math.inf))
        if not math.isfinite(norm):
            with torch.no_grad():
                for buffer, value in statistics:
                    buffer.copy_(value)
            self._skip()
            return {"lr": lr}
        self.optimizer.step()
        return {**metrics, "lr": lr, "grad_norm": norm}

    def _losses(self, batch: DetectionBatch) -> dict[str, Tensor]:
        """The four losses.  Which proposals count is drawn from torch's global random state, which is put back."""
        first = next(self.detector.parameters())
        images = [torch.as_tensor(image).to(first) for image in batch[0]]
        targets: list[dict[str, Any]] = [
            {"boxes": target["boxes"].to(first), "labels": target["labels"].to(first.device)} for target in batch[1]
        ]
        with torch.random.fork_rng(devices=[first.device] if first.device.type == "cuda" else []):
            torch.manual_seed(derived_seed(self.config.seed, "detect-step", self.state.step))
            found: dict[str, Tensor] = self.detector(images, targets)
        return found

    def _skip(self) -> None:
        self.state.skipped_steps += 1
        if self.state.skipped_steps > self.config.max_skipped:
            raise PpudaLikeError(
                f"{self.state.skipped_steps} steps of {self.state.step + 1} had no finite loss and gradient (at most "
                f"{self.config.max_skipped} may); lower the learning rate, set a 'clip', or use batch statistics in "
                "the backbone (norm='batch')"
            )
