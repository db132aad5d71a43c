"""The runs behind the comparison of predicted and random backbones for detection."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torchvision.models import get_model

from ppuda_like.deepnets import Network, sample_network
from ppuda_like.ghn import GHN
from ppuda_like.vision import DetectConfig, DetectorConfig, adapt_small_input

Init = Literal["predicted", "random"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Which runs.

    Attributes:
        backbones: torchvision names, or ``test:I:C`` for network I of DeepNets' test split at initial width C.
        inits: where their weights come from.
        seeds: of random weights, heads, order and mirroring.
        ghn: the hypernetwork.
        epochs: of each run.
        batch_size: images in one step.
        lr: learning rate, a tenth after each 3 epochs.
        num_images: generated images, where no data are given.
        num_test: of them, or of the data, to test on.
        image_size: height and width of generated images.
        parts: the detector.
        small_input: weaken the stems of torchvision models.
    """

    backbones: tuple[str, ...]
    inits: tuple[Init, ...] = ("predicted", "random")
    seeds: tuple[int, ...]
    ghn: str = "ghn2-cifar10"
    epochs: int
    batch_size: int = 2
    lr: float = 0.005
    num_images: int = 170
    num_test: int = 50
    image_size: tuple[int, int] = (64, 96)
    parts: DetectorConfig
    small_input: bool = True


def smoke() -> Comparison:
    """Ends within a minute on one core: whether everything runs, not how well."""
    return Comparison(
        backbones=("test:11:8",),
        seeds=(0,),
        epochs=1,
        num_images=10,
        num_test=4,
        image_size=(32, 48),
        parts=DetectorConfig(min_size=32, max_size=48, anchor_sizes=(16, 32), head_width=16, proposals=20),
    )


def generated(epochs: int) -> Comparison:
    """Two generated networks on drawn figures: what a laptop can do while it is busy with something else."""
    return Comparison(
        backbones=("test:3:16", "test:11:16"),
        seeds=(0, 1),
        epochs=epochs,
        batch_size=4,
        lr=0.04,  # backbones and heads are small, and the published rate is for ten epochs of large ones
        num_images=450,
        parts=DetectorConfig(min_size=64, max_size=96, anchor_sizes=(16, 32, 64), head_width=64, proposals=100),
    )


def published() -> Comparison:
    """The published recipe on Penn-Fudan, with a hypernetwork for ImageNet: hours on a CPU, minutes on a GPU."""
    return Comparison(
        backbones=("resnet50",),
        seeds=(0, 1, 2),
        epochs=10,
        parts=DetectorConfig(),
        small_input=False,
    )


def build(name: str, seed: int, *, small_input: bool) -> nn.Module:
    """A backbone with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith("test:"):
            _, index, width = name.split(":")
            config = sample_network("test", int(index)).replace(C=int(width))
            return Network(**{field.name: getattr(config, field.name) for field in fields(config)})
        model: nn.Module = get_model(name, weights=None)
        return adapt_small_input(model) if small_input else model


def fill(model: nn.Module, init: Init, ghn: str) -> None:
    """Replace random weights by predicted ones, if these are asked for."""
    if init == "predicted":
        GHN.from_pretrained(ghn).fill(model, predict_class_layers=False, bn_train=False)


def training(comparison: Comparison, out: Path, backbone: str, init: Init, seed: int) -> DetectConfig:
    """One run: the published recipe, but for the number of epochs, the batch and the learning rate."""
    name = f"{backbone}-{init}-{seed}".replace(":", "_")
    return DetectConfig(
        out=out / name,
        epochs=comparison.epochs,
        batch_size=comparison.batch_size,
        lr=comparison.lr,
        seed=seed,
        name=f"{name}, {comparison.ghn}" if init == "predicted" else name,
    )
