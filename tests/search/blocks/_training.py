"""What the tests of training share: images, small networks, configs."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ppuda_like.graph import Partition, trace
from ppuda_like.search.blocks import AuxiliaryNet, BlockTrainConfig, BlockwiseModel, auxiliaries_for, split
from ppuda_like.vision import ImageData, NetTrainConfig


def images(n: int = 32, seed: int = 0) -> ImageData:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    pixels = torch.rand(n, 3, 8, 8, generator=generator) / 2
    pixels[torch.arange(n), labels] += 0.4  # the channel tells the class
    return ImageData(images=pixels, labels=labels, class_names=("a", "b", "c"))


def network(dropout: float = 0.0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(
            *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
        )


def blocks_of(model: nn.Module, ends: tuple[str, ...] = ("3", "7")) -> BlockwiseModel:
    return split(model, Partition.at(trace(model, (2, 3, 8, 8)), list(ends))).double()


def parts(
    dropout: float = 0.0, ends: tuple[str, ...] = ("3", "7"), name: str = "light-1"
) -> tuple[BlockwiseModel, list[AuxiliaryNet]]:
    model = blocks_of(network(dropout), ends)
    return model, [net.double() for net in auxiliaries_for(model, name, 3, **OPTIONS.get(name, {}))]


OWN = {field.name for field in dataclasses.fields(BlockTrainConfig)} - {"training", "method"}
OPTIONS: dict[str, dict[str, Any]] = {"light-1": {"features": 8}}


def config(out: Path, method: str = "sync", **changes: Any) -> BlockTrainConfig:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "augment": "none", "lr": 0.1, "val_batch_size": 32}
    own = {key: changes.pop(key) for key in OWN if key in changes}
    training = NetTrainConfig(out=out, **(options | changes))
    return BlockTrainConfig(training=training, method=method, **own)  # type: ignore[arg-type]


def weights(*modules: nn.Module) -> dict[str, Tensor]:
    return {f"{i}.{key}": t.clone() for i, m in enumerate(modules) for key, t in m.state_dict().items()}


def assert_equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [key for key in one if not one[key].equal(other[key])] == []


class Stopper:
    """A log that asks the run to stop after the first epoch."""

    def __call__(self, metrics: Mapping[str, float], step: int) -> None:
        if metrics["epoch"] == 1:
            signal.raise_signal(signal.SIGTERM)
