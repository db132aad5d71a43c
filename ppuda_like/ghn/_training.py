"""Training a hypernetwork on freshly sampled networks."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from ppuda_like._files import replacing
from ppuda_like._ranks import ranks
from ppuda_like._runs import JsonLines, Log, stop_on_signals
from ppuda_like._seeds import derived_seed
from ppuda_like._tensorboard import TensorBoard
from ppuda_like.errors import CheckpointError, DataError, PpudaLikeError
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.ghn._images import run_images
from ppuda_like.ghn._init import identity_init
from ppuda_like.ghn._train_config import TrainConfig
from ppuda_like.ghn._train_run import TrainRun
from ppuda_like.ghn._train_state import WeightAverage, load_state

__all__ = ["TrainResult", "train_ghn"]


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
        skipped_nets: networks left out, for want of a finite loss and gradient or of memory.
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

    In a process group, as ``torchrun`` starts one, the processes share the networks of each meta-batch and sum their
    gradients: the result is that of one process but for the order of the sums.  All of them see the same images in a
    step, or each network its own, as ``same_images`` says.  They read the same folder, and the first one writes it.

    A network whose loss or gradient is not finite, or that runs out of memory, is left out of its step and counted; a
    step in which all are left out is skipped, and more than ``max_skipped`` of these stop the run.

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
        CheckpointError: if the folder holds a broken state or that of another run, or the checkpoint to start from is
            broken or of another hypernetwork, or a checkpoint cannot be written; the one before is untouched then.
        DataError: if the images are missing, or have another number of classes than the hypernetwork predicts.
        PredictionError: if no sampled network is within the limits of the config.
        PpudaLikeError: if more steps than ``max_skipped`` were skipped, or the number of processes does not divide the
            meta-batch.
    """
    here = ranks()
    if config.nets.meta_batch % here.world:
        raise PpudaLikeError(
            f"{here.world} processes cannot share a meta-batch of {config.nets.meta_batch} networks evenly; choose "
            "'nets.meta_batch' a multiple of the number of processes"
        )
    data = run_images(config, "train")
    if len(data.class_names) != config.ghn.num_classes:
        raise DataError(
            f"the images of '{config.data}' have {len(data.class_names)} classes, the hypernetwork predicts class "
            f"layers of {config.ghn.num_classes}; set its 'num_classes' to {len(data.class_names)}"
        )
    config.out.mkdir(parents=True, exist_ok=True)
    ghn = _initial(config).to(config.device).train()
    average = WeightAverage(ghn, config.optim.ema)
    optimizer = _optimizer(config, ghn)
    state = load_state(config, ghn, average, optimizer)
    here.wait()  # no process may write before all have read
    if here.first:
        with replacing(config.out / "config.json") as path:
            path.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(config.net_threads, "net")) if config.net_threads else None
        logs: list[Log] = []
        if here.first:
            logs.append(JsonLines(config.out / "metrics.jsonl", state.step))
            if config.tensorboard:
                logs.append(stack.enter_context(TensorBoard(config.out / "tensorboard", state.step)))
            logs += [log] if log is not None else []
        run = TrainRun(config, ghn, average, optimizer, state, data, pool=pool, ranks=here, logs=logs)
        stop = stack.enter_context(stop_on_signals())
        run.loop(stop, None if progress is None else not progress)
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


def _initial(config: TrainConfig) -> GHN:
    """The hypernetwork that the first step sees."""
    if config.start is not None:
        ghn = GHN.from_pretrained(config.start)
        if ghn.config != config.ghn:
            raise CheckpointError(
                f"{config.start}: its hypernetwork is {ghn.config}, that of the run is {config.ghn}; "
                "give the run's 'ghn' the config of the checkpoint"
            )
        return ghn
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.seed, "init"))
        ghn = GHN(config.ghn)
    if config.init == "identity":
        identity_init(ghn)
    return ghn


def _optimizer(config: TrainConfig, ghn: GHN) -> torch.optim.Optimizer:
    kind: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optim.optimizer]
    return kind(ghn.parameters(), lr=config.optim.lr, betas=config.optim.betas, weight_decay=config.optim.weight_decay)
