"""Ratings of every path of a trained supernet, that can be interrupted."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ppuda_like._partial import PartialResults
from ppuda_like._seeds import derived_seed
from ppuda_like.errors import DataError, PpudaLikeError
from ppuda_like.search.dna._distil_unit import cell_name
from ppuda_like.search.dna._rate_tree import MEASURES, rate_paths
from ppuda_like.search.dna._ratings import CellRatings
from ppuda_like.search.dna._supernet import CellNet, Supernet
from ppuda_like.search.dna._teacher import Teacher
from ppuda_like.vision import ImageSource, subset
from ppuda_like.vision import Subset as ImageSubset

__all__ = ["RateConfig", "hold_out", "rate"]

_logger = logging.getLogger(__name__)

_MOST_PATHS = 64  # that are lost when a rating is interrupted


@dataclass(frozen=True, kw_only=True)
class RateConfig:
    """The rating of the paths of a supernet.

    Attributes:
        out: folder for ``stageI-cellJ.npz``, and for what is done so far, ``stageI-cellJ.npz.part``.
        batch_size: images over which a distance is taken; ratings are means over batches.
        calibration: images that give batch norms their statistics.
        batches: that are in memory at a time.
        stages: numbers of those to rate; None for all.
        device: where teacher and supernet run.
        seed: of operations that draw at random while they are calibrated.

    Raises:
        PpudaLikeError: if a number is not positive.
    """

    out: Path
    batch_size: int = 64
    calibration: int = 64
    batches: int = 8
    stages: tuple[int, ...] | None = None
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        object.__setattr__(self, "stages", None if self.stages is None else tuple(self.stages))
        for key in ("batch_size", "calibration", "batches"):
            if getattr(self, key) < 1:
                raise PpudaLikeError(f"'{key}' must be positive (got {getattr(self, key)})")


def hold_out(images: ImageSource, count: int, seed: int = 0) -> tuple[ImageSubset, ImageSubset]:
    """Images to train on, and others, drawn at random, to rate with.

    Args:
        images: all of them.
        count: images to rate with.
        seed: of the draw.

    Raises:
        DataError: if that leaves no images on a side.

    Example:
        >>> from ppuda_like.vision import digits
        >>> train, held = hold_out(digits("train"), 256)
        >>> len(train), len(held)
        (1041, 256)
    """
    if not 0 < count < len(images):
        raise DataError(f"'count' must leave images on both sides, 1..{len(images) - 1} (got {count})")
    generator = torch.Generator().manual_seed(derived_seed(seed, "hold out"))
    order = torch.randperm(len(images), generator=generator)
    return subset(images, order[count:].sort().values), subset(images, order[:count].sort().values)


def rate(
    supernet: Supernet,
    teacher: Teacher,
    config: RateConfig,
    images: ImageSource,
    calibration: ImageSource,
    *,
    progress: bool | None = None,
) -> tuple[CellRatings, ...]:
    """Rate all paths of all cells by their distances from the teacher (arXiv:1911.13053, section 3.3).

    Paths that begin alike share the features that they begin with, and the statistics of their batch norms there; a
    pass of the teacher serves all cells.  Ratings are kept every 64 paths, so that a call that is
    interrupted is continued by the same call, to the same values.  Files that are complete are read.  A warning is
    logged for cells that have hardly learnt yet: the mean squared error of half of their paths exceeds the variance.

    Args:
        supernet: trained by :func:`distil`; it is moved to ``config.device`` and its batch norms are changed.
        teacher: it was trained by; moved likewise.
        config: how to rate.
        images: to rate with, that the supernet was not trained on: see :func:`hold_out`.
        calibration: images it was trained on; the first ``config.calibration`` of them are used.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        Ratings of the cells by all measures, with standard errors over batches where there are several; a
        :class:`Ratings` takes them all for a search.

    Raises:
        DataError: if images, taps or files in the folder do not go with these, or a rating is not finite.
        PpudaLikeError: if there is no such stage.
    """
    space = supernet.space
    count = len(space.stages)
    stages = tuple(range(count)) if config.stages is None else config.stages
    if not stages or not set(stages) <= set(range(count)):
        raise PpudaLikeError(f"'{space.name}' has stages 0..{count - 1} (got 'stages' {list(stages)})")
    for what in (images, calibration):
        if what.image_size != space.image_size:
            raise DataError(f"images must have the {space.image_size} pixels of '{space.name}' (got {what.image_size})")
    if len(calibration) < config.calibration:
        raise DataError(f"{config.calibration} images are to calibrate, there are {len(calibration)}; lower the number")
    if teacher.widths(space) != supernet.widths:
        raise DataError(
            f"the supernet imitates features of {supernet.widths} channels, {teacher.name} has {teacher.widths(space)}"
        )
    teacher.to(config.device)
    supernet.to(config.device).eval()
    known = _facts(teacher, config, images, calibration)
    cells = [_CellRating(net, supernet, config, known) for net in supernet if net.stage in stages]
    total = sum(cell.paths for cell in cells) * math.ceil(math.ceil(len(images) / config.batch_size) / config.batches)
    with (
        torch.random.fork_rng(devices=[]),
        tqdm(desc="rate", total=total, unit="path", disable=None if progress is None else not progress) as bar,
    ):
        torch.manual_seed(config.seed)
        last = max(stages)
        statistics = _features(teacher, calibration, torch.arange(config.calibration), config, last)
        for chunk, numbers in enumerate(_chunks(len(images), config)):
            todo = [cell for cell in cells if not cell.has(chunk)]
            bar.update(sum(cell.paths for cell in cells) - sum(cell.paths for cell in todo))
            if not todo:
                continue
            batches = [_features(teacher, images, index, config, last) for index in numbers]
            for cell in todo:
                stage = cell.net.stage
                inputs, targets = [b[stage] for b in batches], [b[stage + 1] for b in batches]
                for done in cell.rate(chunk, statistics[stage], inputs, targets):
                    bar.update(done)
    found = tuple(cell.result() for cell in cells)
    for ratings in found:
        error = float(np.median(ratings.measures["relative_mse"]))
        if error > 1:
            _logger.warning(
                "%s: half of the paths are farther from the teacher than a constant would be (mean squared error %.2g "
                "of the variance); train longer, or with a higher learning rate, before a search by these ratings",
                ratings.place,
                error,
            )
    return found


class _CellRating:
    """The ratings of one cell so far.

    Distances of a path are kept as their weighted sum and that of their squares, for each chunk of batches.
    """

    def __init__(self, net: CellNet, supernet: Supernet, config: RateConfig, known: dict[str, Any]) -> None:
        self.net, self.space = net, supernet.space
        self.cell = self.space.stages[net.stage].cells[net.cell]
        self.paths = self.cell.num_paths
        self.file = config.out / f"{cell_name(net.stage, net.cell)}.npz"
        self.meta = {**known, "boundary": supernet.boundary, "weights": _hash(net)}
        operations = len(self.cell.operations)
        self.prefix = next(p for p in range(self.cell.depth + 1) if operations ** (self.cell.depth - p) <= _MOST_PATHS)
        self.complete: CellRatings | None = None
        if self.file.exists():
            self.complete = CellRatings.load(self.file, self.space)
            if dict(self.complete.meta) != self.meta:
                raise DataError(
                    f"'{self.file}' holds ratings of another supernet, teacher, or choice of images; choose another "
                    "folder, or delete it"
                )
        identity = json.dumps({"cell": self.cell.to_dict(), "meta": self.meta}, sort_keys=True)
        self.kept = PartialResults(None if self.complete else self.file, identity)
        self.found = dict(self.kept.found)
        self.sizes = [len(index) for numbers in _chunks(known["images"]["images"], config) for index in numbers]
        self.chunks = math.ceil(len(self.sizes) / config.batches)

    def has(self, chunk: int) -> bool:
        """Whether all paths are rated on a chunk."""
        return self.complete is not None or all(key in self.found for key in self._keys(chunk))

    def rate(self, chunk: int, statistics: Tensor, inputs: list[Tensor], targets: list[Tensor]) -> Iterator[int]:
        """Rate the paths on a chunk that are not yet; how many have become so, again and again."""

        def skip(prefix: tuple[int, ...]) -> bool:
            keys = self._keys(chunk, prefix[: self.prefix])
            return all(key in self.found for key in keys)

        weights = torch.tensor([len(batch) for batch in inputs], dtype=torch.float64)[:, None]
        sums: list[list[float]] = []
        squares: list[list[float]] = []
        size = len(self.cell.operations) ** (self.cell.depth - self.prefix)
        for path, values in rate_paths(self.net, statistics, inputs, targets, skip):
            sums.append((weights * values).sum(0).tolist())
            squares.append((weights * values.square()).sum(0).tolist())
            if len(sums) == size:
                key = _key(chunk, path[: self.prefix])
                self.found[key] = {"sums": sums, "squares": squares}
                self._check(sums, path)
                self.kept.add(key, self.found[key])
                sums, squares = [], []
                yield size

    def result(self) -> CellRatings:
        """The ratings, written to their file."""
        if self.complete is not None:
            return self.complete
        parts = [
            [[self.found[key][what] for key in self._keys(chunk)] for chunk in range(self.chunks)]
            for what in ("sums", "squares")
        ]
        # (chunks, prefixes, paths of a prefix, measures) to (paths, measures)
        sums, squares = (np.array(part).sum(0).reshape(self.paths, len(MEASURES)) for part in parts)
        images, batches = sum(self.sizes), len(self.sizes)
        means = sums / images
        errors = {}
        if batches > 1:
            spread = np.maximum(squares / images - means**2, 0.0)
            errors = {name: np.sqrt(spread[:, i] / (batches - 1)) for i, name in enumerate(MEASURES)}
        found = CellRatings(
            space=self.space,
            stage=self.net.stage,
            cell=self.net.cell,
            measures={name: means[:, i] for i, name in enumerate(MEASURES)},
            standard_errors=errors,
            meta=self.meta,
        )
        found.save(self.file)
        self.kept.close()
        return found

    def _keys(self, chunk: int, prefix: tuple[int, ...] = ()) -> list[str]:
        """Keys of the groups of paths that begin with a prefix."""
        rest = self.prefix - len(prefix)
        return [_key(chunk, (*prefix, *more)) for more in np.ndindex(*(len(self.cell.operations),) * rest)]

    def _check(self, sums: list[list[float]], path: tuple[int, ...]) -> None:
        if not np.isfinite(sums).all():
            raise DataError(
                f"ratings of {self.file.stem} around the path {list(path)} are not finite; the training of the cell "
                "diverged: train it anew with a lower learning rate"
            )


def _chunks(images: int, config: RateConfig) -> list[list[Tensor]]:
    """Positions of the images of each batch, chunk by chunk."""
    batches = torch.split(torch.arange(images), config.batch_size)
    return [list(batches[start : start + config.batches]) for start in range(0, len(batches), config.batches)]


def _features(teacher: Teacher, images: ImageSource, index: Tensor, config: RateConfig, last: int) -> list[Tensor]:
    """Images, and the teacher's features behind the stages up to ``last``."""
    batch = images.batch(index)[0].to(config.device)
    return [batch, *teacher.features(batch, last)]


def _facts(teacher: Teacher, config: RateConfig, images: ImageSource, calibration: ImageSource) -> dict[str, Any]:
    """What ratings depend on besides the cell, as JSON values."""

    def about(source: ImageSource, count: int) -> dict[str, Any]:
        return {
            "images": count,
            "labels": hashlib.sha256(source.labels[:count].cpu().numpy().tobytes()).hexdigest(),
            "mean": list(source.mean),
            "std": list(source.std),
        }

    found = {
        "teacher": {**teacher.identity, "statistics": "stored"},
        "images": about(images, len(images)),
        "calibration": about(calibration, config.calibration),
        "batch_size": config.batch_size,
        "batches": config.batches,
        "seed": config.seed,
    }
    return dict(json.loads(json.dumps(found)))


def _hash(net: CellNet) -> str:
    digest = hashlib.sha256()
    for parameter in net.parameters():  # running statistics are made anew for each path
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _key(chunk: int, prefix: tuple[int, ...]) -> str:
    return f"{chunk}:" + ".".join(map(str, prefix))
