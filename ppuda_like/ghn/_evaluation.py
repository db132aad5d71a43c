"""Accuracy of networks whose parameters a hypernetwork predicted."""

from __future__ import annotations

import csv
import hashlib
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like._partial import PartialResults
from ppuda_like.deepnets import DeepNets
from ppuda_like.errors import PredictionError
from ppuda_like.ghn._eval_nets import EvalNets, eval_nets
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.vision import ImageSource, evaluate

__all__ = ["GHNEvaluation", "NetEvaluation", "eval_ghn"]

_CHUNK = 4  # networks in one task of an executor: the images and the hypernetwork travel with each


@dataclass(frozen=True, kw_only=True)
class NetEvaluation:
    """Accuracy of one network with predicted parameters.

    Attributes:
        net: position in the split, or torchvision name.
        width: initial width of a generated network; 0 of a torchvision model.
        num_params: number of scalars in its parameters.
        top1: accuracy, 0..1.
        top5: share of images whose label is among the five best, 0..1.
        loss: mean cross entropy.
        seconds: time of the evaluation, prediction included.
    """

    net: str
    width: int
    num_params: int
    top1: float
    top5: float
    loss: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class GHNEvaluation:
    """Accuracies of a split's networks with predicted parameters.

    Attributes:
        split: split of DeepNets-1M, or ``"torchvision"``.
        nets: one entry per network.
    """

    split: str
    nets: tuple[NetEvaluation, ...]

    @property
    def mean(self) -> float:
        """Mean top-1 accuracy."""
        return statistics.fmean(net.top1 for net in self.nets)

    @property
    def mean_top5(self) -> float:
        """Mean top-5 accuracy."""
        return statistics.fmean(net.top5 for net in self.nets)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; 0 for a single network."""
        n = len(self.nets)
        return statistics.stdev(net.top1 for net in self.nets) / n**0.5 if n > 1 else 0.0

    @property
    def best(self) -> NetEvaluation:
        """The network of the highest top-1 accuracy."""
        return max(self.nets, key=lambda net: net.top1)

    def to_csv(self, path: str | Path) -> None:
        """Write one row per network; the file appears complete or not at all."""
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(NetEvaluation)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(net) for net in self.nets)


def eval_ghn(
    ghn: GHN,
    split: str | DeepNets | Sequence[str],
    nets: int | Sequence[int] | None,
    data: ImageSource,
    *,
    width: int | None = None,
    seed: int | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    executor: Executor | None = None,
    csv_path: str | Path | None = None,
    progress: bool | None = None,
) -> GHNEvaluation:
    """Accuracy of networks with predicted parameters, without any training of theirs.

    Batch normalisation uses the statistics of each batch, as in training.  With ``csv_path``, the networks done so far
    are kept beside that file, and the same call continues with the rest after an interruption or an error.

    Args:
        ghn: the hypernetwork.
        split: a split of DeepNets-1M, a dataset of stored networks, or names of torchvision models, which get the
            small-input adaptation where images are smaller than 64 pixels.
        nets: which of them: so many, from the first; or these numbers; None for all of a dataset or of the names.
        data: the images.
        width: initial width of generated networks; None for their own.
        seed: of the sampling of a split; None for the split's own.
        batch_size: images at a time.
        device: where the hypernetwork and the networks run; ``ghn`` is moved there.
        executor: where the networks are shared out to, processes or a cluster; None for this process.
        csv_path: file to write the accuracies to, one row per network.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        Accuracy of each network, in the order asked for, their mean, standard error and best.

    Raises:
        PredictionError: if there is no network to evaluate, or a torchvision name is unknown.
        DataError: if the results kept beside ``csv_path`` are of another evaluation.
    """
    source = eval_nets(split, data, width=width, seed=seed)
    numbers = _numbers(split, nets)
    csv_path = None if csv_path is None else Path(csv_path)
    job = _Job(ghn=ghn.to(device).eval(), nets=source, data=data, batch_size=batch_size, device=str(device))
    kept = PartialResults(csv_path, job.identity() if csv_path else "")
    found = {int(key): NetEvaluation(**value) for key, value in kept.found.items()}
    rest = [number for number in dict.fromkeys(numbers) if number not in found]
    done = len(set(numbers)) - len(rest)
    disable = None if progress is None else not progress
    with tqdm(desc="evaluate", unit="net", total=done + len(rest), initial=done, disable=disable) as bar:
        for number, result in _results(job, rest, executor):
            found[number] = result
            kept.add(str(number), asdict(result))
            bar.update()
            bar.set_postfix(
                {"mean top-1": f"{statistics.fmean(net.top1 for net in found.values()):.3f}"}, refresh=False
            )
    evaluation = GHNEvaluation(split=source.split, nets=tuple(found[number] for number in numbers))
    if csv_path is not None:
        evaluation.to_csv(csv_path)
        kept.close()
    return evaluation


def _numbers(split: str | DeepNets | Sequence[str], nets: int | Sequence[int] | None) -> list[int]:
    most = None if isinstance(split, str) else len(split)
    if nets is None:
        if most is None:
            raise PredictionError(f"say how many networks of split {split!r} to evaluate, or which: it has no end")
        nets = most
    if isinstance(nets, int):
        nets = range(nets if most is None else min(nets, most))
    if not len(nets):
        raise PredictionError(f"there must be at least one network to evaluate (got {nets!r} of {split!r})")
    outside = [number for number in nets if number < 0 or (most is not None and number >= most)]
    if outside:
        raise PredictionError(f"there is no network {outside[0]} in {split!r}; networks are numbered from 0")
    return list(nets)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What an evaluation of one network needs; it travels to other processes."""

    ghn: GHN
    nets: EvalNets
    data: ImageSource
    batch_size: int
    device: str

    def identity(self) -> str:
        """All that a result depends on, as text."""
        weights = hashlib.sha256()
        for name, tensor in self.ghn.state_dict().items():
            weights.update(name.encode())
            weights.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        images = f"{getattr(self.data, 'name', '')} {len(self.data)} {self.data.image_size}"
        return f"{self.ghn.config} {weights.hexdigest()[:16]} {self.nets.identity} {images} {self.batch_size}"

    def __call__(self, numbers: Sequence[int]) -> list[NetEvaluation]:
        """Evaluate some networks."""
        return [self.evaluate(number) for number in numbers]

    def evaluate(self, number: int) -> NetEvaluation:
        """Predict the parameters of one network and measure its accuracy."""
        start = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # for parameters that are not predicted, if any
            model, width = self.nets.build(number)
        # Channels last: depthwise convolutions and pools on the CPU run about twice as fast.
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ghn.fill(model, input_shape=(1, 3, self.data.image_size, self.data.image_size))
        found = evaluate(model, self.data, batch_size=self.batch_size, progress=False)
        return NetEvaluation(
            net=self.nets.name(number),
            width=width,
            num_params=sum(parameter.numel() for parameter in model.parameters()),
            top1=found.top1,
            top5=found.top5,
            loss=found.loss,
            seconds=time.perf_counter() - start,
        )


def _results(job: _Job, numbers: list[int], executor: Executor | None) -> Iterator[tuple[int, NetEvaluation]]:
    """Results as they come, with the number of the network."""
    if executor is None:
        for number in numbers:
            yield number, job.evaluate(number)
        return
    futures = {executor.submit(job, chunk): chunk for chunk in _chunks(numbers)}
    try:
        for future in as_completed(futures):
            yield from zip(futures[future], future.result(), strict=True)
    finally:
        for future in futures:
            future.cancel()


def _chunks(numbers: list[int]) -> Iterator[list[int]]:
    for first in range(0, len(numbers), _CHUNK):
        yield numbers[first : first + _CHUNK]
