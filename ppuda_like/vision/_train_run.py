"""The loop of the training of one network."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import update_bn
from tqdm import tqdm

from ppuda_like._compute import autocast, random_state
from ppuda_like._runs import Log, Means
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.vision._data import ImageSource
from ppuda_like.vision._evaluate import Evaluation, evaluate
from ppuda_like.vision._stream import ImageStream
from ppuda_like.vision._train_config import NetTrainConfig
from ppuda_like.vision._train_loss import training_loss
from ppuda_like.vision._train_schedule import drop_path_rate, learning_rate
from ppuda_like.vision._train_state import NetState
from ppuda_like.vision._train_weights import save_weights

__all__ = ["BEST_FILE", "LAST_FILE", "NetTrainRun", "evaluation_mode"]

BEST_FILE = "best.safetensors"
LAST_FILE = "last.safetensors"


class NetTrainRun:
    """The moving parts of one run, and its loop.

    Args:
        config: the run.
        state: all that changes in it.
        stream: the training images, batch by batch.
        val: images to validate on.
        device: where the network is.
        logs: where metrics go.
    """

    def __init__(
        self,
        config: NetTrainConfig,
        state: NetState,
        stream: ImageStream,
        val: ImageSource | None,
        device: torch.device,
        logs: Sequence[Log],
    ) -> None:
        self.config = config
        self.state = state
        self.stream = stream
        self.val = val
        self.device = device
        self.logs = logs
        self.parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
        self.num_classes = len(stream.data.class_names)
        self.started = time.perf_counter() - state.progress.seconds

    def loop(self, stop: threading.Event, disable: bool | None) -> None:
        """Train until the last epoch is done, ``stop`` is set or the time is up; then write a checkpoint."""
        config, progress, per_epoch = self.config, self.state.progress, self.stream.per_epoch
        means = Means()
        means.load_state_dict(progress.means)
        steps = range(progress.step, config.epochs * per_epoch)
        begun = saved = time.perf_counter()
        with tqdm(
            desc="train", total=config.epochs * per_epoch, initial=progress.step, unit="step", disable=disable
        ) as bar:
            # Stopped after the last step of an epoch, a run still owes it the validation.
            if progress.step == (progress.epoch + 1) * per_epoch:
                self.finish_epoch(means)
            before = time.perf_counter()
            for images, labels in self.stream.batches(steps, config.workers):
                try:
                    means.add(self.step(images, labels))
                except torch.OutOfMemoryError as error:
                    raise PpudaLikeError(
                        f"the memory of {self.device} does not suffice for batches of {len(images)} images of "
                        f"{images.size(-1)} pixels ({error}); lower 'batch_size', or take amp 'bf16'"
                    ) from error
                progress.step += 1
                now = time.perf_counter()
                progress.epoch_seconds += now - before
                progress.seconds = now - self.started
                bar.update()
                self.show(bar, means)
                due = config.max_minutes is not None and now - begun >= 60 * config.max_minutes
                if stop.is_set() or due:
                    break
                if progress.step % per_epoch == 0:
                    self.finish_epoch(means)
                    if stop.is_set():
                        break
                if now - saved >= 60 * config.checkpoint_minutes:
                    self.save(means)
                    saved = time.perf_counter()
                before = time.perf_counter()
        self.save(means)

    def step(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """One update; its metrics, or none if it was skipped."""
        config, state = self.config, self.state
        step = state.progress.step
        lr = learning_rate(config, step, self.stream.per_epoch)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        self._drop_path(step // self.stream.per_epoch)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        images = images.to(self.device, non_blocking=True, memory_format=layout)
        labels = labels.to(self.device, non_blocking=True)
        buffers = dict(state.model.named_buffers())
        before = {name: buffer.detach().clone() for name, buffer in buffers.items()}
        scale = state.scaler.get_scale()
        state.optimizer.zero_grad()
        with random_state(derived_seed(config.seed, "step", step), self.device):
            loss, logits = self._forward(images, labels)
            torch.autograd.backward(state.scaler.scale(loss))
        state.scaler.unscale_(state.optimizer)
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        hits = (logits.argmax(1) == labels).sum()
        # One transfer, so that a GPU is waited for once.
        loss_, norm_, hits_ = torch.stack([value.detach().double() for value in (loss, norm, hits)]).tolist()
        finite = math.isfinite(loss_) and math.isfinite(norm_)
        if finite:
            if config.clip:
                clip_grads_with_norm_(self.parameters, config.clip, norm)
            state.scaler.step(state.optimizer)
        state.scaler.update()
        if finite:
            if state.average is not None:
                state.average.update_parameters(state.model)
            return {"loss": loss_, "top1": hits_ / len(labels), "grad_norm": norm_}
        with torch.no_grad():  # running statistics must not keep what the batch left in them
            for name, buffer in state.model.named_buffers():
                buffer.copy_(before[name])
        # A scale that is too large for float16 makes infinite gradients of a finite loss; it has just been halved.
        if config.amp == "fp16" and scale > 1 and math.isfinite(loss_):
            state.progress.overflows += 1
        else:
            self._skip(loss_)
        return {}

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        try:
            with autocast(self.device, config.amp):
                output = self.state.model(images)
        except (RuntimeError, ValueError) as error:
            if self.state.progress.step or isinstance(error, torch.OutOfMemoryError | PpudaLikeError):
                raise
            raise DataError(
                f"the network does not take images of shape {tuple(images.shape)}: {error}; give another image size, "
                "batch size or network"
            ) from error
        return training_loss(
            output,
            labels,
            self.num_classes,
            label_smoothing=config.label_smoothing,
            auxiliary=config.auxiliary,
        )

    def _drop_path(self, epoch: int) -> None:
        if self.config.drop_path:
            self.state.model.drop_path_rate = drop_path_rate(self.config, epoch)  # type: ignore[assignment]

    def _skip(self, loss: float) -> None:
        """Count a step without a finite loss and gradient."""
        progress = self.state.progress
        progress.skipped_steps += 1
        if progress.skipped_steps > self.config.max_skipped:
            raise PpudaLikeError(
                f"{progress.skipped_steps} steps of {progress.step + 1} had no finite loss or gradient (at most "
                f"{self.config.max_skipped} may; the last loss was {loss:g}); lower 'lr' or 'clip', add 'warmup', "
                "look for images or initial weights that are not finite, or take amp 'bf16' or 'none' in place of "
                "'fp16'; the last checkpoint is untouched"
            )

    def finish_epoch(self, means: Means) -> None:
        """Validate, keep the best, and tell the metrics of an epoch whose steps are done."""
        config, progress, per_epoch = self.config, self.state.progress, self.stream.per_epoch
        images = per_epoch * config.batch_size
        found: dict[str, float] = {"epoch": progress.epoch + 1, **means.take()}
        found |= {"lr": learning_rate(config, progress.step - 1, per_epoch)}
        if config.drop_path:
            found |= {"drop_path": drop_path_rate(config, progress.epoch)}
        found |= {"skipped_steps": progress.skipped_steps, "overflows": progress.overflows}
        found |= {"seconds": round(progress.epoch_seconds, 3)}
        found |= {"images_per_second": round(images / max(progress.epoch_seconds, 1e-9), 1)}
        progress.epoch += 1
        progress.epoch_seconds = 0.0
        if config.bn_images and not config.bn_batch_stats:
            self.renew_statistics()
        if self.val is not None:
            val = self.validate(self.val)
            found |= {"val_top1": val.top1, "val_top5": val.top5, "val_loss": val.loss, "val_seconds": val.seconds}
            progress.val = {"top1": val.top1, "top5": val.top5, "loss": val.loss}
            progress.val |= {"num_images": val.num_images, "seconds": val.seconds}
            if val.top1 > progress.best_top1:
                progress.best_top1 = val.top1
                save_weights(self.state.trained, config.out / BEST_FILE)
        progress.seconds = time.perf_counter() - self.started
        for log in self.logs:
            log(found, progress.step)

    def renew_statistics(self) -> None:
        """Give the batch normalisations of the network that is kept the statistics of its present weights."""
        config = self.config
        stream = ImageStream(self.stream.data, batch_size=config.batch_size, seed=derived_seed(config.seed, "bn"))
        batches = range(min(stream.per_epoch, math.ceil(config.bn_images / config.batch_size)))
        # Dropout is active, as it is while the running statistics are run up.
        with (
            random_state(derived_seed(config.seed, "bn", self.state.progress.epoch), self.device),
            autocast(self.device, config.amp),
        ):
            update_bn((stream[number] for number in batches), self.state.trained, self.device)

    def validate(self, data: ImageSource) -> Evaluation:
        """Accuracy of the network that is kept."""
        model = self.state.trained
        try:
            evaluation_mode(model, self.config.bn_batch_stats)
            return evaluate(model, data, batch_size=self.config.val_batch_size, device=self.device)
        finally:
            model.train()

    def save(self, means: Means) -> None:
        """Write what a resumption needs, and the weights as they are."""
        self.state.progress.means = means.state_dict()
        self.state.save(self.config.out)
        save_weights(self.state.trained, self.config.out / LAST_FILE)

    def show(self, bar: tqdm[None], means: Means) -> None:
        """Loss, accuracy and speed of the epoch so far, on the progress bar."""
        progress = self.state.progress
        shown = {
            key: f"{total / count:.3g}" for key, (total, count) in means.state_dict().items() if key != "grad_norm"
        }
        done = (progress.step - progress.epoch * self.stream.per_epoch) * self.config.batch_size
        shown["images/s"] = f"{done / max(progress.epoch_seconds, 1e-9):.0f}"
        bar.set_description(f"epoch {progress.epoch + 1}/{self.config.epochs}", refresh=False)
        bar.set_postfix(shown, refresh=False)


def evaluation_mode(model: nn.Module, bn_batch_stats: bool) -> None:
    """All modules in evaluation mode, with ``bn_batch_stats`` but for batch normalisations."""
    model.eval()
    if bn_batch_stats:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
