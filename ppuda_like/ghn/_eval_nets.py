"""The networks that a hypernetwork is evaluated on, by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torchvision
from torch import nn

from ppuda_like._factories import SMALL_IMAGES
from ppuda_like.deepnets import DeepNets, NetworkConfig, sample_network
from ppuda_like.errors import PredictionError
from ppuda_like.vision import ImageSource, adapt_small_input

__all__ = ["EvalNets", "eval_nets"]


class EvalNets(Protocol):
    """Networks by number; it travels to other processes."""

    @property
    def split(self) -> str:
        """What they are, for people to read."""

    @property
    def identity(self) -> str:
        """All that the networks depend on, as text."""

    def name(self, number: int) -> str:
        """Name of a network."""

    def build(self, number: int) -> tuple[nn.Module, int]:
        """A network, randomly initialised, and its initial width; 0 where it has none."""


@dataclass(frozen=True, kw_only=True)
class _Generated:
    split: str
    seed: int | None
    width: int | None
    num_classes: int
    image_size: int

    @property
    def identity(self) -> str:
        return repr(self)

    def name(self, number: int) -> str:
        return str(number)

    def build(self, number: int) -> tuple[nn.Module, int]:
        config = sample_network(self.split, number, seed=self.seed)
        config = config.replace(num_classes=self.num_classes, is_imagenet_input=self.image_size >= SMALL_IMAGES)
        if not isinstance(config, NetworkConfig):
            return config.build(device="cpu"), 0
        config = config.replace(C=self.width or config.C)
        return config.build(device="cpu"), config.C


@dataclass(frozen=True, kw_only=True)
class _Stored:
    dataset: DeepNets
    width: int | None
    num_classes: int
    image_size: int

    @property
    def split(self) -> str:
        return self.dataset.split

    @property
    def identity(self) -> str:
        rows = list(self.dataset.indices())
        return f"{self.dataset!r} {self.dataset.facts!r} {rows} {self.width} {self.num_classes} {self.image_size}"

    def name(self, number: int) -> str:
        return str(number)

    def build(self, number: int) -> tuple[nn.Module, int]:
        changes = {
            "is_imagenet_input": self.image_size >= SMALL_IMAGES,
            "C": self.width or self.dataset.config(number).C,
        }
        return self.dataset.network(number, self.num_classes, device="cpu", **changes), changes["C"]


@dataclass(frozen=True, kw_only=True)
class _Torchvision:
    names: tuple[str, ...]
    num_classes: int
    image_size: int

    @property
    def split(self) -> str:
        return "torchvision"

    @property
    def identity(self) -> str:
        return repr(self)

    def name(self, number: int) -> str:
        return self.names[number]

    def build(self, number: int) -> tuple[nn.Module, int]:
        model: nn.Module = torchvision.models.get_model(self.names[number], num_classes=self.num_classes)
        return (adapt_small_input(model) if self.image_size < SMALL_IMAGES else model), 0


def eval_nets(
    split: str | DeepNets | Sequence[str], data: ImageSource, *, width: int | None, seed: int | None
) -> EvalNets:
    """The networks of a split, a store or torchvision, for the images and classes of a data set.

    Raises:
        PredictionError: if a torchvision name is unknown, or a width or seed is given that means nothing there.
    """
    num_classes, image_size = len(data.class_names), data.image_size
    if isinstance(split, str):
        return _Generated(split=split, seed=seed, width=width, num_classes=num_classes, image_size=image_size)
    if seed is not None:
        raise PredictionError(f"'seed' is for drawing a split, not for stored or torchvision networks (got {seed})")
    if isinstance(split, DeepNets):
        return _Stored(dataset=split, width=width, num_classes=num_classes, image_size=image_size)
    if width is not None:
        raise PredictionError(f"'width' is for generated networks, torchvision's have their own (got {width})")
    known = torchvision.models.list_models(torchvision.models)
    for name in split:
        if name not in known:
            raise PredictionError(f"torchvision has no classification model '{name}'; choose one of {', '.join(known)}")
    return _Torchvision(names=tuple(split), num_classes=num_classes, image_size=image_size)
