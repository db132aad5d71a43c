"""Training a network block by block."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like._runs import JsonLines, Log, stop_on_signals
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.search.blocks._auxiliary import auxiliary
from ppuda_like.search.blocks._auxiliary_net import AuxiliaryNet
from ppuda_like.search.blocks._blockwise import BlockwiseModel
from ppuda_like.search.blocks._evaluate_blocks import BlockEvaluation
from ppuda_like.search.blocks._replay import ReplayStatistics
from ppuda_like.search.blocks._synthesiser import Synthesiser
from ppuda_like.search.blocks._train_config import BlockTrainConfig
from ppuda_like.search.blocks._train_run import Run
from ppuda_like.vision import ImageSource

__all__ = ["BlockTrainResult", "auxiliaries_for", "train_blocks"]


@dataclass(frozen=True, kw_only=True)
class BlockTrainResult:
    """How the training of blocks ended.

    Attributes:
        val: what the last validation found; None if there was none.
        steps: steps done so far: those that every block has done; with ``"sequential"``, of all blocks together.
        finished: whether that is all of them; otherwise the same call resumes.
        skipped: steps of each learner without a finite loss or gradient (one learner with ``"backprop"``).
        overflows: steps of each learner skipped because its scaled loss in float16 overflowed.
        seconds: time this call took.
        replay: with ``"async"``, what happened in the buffer behind each block but the last.
    """

    val: BlockEvaluation | None
    steps: int
    finished: bool
    skipped: tuple[int, ...]
    seconds: float
    overflows: tuple[int, ...] = ()
    replay: tuple[ReplayStatistics, ...] = ()


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
        PpudaLikeError: if a network cannot be built for a shape; the message names the boundary.
    """
    boundaries = model.num_blocks - 1
    names = [names] * boundaries if isinstance(names, str) else list(names)
    if len(names) != boundaries:
        raise DataError(f"{model.num_blocks} blocks need {boundaries} auxiliary networks (got {len(names)}: {names})")
    found = []
    for k, (name, shapes) in enumerate(zip(names, model.shapes, strict=True)):
        try:
            found.append(auxiliary(name, shapes[-1], num_classes, seed=seed * boundaries + k, **options))
        except PpudaLikeError as error:
            raise PpudaLikeError(f"the boundary behind block {k}: {error}") from error
    return found


def train_blocks(
    model: BlockwiseModel,
    auxiliaries: Sequence[AuxiliaryNet | Synthesiser],
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
    the last bit on a CPU if both use as many threads, and so does ``"ranks"`` with the processes that ``torchrun``
    started, on one machine or several: all make this call alike, the first one writes the run's folder.

    With ``"async"`` one process plays a worker for each block, at paces of their own (algorithm 2): a block reads what
    the one before wrote to a buffer, some batches never, some often.  Each block makes as many steps as there are; one
    that is done runs on for those behind it, frozen.  The checkpoint then holds the buffers too.  ``"dni"``
    (arXiv:1608.05343) has no local losses: see :class:`Synthesiser`.

    A step of a block whose loss or gradient is not finite is skipped and counted, and leaves no trace in that block;
    the others go on.  More than ``max_skipped`` in one block stop the run.  A process of ``"parallel"`` or
    ``"ranks"`` that ends or fails stops the run with its error; the last checkpoint stays.

    The run's folder holds ``config.json``, ``metrics.jsonl`` (a line per epoch) and ``state.pt``.  If it holds the
    state of the same run, that is continued, bit for bit on a CPU.  SIGTERM and Ctrl-C make a checkpoint and return.

    Args:
        model: the blocks, trained in place; they, and the model they came from, are in evaluation mode afterwards.
        auxiliaries: one for each block but the last one, trained in place: auxiliary networks, or synthesisers with
            ``"dni"``; none are needed with ``"backprop"``.
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
        >>> from torch import nn
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
    run = Run(model, auxiliaries, config, train, val)
    start = time.perf_counter()
    with ExitStack() as stack:
        out = config.training.out
        logs: list[Log] = []
        if run.group.first:
            with replacing(out / "config.json") as path:
                path.write_text(json.dumps({**config.identity, "method": config.method}, indent=2) + "\n")
            logs = [JsonLines(out / "metrics.jsonl", run.epoch * run.stream.per_epoch), *([log] if log else [])]
        stop = stack.enter_context(stop_on_signals())
        disable = (None if progress is None else not progress) if run.group.first else True
        bar = stack.enter_context(tqdm(desc=config.method, total=run.total, initial=run.step, disable=disable))
        run.loop(stop, bar, logs)
    for one in (model, *auxiliaries):
        one.eval()
    return BlockTrainResult(
        val=run.found,
        steps=run.step,
        finished=run.step == run.total,
        skipped=tuple(learner.skipped for learner in run.driver.learners),
        overflows=tuple(learner.overflows for learner in run.driver.learners),
        replay=run.driver.replay,
        seconds=time.perf_counter() - start,
    )
