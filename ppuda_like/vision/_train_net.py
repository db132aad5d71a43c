"""Training one network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ppuda_like._compute import available_device
from ppuda_like._files import replacing
from ppuda_like._runs import JsonLines, Log, stop_on_signals
from ppuda_like._tensorboard import TensorBoard
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.vision._data import ImageSource
from ppuda_like.vision._evaluate import Evaluation
from ppuda_like.vision._rmsprop import RMSpropTF
from ppuda_like.vision._stream import ImageStream
from ppuda_like.vision._train_config import NetTrainConfig
from ppuda_like.vision._train_run import BEST_FILE, LAST_FILE, NetTrainRun, evaluation_mode
from ppuda_like.vision._train_state import NetState, average_of

__all__ = ["NetTrainResult", "train_net"]


@dataclass(frozen=True, kw_only=True)
class NetTrainResult:
    """How the training of a network ended.

    Attributes:
        last: its weights, averaged where the config says so, as :func:`load_weights` reads them.
        best: those of the best validation; None if there was none.
        best_top1: their accuracy, 0..1; None if there was none.
        val: what the last validation found; None if there was none.
        epochs: epochs done so far.
        steps: updates done or skipped so far.
        finished: whether that is all of them; otherwise the same call resumes.
        skipped_steps: updates that had no finite loss or gradient.
        overflows: updates skipped because the scaled loss in float16 overflowed.
        seconds: time spent so far, in all sessions of the run.
    """

    last: Path
    best: Path | None
    best_top1: float | None
    val: Evaluation | None
    epochs: int
    steps: int
    finished: bool
    skipped_steps: int
    overflows: int
    seconds: float


def train_net(
    model: nn.Module,
    config: NetTrainConfig,
    train: ImageSource,
    val: ImageSource | None = None,
    *,
    log: Log | None = None,
    progress: bool | None = None,
) -> NetTrainResult:
    """Train a network to classify images, from the weights it has.

    A step whose loss or gradient is not finite leaves no trace in the network; it is counted, and more than
    ``max_skipped`` of them stop the run.

    The run's folder holds ``config.json``, ``metrics.jsonl`` (a line per epoch), ``last.safetensors``,
    ``best.safetensors`` (of the epoch that validates best) and ``state.pt``.  If it holds the state of a run of the
    same config, architecture and images, that run is continued, and the weights given are replaced; on a CPU the
    result is bit for bit that of a run never interrupted, if the network draws from torch's random streams only.
    SIGTERM and Ctrl-C make a checkpoint and return.

    Args:
        model: a network that takes (n, 3, H, W) and returns logits (n, classes), in training with those of auxiliary
            classifiers if it has them.  It is trained in place: afterwards it is on ``config.device``, in evaluation
            mode (batch normalisations in training mode with ``bn_batch_stats``, as :func:`evaluate` wants it) and
            holds the weights of ``last.safetensors``.
        config: all that the training depends on besides the network and the images.
        train: images to train on.
        val: images to validate on after each epoch; None for no validation.
        log: where the metrics of each epoch go besides ``metrics.jsonl``.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        How the run ended, finished or interrupted.

    Raises:
        CheckpointError: if the folder holds a broken state or that of another run, or a checkpoint cannot be written;
            the one before is untouched then.
        DataError: if the images do not go with the network or with each other.
        PpudaLikeError: if the device or an option of the config is not available, memory does not suffice, or more
            than ``max_skipped`` steps were skipped.

    Example:
        >>> import tempfile
        >>> from ppuda_like.vision import digits
        >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 10))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     config = NetTrainConfig.sgd50(Path(folder), epochs=3, augment="none")
        ...     result = train_net(model, config, digits("train"), digits("val"))
        >>> result.finished, result.best_top1 > 0.8
        (True, True)
    """
    device = available_device(config.device)
    _check(model, config, train, val)
    stream = ImageStream(train, batch_size=config.batch_size, augment=config.augment, seed=config.seed)
    config.out.mkdir(parents=True, exist_ok=True)
    if config.channels_last:
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    else:
        model.to(device)
    model.train()
    drop_path_before = getattr(model, "drop_path_rate", None)
    state = NetState(
        facts=_facts(model, config, train, val),
        model=model,
        average=average_of(model, config.ema) if config.ema else None,
        optimizer=_optimizer(model, config),
        scaler=torch.amp.GradScaler(device.type, enabled=config.amp == "fp16"),
    )
    state.load(config.out, device)
    with ExitStack() as stack:
        done = state.progress.epoch * stream.per_epoch
        logs: list[Log] = []
        if config.tensorboard:
            logs.append(stack.enter_context(TensorBoard(config.out / "tensorboard", done)))
        with replacing(config.out / "config.json") as path:
            path.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        logs.insert(0, JsonLines(config.out / "metrics.jsonl", done))
        logs += [log] if log is not None else []
        run = NetTrainRun(config, state, stream, val, device, logs)
        stop = stack.enter_context(stop_on_signals())
        run.loop(stop, None if progress is None else not progress)
    if state.average is not None:
        model.load_state_dict(state.average.module.state_dict())
    if config.drop_path:
        model.drop_path_rate = drop_path_before  # type: ignore[assignment]
    evaluation_mode(model, config.bn_batch_stats)
    return _result(config, state)


def _result(config: NetTrainConfig, state: NetState) -> NetTrainResult:
    progress = state.progress
    validated = bool(progress.val)
    found: dict[str, Any] = progress.val
    return NetTrainResult(
        last=config.out / LAST_FILE,
        best=config.out / BEST_FILE if validated else None,
        best_top1=progress.best_top1 if validated else None,
        val=Evaluation(**found) if validated else None,
        epochs=progress.epoch,
        steps=progress.step,
        finished=progress.epoch >= config.epochs,
        skipped_steps=progress.skipped_steps,
        overflows=progress.overflows,
        seconds=progress.seconds,
    )


def _check(model: nn.Module, config: NetTrainConfig, train: ImageSource, val: ImageSource | None) -> None:
    tensors = [*model.parameters(), *model.buffers()]
    if any(tensor.is_meta for tensor in tensors):
        raise DataError("the network has weights on the meta device, which hold no values; build it on a real one")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise DataError("the network has no parameter that requires a gradient; there is nothing to train")
    if config.drop_path and not isinstance(getattr(model, "drop_path_rate", None), float):
        raise PpudaLikeError(
            f"'drop_path' is {config.drop_path}, but a {type(model).__name__} has no 'drop_path_rate' as networks of "
            "ppuda_like.deepnets have; set drop_path=0"
        )
    if val is not None and tuple(val.class_names) != tuple(train.class_names):
        raise DataError(
            f"the images to validate on must have the {len(train.class_names)} classes of those to train on, in their "
            f"order (got {len(val.class_names)}: {', '.join(val.class_names[:5])}, ...)"
        )


def _optimizer(model: nn.Module, config: NetTrainConfig) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if config.decay_all or parameter.dim() > 1]
    others = [parameter for parameter in trained if not config.decay_all and parameter.dim() <= 1]
    groups = [
        {"params": members, "weight_decay": decay}
        for members, decay in ((decayed, config.weight_decay), (others, 0.0))
        if members
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)
    if config.optimizer == "rmsprop":
        return RMSpropTF(groups, lr=config.lr, alpha=config.alpha, eps=config.eps, momentum=config.momentum)
    kind: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    return kind(groups, lr=config.lr, betas=config.betas)


def _facts(
    model: nn.Module, config: NetTrainConfig, train: ImageSource, val: ImageSource | None
) -> Mapping[str, Mapping[str, Any]]:
    """What a run must have in common with its resumption."""
    tensors = {
        name: f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
        + (" trained" if tensor.requires_grad else "")
        for name, tensor in model.state_dict(keep_vars=True).items()
    }
    images: dict[str, Any] = {
        "images to train on": len(train),
        "images to validate on": len(val) if val is not None else 0,
        "classes": list(train.class_names),
        "image size": train.image_size,
        "mean": list(train.mean),
        "std": list(train.std),
    }
    return {"config": config.identity, "model": tensors, "data": images}
