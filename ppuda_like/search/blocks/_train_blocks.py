"""Training a network block by block."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like._runs import JsonLines, Log, Means, check_same_run, read_state, stop_on_signals, write_state
from ppuda_like.errors import DataError
from ppuda_like.search.blocks._auxiliary import auxiliary
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet
from ppuda_like.search.blocks._blockwise import BlockwiseModel
from ppuda_like.search.blocks._evaluate_blocks import BlockEvaluation, evaluate_blocks
from ppuda_like.search.blocks._frontier import Frontier
from ppuda_like.search.blocks._learner import Learner
from ppuda_like.search.blocks._parallel import Workers
from ppuda_like.search.blocks._train_config import BlockTrainConfig
from ppuda_like.vision import ImageSource, ImageStream, evaluate
from ppuda_like.vision._train_net import _device
from ppuda_like.vision._train_schedule import learning_rate

__all__ = ["BlockTrainResult", "auxiliaries_for", "train_blocks"]

STATE_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class BlockTrainResult:
    """How the training of blocks ended.

    Attributes:
        val: what the last validation found; None if there was none.
        steps: steps done so far; with ``"sequential"``, of all blocks together.
        finished: whether that is all of them; otherwise the same call resumes.
        skipped: steps of each learner without a finite loss or gradient (one learner with ``"backprop"``).
        seconds: time this call took.
    """

    val: BlockEvaluation | None
    steps: int
    finished: bool
    skipped: tuple[int, ...]
    seconds: float


def auxiliaries_for(
    model: BlockwiseModel, names: str | Sequence[str], num_classes: int, *, seed: int = 0, **options: Any
) -> list[AuxiliaryNet]:
    """An auxiliary network for each boundary, for the newest value that crosses it.

    Args:
        model: the blocks.
        names: one of ``AUXILIARIES`` for all boundaries, or one for each, as :func:`decode` gives.
        num_classes: number of classes.
        seed: of the initial weights.
        options: of the kind of network.

    Raises:
        DataError: if there is not one name for each boundary.
        PpudaLikeError: if a network cannot be built for a shape.
    """
    boundaries = model.num_blocks - 1
    names = [names] * boundaries if isinstance(names, str) else list(names)
    if len(names) != boundaries:
        raise DataError(f"{model.num_blocks} blocks need {boundaries} auxiliary networks (got {len(names)}: {names})")
    return [
        auxiliary(name, shapes[-1], num_classes, seed=seed * boundaries + k, **options)
        for k, (name, shapes) in enumerate(zip(names, model.shapes, strict=True))
    ]


def train_blocks(
    model: BlockwiseModel,
    auxiliaries: Sequence[AuxiliaryNet],
    config: BlockTrainConfig,
    train: ImageSource,
    val: ImageSource | None = None,
    *,
    log: Log | None = None,
    progress: bool | None = None,
) -> BlockTrainResult:
    """Train a network to classify images, each block by a loss of its own.

    The auxiliary networks read the newest value that leaves their block.  With ``"sync"``, block k's gradient is taken
    before block k + 1 runs, so that the activations of one block at a time are in memory; what block k + 1 gets was
    computed before block k's update (DGL, arXiv:1901.08164, algorithm 1).  ``"parallel"`` computes the very same, to
    the last bit on a CPU if both use as many threads.

    A step of a block whose loss or gradient is not finite is skipped and counted, and leaves no trace in that block;
    the others go on.  More than ``max_skipped`` in one block stop the run.  A process of ``"parallel"`` that ends or
    fails stops the run with its error; the last checkpoint stays.

    The run's folder holds ``config.json``, ``metrics.jsonl`` (a line per epoch) and ``state.pt``.  If it holds the
    state of the same run, that is continued, bit for bit on a CPU.  SIGTERM and Ctrl-C make a checkpoint and return.

    Args:
        model: the blocks, trained in place; they, and the model they came from, are in evaluation mode afterwards.
        auxiliaries: one for each block but the last one, trained in place; none are needed with ``"backprop"``.
        config: all that the training depends on besides these and the images.
        train: images to train on.
        val: images to validate on after each epoch; None for no validation.
        log: where the metrics of each epoch go besides ``metrics.jsonl``.
        progress: show a progress bar; None for only in a terminal.

    Raises:
        CheckpointError: if the folder holds a broken state or that of another run, or cannot be written to.
        DataError: if images, network and auxiliary networks do not go together.
        PpudaLikeError: if the device is not available, a process ends, or too many steps were skipped.

    Example:
        >>> import tempfile
        >>> from ppuda_like.graph import Partition, trace
        >>> from ppuda_like.search.blocks import split
        >>> from ppuda_like.vision import NetTrainConfig, digits
        >>> net = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 10))
        >>> blocks = split(net, Partition.at(trace(net, (2, 3, 32, 32)), ["3"]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     config = BlockTrainConfig(training=NetTrainConfig(out=folder, epochs=3, augment="none", lr=0.1))
        ...     nets = auxiliaries_for(blocks, "linear", 10)
        ...     result = train_blocks(blocks, nets, config, digits("train"), digits("val"))
        >>> result.finished, min(result.val.top1) > 0.8
        (True, True)
    """
    run = _Run(model, auxiliaries, config, train, val)
    start = time.perf_counter()
    with ExitStack() as stack:
        out = config.training.out
        with replacing(out / "config.json") as path:
            path.write_text(json.dumps({**config.identity, "method": config.method}, indent=2) + "\n")
        logs: list[Log] = [JsonLines(out / "metrics.jsonl", run.epoch * run.stream.per_epoch), *([log] if log else [])]
        stop = stack.enter_context(stop_on_signals())
        disable = None if progress is None else not progress
        bar = stack.enter_context(tqdm(desc=config.method, total=run.total, initial=run.step, disable=disable))
        if config.method == "parallel" and run.step < run.total:
            run.workers = stack.enter_context(Workers(run.learners, run.stream, config))
        run.loop(stop, bar, logs)
    for one in (model, *auxiliaries):
        one.eval()
    return BlockTrainResult(
        val=run.found,
        steps=run.step,
        finished=run.step == run.total,
        skipped=tuple(learner.skipped for learner in run.learners),
        seconds=time.perf_counter() - start,
    )


class _EndToEnd(nn.Module):
    """All blocks as one, undetached."""

    def __init__(self, model: BlockwiseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frontier: Frontier) -> Any:
        return self.model(*frontier.passed)


class _Run:
    """The moving parts of a run, and its loop."""

    def __init__(
        self,
        model: BlockwiseModel,
        auxiliaries: Sequence[AuxiliaryNet],
        config: BlockTrainConfig,
        train: ImageSource,
        val: ImageSource | None,
    ) -> None:
        training = config.training
        self.model, self.auxiliaries, self.config, self.val = model, list(auxiliaries), config, val
        self.end_to_end = config.method == "backprop"
        if len(auxiliaries) != model.num_blocks - 1 and not (self.end_to_end and not auxiliaries):
            raise DataError(
                f"{model.num_blocks} blocks need {model.num_blocks - 1} auxiliary networks (got {len(auxiliaries)}); "
                "see auxiliaries_for"
            )
        wide = [len(frontier) for frontier in model.partition.frontiers]
        if not self.end_to_end and max(wide, default=1) > 1 and model.partition.reads != "newest":
            raise DataError(
                f"auxiliary networks read the newest value that leaves a block, but {max(wide)} leave one here; the "
                "partition was not checked for that: cut with reads='newest', or where a single value crosses"
            )
        if val is not None and tuple(val.class_names) != tuple(train.class_names):
            raise DataError("the images to validate on must have the classes of those to train on, in their order")
        device = _device(training)
        for one in (model, *auxiliaries):
            one.to(device)
        self.stream = ImageStream(train, batch_size=training.batch_size, augment=training.augment, seed=training.seed)
        parts: list[tuple[nn.Module, AuxiliaryNet | None]]
        if self.end_to_end:
            parts = [(_EndToEnd(model), None)]
        else:
            parts = list(zip(model.blocks, [*auxiliaries, None], strict=True))
        per_epoch, classes = self.stream.per_epoch, len(train.class_names)
        self.learners = [
            Learner(i, block, auxiliary_, config, per_epoch, classes) for i, (block, auxiliary_) in enumerate(parts)
        ]
        self.per_block = training.epochs * per_epoch
        self.total = self.per_block * (len(self.learners) if config.method == "sequential" else 1)
        self.step = 0
        self.epoch = 0
        self.means = Means()
        self.found: BlockEvaluation | None = None
        self.workers: Workers | None = None
        first = next(model.parameters())
        self.device, self.dtype = first.device, first.dtype
        training.out.mkdir(parents=True, exist_ok=True)
        self.facts = {
            "config": config.identity,
            "model": {
                f"{k}.{name}": f"{tensor.dtype} {tuple(tensor.shape)}"
                for k, learner in enumerate(self.learners)
                for name, tensor in learner.modules.state_dict().items()
            },
            "data": {"images": len(train), "classes": list(train.class_names), "size": train.image_size},
        }
        self._load()

    def loop(self, stop: threading.Event, bar: tqdm[None], logs: Sequence[Log]) -> None:
        """Train until all is done or ``stop`` is set; then write a checkpoint."""
        config, per_epoch = self.config, self.stream.per_epoch
        while self.step < self.total and not stop.is_set():
            done = self.step
            end = min(done + config.checkpoint_steps, (done // per_epoch + 1) * per_epoch)
            if self.workers is not None:
                for metrics in self.workers.run(range(done, end)):
                    self.means.add(metrics)
                self.step = end
                bar.update(end - done)
            else:
                numbers = [step % self.per_block for step in range(done, end)]
                for images, labels in self.stream.batches(numbers, config.training.workers):
                    self.means.add(self._update(images, labels))
                    self.step += 1
                    bar.update()
                    if stop.is_set():
                        break
            if self.step // per_epoch > self.epoch:
                self._finish_epoch(logs)
            if self.step == end:
                self._save()
        self._save()

    def _update(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """One step: its metrics, by name and block."""
        images, labels = images.to(self.device, self.dtype), labels.to(self.device)
        frontier = Frontier((), (images,))
        self.model.train()
        self.model.start(images)  # for the check of the mode
        found: dict[str, float] = {}
        if self.config.method == "sequential":
            current, number = divmod(self.step, self.per_block)
            for learner in self.learners[:current]:
                frontier = learner.frozen(frontier)
            _, metrics = self.learners[current].step(frontier, labels, number)
            return {f"{key}_{current}": value for key, value in metrics.items()}
        for index, learner in enumerate(self.learners):
            frontier, metrics = learner.step(frontier, labels, self.step)
            found |= {f"{key}_{index}": value for key, value in metrics.items()}
        return found

    def _finish_epoch(self, logs: Sequence[Log]) -> None:
        per_epoch = self.stream.per_epoch
        self.epoch += 1
        found: dict[str, float] = {"epoch": self.epoch, **self.means.take()}
        found |= {"lr": learning_rate(self.config.training, (self.step - 1) % self.per_block, per_epoch)}
        found |= {f"skipped_{i}": learner.skipped for i, learner in enumerate(self.learners)}
        if self.val is not None:
            self.found = self._validated(self.val)
            for i, value in enumerate(self.found.top1):
                found[f"val_top1_{i}"] = value
            found |= {"val_top1": self.found.top1[-1], "val_loss": self.found.loss[-1]}
            found |= {f"val_last_{n}": value for n, value in enumerate(self.found.last, 1)}
            found |= {f"val_weighted_{n}": value for n, value in enumerate(self.found.weighted)}
        for log in logs:
            log(found, self.step)

    def _validated(self, val: ImageSource) -> BlockEvaluation:
        size = self.config.training.val_batch_size
        if not self.end_to_end:
            return evaluate_blocks(self.model, self.auxiliaries, val, batch_size=size)
        whole = _Cast(self.model, self.dtype).eval()
        found = evaluate(whole, val, batch_size=size, device=self.device, progress=False)
        one = (found.top1,)
        return BlockEvaluation(top1=one, loss=(found.loss,), last=one, weighted=one, num_images=found.num_images)

    def _save(self) -> None:
        parts = {
            "facts": json.dumps(self.facts),
            "learners": [learner.state_dict() for learner in self.learners],
            "step": self.step,
            "epoch": self.epoch,
            "means": self.means.state_dict(),
        }
        write_state(self.config.training.out, STATE_FORMAT, parts)

    def _load(self) -> None:
        folder: Path = self.config.training.out
        state = read_state(folder, STATE_FORMAT, self.device)
        if state is None:
            return
        before: Mapping[str, Mapping[str, Any]] = json.loads(state["facts"])
        for topic, now in self.facts.items():
            check_same_run(folder, topic, before[topic], now)
        for learner, found in zip(self.learners, state["learners"], strict=True):
            learner.load_state_dict(found)
        self.step, self.epoch = state["step"], state["epoch"]
        self.means.load_state_dict(state["means"])


class _Cast(nn.Module):
    """A network fed with images of its own precision."""

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype

    def forward(self, images: Tensor) -> Any:
        return self.model(images.to(self.dtype))
