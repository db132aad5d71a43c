"""The training of a supernet, cell by cell, by the features of a teacher."""

from __future__ import annotations

import json
import logging
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ppuda_like._compute import autocast, available_device
from ppuda_like._files import replacing
from ppuda_like._ranks import Ranks, ranks
from ppuda_like._runs import stop_on_signals
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.search.dna._distil_config import DistilConfig
from ppuda_like.search.dna._distil_unit import CellTraining, cell_name
from ppuda_like.search.dna._feature_files import FeatureFiles
from ppuda_like.search.dna._space import Space
from ppuda_like.search.dna._supernet import Supernet
from ppuda_like.search.dna._teacher import Teacher
from ppuda_like.vision import ImageSource, ImageStream, load_weights

__all__ = ["CellResult", "DistilResult", "distil", "load_supernet"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """How the training of a cell ended.

    Attributes:
        stage: number of the stage.
        cell: number of the cell in it.
        steps: updates done or skipped so far.
        finished: whether that is all of them.
        skipped_steps: updates that had no finite loss or gradient.
        loss: mean squared error over the last epoch that is done; NaN before.
        weights: file of the weights, which is there when the training is finished.
    """

    stage: int
    cell: int
    steps: int
    finished: bool
    skipped_steps: int
    loss: float
    weights: Path


@dataclass(frozen=True, kw_only=True)
class DistilResult:
    """How the training of a supernet ended.

    Attributes:
        cells: results of the cells that were to be trained, by stage and cell.
    """

    cells: tuple[CellResult, ...]

    @property
    def finished(self) -> bool:
        """Whether all of them are; otherwise the same call resumes."""
        return all(cell.finished for cell in self.cells)


def distil(
    teacher: Teacher,
    space: Space,
    config: DistilConfig,
    train: ImageSource,
    *,
    features: FeatureFiles | None = None,
    executor: Executor | None = None,
    progress: bool | None = None,
) -> DistilResult:
    """Train every operation of a space to imitate its part of a teacher (arXiv:1911.13053, section 3).

    Each step draws paths for each cell: from the teacher's features in front of the stage, or the images, they are to
    make its features behind the stage, by mean squared error.  Operations that a step does not use keep their weights
    and the state of their updates.

    The run's folder holds ``config.json``; for each cell a subfolder ``stageI-cellJ`` with ``metrics.jsonl`` (a line
    per epoch) and ``state.pt``; and, once a cell is finished, its weights ``stageI-cellJ.safetensors``.  Cells whose
    state is there are continued; on a CPU the result is bit for bit that of a run never interrupted.  SIGTERM and
    Ctrl-C make checkpoints and return.  In a process group, processes share out the paths of a step: their number must
    be a divisor of ``config.paths``.

    Args:
        teacher: whose features are imitated; it is moved to ``config.device``.
        space: of the operations.
        config: all that the training depends on besides.
        train: images to train on, of the space's size.
        features: of the teacher, from disk, in place of passes of the teacher; the images must be as they are.
        executor: where each stage is trained by a call of its own; None for this process.  Processes of it must be
            able to unpickle the teacher and the images.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        How the run ended, finished or interrupted.

    Raises:
        CheckpointError: if a folder holds a broken state or that of another run, or a checkpoint cannot be written.
        DataError: if taps, images or features do not go with the space.
        PpudaLikeError: if the config does not go with the space or the processes, the device is not available, a worker
            died, or more than ``max_skipped`` steps of a cell were skipped.

    Example:
        >>> import tempfile
        >>> from torch import nn
        >>> from ppuda_like.search.dna import Cell, Head, Stage, Stem, mobile_operations
        >>> from ppuda_like.vision import digits
        >>> cell = Cell(depth=1, width=4, operations=mobile_operations((3,), (1, 2)))
        >>> space = Space(name="tiny", stages=(Stage(cells=(cell,), stride=2),), stem=Stem(width=4), image_size=16)
        >>> model = nn.Sequential(nn.Conv2d(3, 6, 3, 4, 1), nn.ReLU()).eval()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     config = DistilConfig(out=folder, epochs=1, augment="none")
        ...     distil(Teacher(model, ("1",)), space, config, digits("val", size=16)).finished
        True
    """
    device, per_epoch, stages = _check(space, config, train, features)
    if executor is not None:
        return _in_parallel(executor, teacher, space, config, train, features, stages)
    group = ranks()
    teacher.to(device)
    widths = teacher.widths(space)
    facts = _facts(teacher, space, config, train)
    if features is not None:
        features.check(teacher, train)
    supernet = Supernet(space, widths, boundary=config.boundary, seed=config.seed)
    if group.first:
        config.out.mkdir(parents=True, exist_ok=True)
        with replacing(config.out / "config.json") as path:
            path.write_text(json.dumps({**config.to_dict(), "space": space.to_dict()}, indent=2) + "\n")
    group.wait()
    trainings = [
        CellTraining(config, space.stages[net.stage].cells[net.cell], net.to(device), facts, per_epoch, group)
        for net in supernet
        if net.stage in stages
    ]
    for training in trainings:
        training.load()
    stream = ImageStream(train, batch_size=config.batch_size, augment=config.augment, seed=config.seed)
    run = _Run(config, teacher, features, stream, device, group)
    with stop_on_signals() as stop:
        turns = [stages] if config.together else [(stage,) for stage in stages]
        for turn in turns:
            if not run.train([t for t in trainings if t.net.stage in turn], stop, progress):
                break
    return DistilResult(cells=tuple(_result(training) for training in trainings))


def load_supernet(folder: str | Path, space: Space, teacher: Teacher, config: DistilConfig | None = None) -> Supernet:
    """The supernet whose cells :func:`distil` left in its folder, in evaluation mode on the CPU.

    Args:
        folder: of the run.
        space: of the cells.
        teacher: they imitate.
        config: of the run; None for that in the folder.

    Raises:
        CheckpointError: if a cell is not finished, or its weights do not go with the space and the teacher.
        DataError: if the folder has no ``config.json``.
    """
    folder = Path(folder)
    boundary = config.boundary if config is not None else _read_boundary(folder)
    supernet = Supernet(space, teacher.widths(space), boundary=boundary)
    for net in supernet:
        load_weights(net, folder / f"{cell_name(net.stage, net.cell)}.safetensors")
    return supernet.eval()


class _Run:
    """The loop over steps, which several cells may share."""

    def __init__(
        self,
        config: DistilConfig,
        teacher: Teacher,
        features: FeatureFiles | None,
        stream: ImageStream,
        device: torch.device,
        group: Ranks,
    ) -> None:
        self.config, self.teacher, self.feature_files = config, teacher, features
        self.stream, self.device, self.group = stream, device, group
        self.begun = time.perf_counter()

    def train(self, trainings: list[CellTraining], stop: threading.Event, progress: bool | None) -> bool:
        """Train cells until they are finished, ``stop`` is set or the time is up; whether they are finished.

        Cells that were interrupted at different steps join in when their step comes.
        """
        config = self.config
        pending = [training for training in trainings if not training.finished]
        if pending:
            start, end = min(training.progress.step for training in pending), pending[0].total
            names = ", ".join(training.name for training in pending)
            hidden = not self.group.first or (None if progress is None else not progress)
            saved = time.perf_counter()
            batches = self.stream.batches(self._numbers(range(start, end)), config.workers)
            with tqdm(desc=names, total=end, initial=start, unit="step", disable=hidden) as bar:
                for step in range(start, end):
                    active = [training for training in pending if training.progress.step == step]
                    self._step(step, active, batches)
                    bar.update()
                    now = time.perf_counter()
                    due = config.max_minutes is not None and now - self.begun >= 60 * config.max_minutes
                    if self.group.any(stop.is_set() or due):
                        break
                    if now - saved >= 60 * config.checkpoint_minutes:
                        for training in pending:
                            training.save()
                        saved = time.perf_counter()
        for training in pending:
            training.save()
        return all(training.finished for training in trainings)

    def _draws(self, step: int) -> range:
        """Numbers of the paths of a step that this process computes."""
        first = step * self.config.paths
        return range(first + self.group.rank, first + self.config.paths, self.group.world)

    def _numbers(self, steps: range) -> list[int]:
        """Numbers of the batches that it needs for that, in order."""
        if self.config.same_images:
            return list(steps)
        return [draw for step in steps for draw in self._draws(step)]

    def _step(self, step: int, active: list[CellTraining], batches: Any) -> None:
        for training in active:
            training.begin_step()
        last = max((training.net.stage for training in active), default=-1)
        features: list[Tensor] = []
        for place, draw in enumerate(self._draws(step)):
            if place == 0 or not self.config.same_images:
                images, _ = next(batches)
                if active:
                    features = self._features(step if self.config.same_images else draw, images, last)
            for training in active:
                stage = training.net.stage
                training.add_path(draw, features[stage], features[stage + 1])
        for training in active:
            training.end_step()

    def _features(self, number: int, images: Tensor, last: int) -> list[Tensor]:
        """Images and features behind the stages up to ``last``."""
        if self.feature_files is not None:
            found = self.feature_files.batch(self.stream.index(number), last)
            return [images.to(self.device), *(tensor.to(self.device) for tensor in found)]
        images = images.to(self.device, non_blocking=True)
        with autocast(self.device, self.config.amp):
            return [images, *self.teacher.features(images, last)]


def _check(
    space: Space, config: DistilConfig, train: ImageSource, features: FeatureFiles | None
) -> tuple[torch.device, int, tuple[int, ...]]:
    """The device, the steps of an epoch and the stages to train."""
    device = available_device(config.device)
    count = len(space.stages)
    if len(config.lr) not in (1, count):
        raise PpudaLikeError(
            f"'lr' must be one for each of the {count} stages of '{space.name}', or a single one (got {config.lr})"
        )
    stages = tuple(range(count)) if config.stages is None else config.stages
    if stages[-1] >= count:
        raise PpudaLikeError(f"'{space.name}' has stages 0..{count - 1} (got 'stages' {list(stages)})")
    if train.image_size != space.image_size:
        raise DataError(
            f"the images must have the {space.image_size} pixels of '{space.name}' (got {train.image_size}); use "
            "ppuda_like.vision.resized"
        )
    if features is not None and config.augment != "none":
        raise PpudaLikeError(
            f"features from disk are those of images as they are; set augment='none' (got '{config.augment}')"
        )
    world = ranks().world
    if config.paths % world:
        raise PpudaLikeError(
            f"{world} processes cannot share {config.paths} paths of a step evenly; choose a multiple of {world} for "
            "'paths'"
        )
    per_epoch = len(train) // config.batch_size // (1 if config.same_images else config.paths)
    if not per_epoch:
        images = config.batch_size * (1 if config.same_images else config.paths)
        raise DataError(f"{len(train)} images make no step of {images}; lower 'batch_size' or 'paths'")
    return device, per_epoch, stages


def _facts(teacher: Teacher, space: Space, config: DistilConfig, train: ImageSource) -> dict[str, dict[str, Any]]:
    """What a run must have in common with its resumption."""
    return {
        "config": config.identity,
        "space": {"space": space.to_dict()},
        "teacher": teacher.identity,
        "data": {
            "images": len(train),
            "image size": train.image_size,
            "mean": list(train.mean),
            "std": list(train.std),
        },
    }


def _in_parallel(
    executor: Executor,
    teacher: Teacher,
    space: Space,
    config: DistilConfig,
    train: ImageSource,
    features: FeatureFiles | None,
    stages: tuple[int, ...],
) -> DistilResult:
    futures: dict[int, Future[DistilResult]] = {}
    cells: list[CellResult] = []
    lost = []
    for stage in stages:
        alone = replace(config, stages=(stage,))
        try:
            futures[stage] = executor.submit(distil, teacher, space, alone, train, features=features, progress=False)
        except BrokenExecutor:  # by a stage before
            lost.append(stage)
    for stage, future in futures.items():
        try:
            cells += future.result().cells
        except BrokenExecutor:
            lost.append(stage)
    if lost:
        raise PpudaLikeError(
            f"a worker died, and the training of stages {sorted(lost)} with it; their checkpoints in "
            f"'{config.out}' and the other stages are untouched: run the same again to continue, with fewer workers "
            "if memory did not suffice"
        )
    return DistilResult(cells=tuple(cells))


def _result(training: CellTraining) -> CellResult:
    progress = training.progress
    return CellResult(
        stage=training.net.stage,
        cell=training.net.cell,
        steps=progress.step,
        finished=training.finished,
        skipped_steps=progress.skipped_steps,
        loss=progress.loss,
        weights=training.weights,
    )


def _read_boundary(folder: Path) -> Any:
    path = folder / "config.json"
    try:
        return json.loads(path.read_text())["boundary"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"'{folder}' is no folder of a training of cells: {path.name}: {error}") from error
