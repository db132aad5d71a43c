"""Training a detector."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torchvision.models.detection import FasterRCNN

from ppuda_like._files import replacing
from ppuda_like._runs import JsonLines, Log, stop_on_signals
from ppuda_like.errors import DataError
from ppuda_like.vision._detect_config import DetectConfig
from ppuda_like.vision._detect_data import DetectionData
from ppuda_like.vision._detect_evaluate import DetectionScore, make_metric
from ppuda_like.vision._detect_run import DetectRun
from ppuda_like.vision._detect_state import load_state, save_state
from ppuda_like.vision._train_weights import save_weights

__all__ = ["DetectResult", "train_detector"]


@dataclass(frozen=True, kw_only=True)
class DetectResult:
    """How the training of a detector ended.

    Attributes:
        weights: the detector's state dict as safetensors; None before the run is finished.
        score: what the last validation found; None if there was none.
        epochs: epochs done so far.
        steps: updates done or skipped so far.
        finished: whether that is all of them; otherwise the same call resumes.
        skipped_steps: updates that had no finite loss or gradient.
        seconds: time spent so far, in all sessions of the run.
    """

    weights: Path | None
    score: DetectionScore | None
    epochs: int
    steps: int
    finished: bool
    skipped_steps: int
    seconds: float


def train_detector(
    detector: FasterRCNN,
    config: DetectConfig,
    train: DetectionData,
    val: DetectionData | None = None,
    *,
    log: Log | None = None,
    progress: bool | None = None,
) -> DetectResult:
    """Train a detector where it is, from the weights it has.

    Stochastic gradient descent on the sum of Faster R-CNN's four losses (arXiv:1506.01497, Eq. 1 and 2), of the region
    proposals and of the box head.  A step whose loss or gradient is not finite leaves no trace in the detector; it is
    counted, and more than ``max_skipped`` of them stop the run.

    The run's folder holds ``config.json``, ``metrics.jsonl`` with a line per epoch, ``state.pt`` and in the end
    ``detector.safetensors``.  If it holds the state of a run with the same config, that run goes on after its last
    complete epoch; on a CPU the result is bit for bit that of a run never interrupted.  SIGTERM and Ctrl-C return after
    the step; the epoch they fall into is done anew.

    Args:
        detector: of :func:`detector`; trained in place.
        config: all that the run depends on besides the detector and the images.
        train: images to train on.
        val: images to validate on after each ``val_epochs`` epochs.
        log: where metrics go besides ``metrics.jsonl``.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        How the run ended, finished or interrupted.

    Raises:
        CheckpointError: if the folder holds a broken state or that of another run, or one cannot be written.
        DataError: if there are no images, or an item is not what :class:`DetectionData` says.
        PpudaLikeError: if more steps than ``max_skipped`` were skipped, or torchmetrics is missing for the validation.
    """
    if not len(train):
        raise DataError("there are no images to train on")
    if val is not None:
        make_metric()
    config.out.mkdir(parents=True, exist_ok=True)
    weights = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(weights, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    state = load_state(config, len(train), detector, optimizer)
    with replacing(config.out / "config.json") as path:
        path.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    logs: list[Log] = [JsonLines(config.out / "metrics.jsonl", state.step)]
    logs += [log] if log is not None else []
    run = DetectRun(config, detector, optimizer, state, train, val, None if progress is None else not progress)
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        stack.callback(detector.train, detector.training)
        while state.epoch < config.epochs and not stop.is_set():
            metrics = run.epoch(stop)
            if metrics is None:
                break
            for sink in logs:  # a line whose epoch was not saved is dropped by the resumption
                sink(metrics, state.step)
            save_state(config, len(train), detector, optimizer, state)
    finished = state.epoch >= config.epochs
    if finished:
        save_weights(detector, config.out / "detector.safetensors")
    return DetectResult(
        weights=config.out / "detector.safetensors" if finished else None,
        score=DetectionScore(**state.score) if state.score else None,  # type: ignore[arg-type]  # counts are whole
        epochs=state.epoch,
        steps=state.step,
        finished=finished,
        skipped_steps=state.skipped_steps,
        seconds=state.seconds,
    )
