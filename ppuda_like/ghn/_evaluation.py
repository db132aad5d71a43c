"""Accuracy of networks whose parameters a hypernetwork predicted."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import torchvision
from torch import nn
from tqdm import tqdm

from ppuda_like._files import replacing
from ppuda_like.deepnets import NetworkConfig, sample_network
from ppuda_like.errors import PredictionError
from ppuda_like.ghn._hypernetwork import GHN
from ppuda_like.vision import ImageSource, adapt_small_input, evaluate

__all__ = ["GHNEvaluation", "NetEvaluation", "eval_ghn"]

_SMALL = 64  # images below this size: torchvision models get the small-input adaptation


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
    split: str | Sequence[str],
    num_nets: int,
    data: ImageSource,
    *,
    width: int | None = None,
    seed: int | None = None,
    batch_size: int = 64,
    csv_path: str | Path | None = None,
    progress: bool | None = None,
) -> GHNEvaluation:
    """Accuracy of networks with predicted parameters, without any training of theirs.

    Batch normalisation uses the statistics of each batch, as in training.

    Args:
        ghn: the hypernetwork.
        split: a split of DeepNets-1M, or names of torchvision models, which get the small-input adaptation where
            images are smaller than 64 pixels.
        num_nets: how many of them, from the first.
        data: the images.
        width: initial width of generated networks; None for the split's own.
        seed: of the sampling; None for the split's own.
        batch_size: images at a time.
        csv_path: file to write the accuracies to, one row per network.
        progress: show a progress bar; None for only in a terminal.

    Returns:
        Accuracy of each network, their mean, standard error and best.

    Raises:
        PredictionError: if there is no network to evaluate, or a torchvision name is unknown.
    """
    if num_nets < 1 or not split:
        raise PredictionError(f"there must be at least one network to evaluate (got {num_nets} of {split!r})")
    nets = []
    names = [str(i) for i in range(num_nets)] if isinstance(split, str) else list(split)[:num_nets]
    with tqdm(names, desc="evaluate", unit="net", disable=None if progress is None else not progress) as bar:
        for name in bar:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)  # for parameters that are not predicted, if any
                if isinstance(split, str):
                    model, used = _generated(split, int(name), seed, width, len(data.class_names), data.image_size)
                else:
                    model, used = _torchvision(name, len(data.class_names), data.image_size), 0
            nets.append(_evaluate(ghn, model, name, used, data, batch_size))
            bar.set_postfix({"mean top-1": f"{statistics.fmean(net.top1 for net in nets):.3f}"}, refresh=False)
    found = GHNEvaluation(split=split if isinstance(split, str) else "torchvision", nets=tuple(nets))
    if csv_path is not None:
        found.to_csv(csv_path)
    return found


def _generated(
    split: str, index: int, seed: int | None, width: int | None, num_classes: int, size: int
) -> tuple[nn.Module, int]:
    config = sample_network(split, index, seed=seed)
    config = config.replace(num_classes=num_classes, is_imagenet_input=size >= _SMALL)
    if isinstance(config, NetworkConfig):
        config = config.replace(C=width or config.C)
    return config.build(device="cpu"), config.C if isinstance(config, NetworkConfig) else 0


def _torchvision(name: str, num_classes: int, size: int) -> nn.Module:
    known = torchvision.models.list_models(torchvision.models)
    if name not in known:
        raise PredictionError(f"torchvision has no classification model '{name}'; choose one of {', '.join(known)}")
    model: nn.Module = torchvision.models.get_model(name, num_classes=num_classes)
    return adapt_small_input(model) if size < _SMALL else model


def _evaluate(ghn: GHN, model: nn.Module, name: str, width: int, data: ImageSource, batch_size: int) -> NetEvaluation:
    start = time.perf_counter()
    ghn.fill(model, input_shape=(1, 3, data.image_size, data.image_size))
    found = evaluate(model, data, batch_size=batch_size, progress=False)
    return NetEvaluation(
        net=name,
        width=width,
        num_params=sum(parameter.numel() for parameter in model.parameters()),
        top1=found.top1,
        top5=found.top5,
        loss=found.loss,
        seconds=time.perf_counter() - start,
    )
