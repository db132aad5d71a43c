"""Training a hypernetwork on freshly sampled networks."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ppuda_like.errors import PpudaLikeError
from ppuda_like.ghn._evaluation import eval_ghn
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.ghn._init import fan_in_init
from ppuda_like.ghn._net_run import NetRun
from ppuda_like.ghn._net_stream import MetaBatch, NetStream, derived_seed, meta_batches
from ppuda_like.ghn._train_config import TrainConfig, learning_rate
from ppuda_like.ghn._train_log import JsonLines, Means
from ppuda_like.ghn._train_state import Progress, WeightAverage, load_state, save_state, write_atomically
from ppuda_like.vision import ImageData, digits, image_folder, random_affine

__all__ = ["Log", "TrainResult", "train_ghn"]

Log = Callable[[Mapping[str, float], int], None]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a training run ended.

    Attributes:
        checkpoint: the hypernetwork as ``GHN.from_pretrained`` reads it, averaged where the config says so.
        best: the one of the best validation; None if there was none.
        best_top1: its mean accuracy, 0..1; None if there was none.
        steps: updates done or skipped so far.
        finished: whether that is all of them; otherwise the same call resumes.
        skipped_steps: steps that had no finite loss or gradient.
        skipped_nets: networks left out for a loss that was not finite.
        seconds: time spent so far, in all sessions of the run.
    """

    checkpoint: Path
    best: Path | None
    best_top1: float | None
    steps: int
    finished: bool
    skipped_steps: int
    skipped_nets: int
    seconds: float


def train_ghn(config: TrainConfig, *, log: Log | None = None, progress: bool | None = None) -> TrainResult:
    """Train a hypernetwork so that the parameters it predicts classify images, on networks it has never seen before.

    In each step a meta-batch of networks is sampled, their parameters are predicted, and the networks, which live on
    the meta device, classify the same batch of images with them.  The mean of their cross entropies is minimised
    (PPUDA, arXiv:2110.13100, Eq. 1).  The gradient is collected at the predicted parameters, one network at a time,
    and sent through the hypernetwork once, so that memory holds the activations of one network only (of
    ``net_threads`` networks).

    The run's folder holds ``config.json``, ``metrics.jsonl``, ``ghn.safetensors`` (what has been trained so far),
    ``best.safetensors`` and ``state.pt``.  If it holds the state of a run with the same config, that run is
    continued; on a CPU the result is bit for bit that of a run never interrupted.  SIGTERM and Ctrl-C make a
    checkpoint and return.

    Args:
        config: all that the run depends on.
        log: where metrics go besides ``metrics.jsonl``.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        How the run ended, finished or interrupted.

    Raises:
        CheckpointError: if the folder holds a broken state or that of another run.
        DataError: if the images are missing.
        PredictionError: if no sampled network is within the limits of the config.
        PpudaLikeError: if more steps than ``max_skipped`` had no finite loss or gradient.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    data = _images(config, "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "init"))
        ghn = GHN(config.ghn)
    if config.init == "fan_in":
        fan_in_init(ghn, torch.Generator().manual_seed(derived_seed(config.seed, "decoder")))
    ghn.to(config.device).train()
    average = WeightAverage(ghn, config.optim.ema)
    optimizer = _optimizer(config, ghn)
    state = load_state(config, ghn, average, optimizer)
    text = json.dumps(config.to_dict(), indent=2)
    write_atomically(config.out / "config.json", lambda path: path.write_text(text + "\n"))
    with ExitStack() as stack:
        pool = stack.enter_context(_threads(config.net_threads)) if config.net_threads else None
        run = _Run(
            config, ghn, average, optimizer, state, data, pool, JsonLines(config.out / "metrics.jsonl", state.step)
        )
        stop = stack.enter_context(_stop_on_signals())
        run.loop(stop, log, None if progress is None else not progress)
    best = config.out / "best.safetensors"
    return TrainResult(
        checkpoint=config.out / "ghn.safetensors",
        best=best if state.best_top1 >= 0 else None,
        best_top1=state.best_top1 if state.best_top1 >= 0 else None,
        steps=state.step,
        finished=state.step >= config.steps,
        skipped_steps=state.skipped_steps,
        skipped_nets=state.skipped_nets,
        seconds=state.seconds,
    )


class _Run:
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
            start=state.step // config.nets.repeat,
            stop=-(-config.steps // config.nets.repeat),
        )
        means = Means()
        started = time.perf_counter() - state.seconds
        saved = last = time.perf_counter()
        with tqdm(
            desc="train", total=config.steps, initial=state.step, unit="step", disable=disable, smoothing=0.1
        ) as bar:
            for batch in self.batches(stream):
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

    def batches(self, stream: NetStream) -> Iterator[MetaBatch]:
        """The meta-batch of each step that is left."""
        repeat = self.config.nets.repeat
        skipped = self.state.step % repeat  # of the first meta-batch, by the run that is resumed
        repeated = (batch for batch in meta_batches(stream, self.config.workers) for _ in range(repeat))
        yield from islice(repeated, skipped, self.config.steps - self.state.step + skipped)

    def step(self, batch: MetaBatch) -> dict[str, float]:
        """One update from a meta-batch; its metrics."""
        config, state = self.config, self.state
        lr = learning_rate(config.optim, state.step, config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        generator = torch.Generator().manual_seed(derived_seed(config.seed, "images", state.step))
        images, labels = self.draw(generator)
        start = time.perf_counter()
        predicted = self.ghn.predict(batch.graphs)
        middle = time.perf_counter()
        run = NetRun(config, state.step, images, labels)
        if self.pool is None:
            results = list(map(run, batch.nets, predicted))
        else:
            results = list(self.pool.map(run, batch.nets, predicted))
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

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images and labels of one step."""
        config = self.config
        index = torch.randperm(len(self.data), generator=generator)[: config.batch_size]
        images, labels = self.data.batch(index)
        if config.augment:
            images = random_affine(images, generator)
        # channels last: depthwise convolutions and pools on the CPU run about twice as fast
        return images.to(config.device, memory_format=torch.channels_last), labels.to(config.device)

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
            _images(config, "val"),
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
        ghn = GHN(self.config.ghn).to(self.config.device)
        ghn.load_state_dict(self.average.weights)
        return ghn.eval()

    def emit(self, metrics: Mapping[str, float], log: Log | None) -> None:
        self.lines(metrics, self.state.step)
        if log is not None:
            log(metrics, self.state.step)

    def save(self) -> None:
        save_state(self.config, self.ghn, self.average, self.optimizer, self.state)
        self.averaged().save_pretrained(self.config.out / "ghn.safetensors")


def _images(config: TrainConfig, split: str) -> ImageData:
    if split not in ("train", "val"):
        raise ValueError(f"training reads the splits 'train' and 'val' (got {split!r})")
    part = "train" if split == "train" else "val"
    if config.data == "digits":
        return digits(part, config.image_size)  # type: ignore[arg-type]
    return image_folder(config.data, config.image_size, part).load()  # type: ignore[arg-type]


def _optimizer(config: TrainConfig, ghn: GHN) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optim.optimizer]
    return kind(ghn.parameters(), lr=config.optim.lr, weight_decay=config.optim.weight_decay)


def _threads(count: int) -> ThreadPoolExecutor:
    """Threads whose tensor operations use one core each."""
    return ThreadPoolExecutor(count, "net", initializer=torch.set_num_threads, initargs=(1,))


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, in the main thread; their handlers are restored."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
