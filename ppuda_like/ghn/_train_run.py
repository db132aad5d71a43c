"""The loop of a training run."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Literal

import torch
from torch import nn
from tqdm import tqdm

from ppuda_like.errors import PpudaLikeError
from ppuda_like.ghn._evaluation import eval_ghn
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.ghn._net_run import NetRun
from ppuda_like.ghn._net_stream import MetaBatch, NetStream, meta_batches
from ppuda_like.ghn._train_config import TrainConfig, learning_rate
from ppuda_like.ghn._train_log import JsonLines, Means
from ppuda_like.ghn._train_state import Progress, WeightAverage, save_state
from ppuda_like.vision import ImageData, digits, image_folder

__all__ = ["Log", "TrainRun", "load_images"]

Log = Callable[[Mapping[str, float], int], None]


class TrainRun:
    """The moving parts of one run, and its loop."""

    def __init__(
        self,
        config: TrainConfig,
        ghn: GHN,
        average: WeightAverage,
        optimizer: torch.optim.Optimizer,
        state: Progress,
        data: ImageData,
        pool: ThreadPoolExecutor | None,
        lines: JsonLines,
    ) -> None:
        self.config = config
        self.ghn = ghn
        self.average = average
        self.optimizer = optimizer
        self.state = state
        self.data = data
        self.pool = pool
        self.lines = lines

    def loop(self, stop: threading.Event, log: Log | None, disable: bool | None) -> None:
        config, state = self.config, self.state
        stream = NetStream(
            config.nets,
            config.ghn,
            image_size=config.image_size,
            num_classes=self.data.num_classes,
            seed=config.seed,
        )
        means = Means()
        started = time.perf_counter() - state.seconds
        saved = last = time.perf_counter()
        with tqdm(
            desc="train", total=config.steps, initial=state.step, unit="step", disable=disable, smoothing=0.1
        ) as bar:
            for batch in meta_batches(stream, range(state.step, config.steps), config.workers):
                waited = time.perf_counter() - last
                metrics = self.step(batch)
                state.step += 1
                state.seconds = time.perf_counter() - started
                now = time.perf_counter()
                means.add({**metrics, "seconds_waiting": waited, "seconds_step": now - last, "nets": len(batch.nets)})
                last = now
                bar.update()
                if state.step % config.log_steps == 0 or state.step == config.steps:
                    found = means.take()
                    found |= {"nets_per_second": round(found["nets"] / found["seconds_step"], 3)}
                    found |= {"skipped_steps": state.skipped_steps, "skipped_nets": state.skipped_nets}
                    self.emit(found | {"minutes": round(state.seconds / 60, 3)}, log)
                    shown = {key: f"{found[key]:.3g}" for key in ("loss", "top1", "nets_per_second") if key in found}
                    bar.set_postfix(shown, refresh=False)
                if config.val_steps and (state.step % config.val_steps == 0 or state.step == config.steps):
                    self.emit(self.validate(), log)
                    state.seconds = time.perf_counter() - started
                    last = time.perf_counter()
                due = config.max_minutes is not None and state.seconds >= 60 * config.max_minutes
                if stop.is_set() or due:
                    break
                if last - saved >= 60 * config.checkpoint_minutes:
                    self.save()
                    saved = last
        self.save()

    def step(self, batch: MetaBatch) -> dict[str, float]:
        """One update from a meta-batch; its metrics."""
        config, state = self.config, self.state
        lr = learning_rate(config.optim, state.step, config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        start = time.perf_counter()
        predicted = self.ghn.predict(batch.graphs)
        middle = time.perf_counter()
        run = NetRun(config, state.step, self.data)
        if self.pool is None:
            results = list(map(run, count(), batch.nets, predicted))
        else:
            results = list(self.pool.map(run, count(), batch.nets, predicted))
        back = time.perf_counter()
        found = [result for result in results if result.gradients]
        state.skipped_nets += len(results) - len(found)
        norm = math.nan
        if found:
            self.optimizer.zero_grad()
            torch.autograd.backward(
                [tensor for result in found for tensor in result.tensors],
                [gradient for result in found for gradient in result.gradients],
            )
            norm = float(nn.utils.clip_grad_norm_(self.ghn.parameters(), config.optim.clip))
        if math.isfinite(norm):
            self.optimizer.step()
            self.average.update(self.ghn)
        else:
            self.skip()
        times = {"seconds_predict": middle - start, "seconds_nets": back - middle}
        times["seconds_backward"] = time.perf_counter() - back
        if not math.isfinite(norm):
            return {"lr": lr, **times}
        losses = [result.loss for result in found]
        top1 = [result.top1 for result in found]
        return {"loss": sum(losses) / len(losses), "top1": sum(top1) / len(top1), "lr": lr, "grad_norm": norm, **times}

    def skip(self) -> None:
        """Count a step without a finite loss and gradient."""
        self.state.skipped_steps += 1
        if self.state.skipped_steps > self.config.optim.max_skipped:
            raise PpudaLikeError(
                f"{self.state.skipped_steps} steps of {self.state.step + 1} had no finite loss or gradient (at most "
                f"{self.config.optim.max_skipped} may); lower the learning rate or the clip, or use another seed"
            )

    def validate(self) -> dict[str, float]:
        """Mean accuracy on networks and images held out; the best hypernetwork so far is kept."""
        config = self.config
        found = eval_ghn(
            self.averaged(),
            "val",
            config.val_nets,
            load_images(config, "val"),
            width=config.nets.widths[0],
            batch_size=config.batch_size,
            progress=False,
        )
        if found.mean > self.state.best_top1:
            self.state.best_top1 = found.mean
            self.averaged().save_pretrained(config.out / "best.safetensors")
        return {"val_top1": round(found.mean, 6), "val_standard_error": round(found.standard_error, 6)}

    def averaged(self) -> GHN:
        """The hypernetwork with the averaged weights."""
        with torch.device("meta"):
            ghn = GHN(self.config.ghn)
        ghn.load_state_dict(self.average.weights, assign=True)
        return ghn.eval()

    def emit(self, metrics: Mapping[str, float], log: Log | None) -> None:
        self.lines(metrics, self.state.step)
        if log is not None:
            log(metrics, self.state.step)

    def save(self) -> None:
        save_state(self.config, self.ghn, self.average, self.optimizer, self.state)
        self.averaged().save_pretrained(self.config.out / "ghn.safetensors")


def load_images(config: TrainConfig, split: Literal["train", "val"]) -> ImageData:
    """The images a run trains or validates on, in memory."""
    if config.data == "digits":
        return digits(split, config.image_size)
    return image_folder(config.data, config.image_size, split).load()
