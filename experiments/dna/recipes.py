"""What the experiment trains: the teacher, the space, and how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from ppuda_like._seeds import derived_seed
from ppuda_like.search.dna import (
    Cell,
    DistilConfig,
    Head,
    RateConfig,
    Space,
    Stage,
    Stem,
    mobile_operations,
    parse_layer,
)
from ppuda_like.vision import NetTrainConfig

TAPS = ("stages.1", "stages.2", "stages.3", "stages.4")
SIDES = (8, 8, 4, 4)  # of the features behind the stages, for images of 32 pixels


class SmallResNet(nn.Module):
    """Residual blocks of torchvision at small widths; the first stage only brings images of 32 pixels to 16.

    Args:
        widths: of the first stage and of the four that a supernet imitates.
        blocks: of each stage.
        num_classes: of the images.
    """

    def __init__(self, widths: tuple[int, ...], blocks: int = 1, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        stages, before = [], 16
        for width, stride in zip(widths, (2, 2, 1, 2, 1), strict=True):
            made = []
            for place in range(blocks):
                step = 1 if place else stride
                adapted = nn.Sequential(nn.Conv2d(before, width, 1, step, bias=False), nn.BatchNorm2d(width))
                made.append(BasicBlock(before, width, step, adapted if step > 1 or before != width else None))
                before = width
            stages.append(nn.Sequential(*made))
        self.stages = nn.Sequential(*stages)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.stages(self.stem(images)))
        return logits


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that the experiment depends on besides its images.

    Attributes:
        space: of the networks; its stages have the sides of the teacher's.
        teacher_widths: the last four are those of the taps, twice the space's as in the published supernet.
        teacher: changes to the teacher's training.
        distil: changes to the supernet's.
        network: changes to that of each network that is compared.
        supernet_images: that the supernets are trained on; the teacher has all.
        network_images: that the networks are trained on.
        rating_images: of the validation split, to rate paths on.
        test_images: of the test split, for the accuracies.
        budget: most MACs of a network.
        random: networks drawn for comparison, of nearly the budget's MACs.
        supernets: seeds of the supernets, each of which finds a network.
        seeds: of the trainings of each network.
    """

    space: Space
    teacher_widths: tuple[int, ...] = (32, 32, 48, 80, 128)
    teacher: dict[str, Any] = field(default_factory=dict)
    distil: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    supernet_images: int
    network_images: int
    rating_images: int
    test_images: int = 5_000
    budget: int
    random: int = 8
    supernets: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0, 1)

    def build_teacher(self) -> SmallResNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(0, "teacher"))
            return SmallResNet(self.teacher_widths)

    def teacher_config(self, out: Path) -> NetTrainConfig:
        return NetTrainConfig(out=out / "teacher", **_SGD | self.teacher)

    def distil_config(self, out: Path, seed: int) -> DistilConfig:
        return DistilConfig(out=out / f"supernet{seed}", seed=seed, **self.distil)

    def rate_config(self, out: Path, seed: int) -> RateConfig:
        return RateConfig(out=out / f"ratings{seed}", batch_size=64, calibration=min(256, self.rating_images))

    def network_config(self, out: Path, name: str, seed: int) -> NetTrainConfig:
        return NetTrainConfig(out=out / "networks" / f"{name}-seed{seed}", seed=seed, **_SGD | self.network)


_SGD: dict[str, Any] = {
    "batch_size": 64,
    "lr": 0.1,
    "nesterov": True,
    "weight_decay": 5e-4,
    "warmup": 0.2,
    "clip": 0.0,
    "channels_last": True,
    "val_batch_size": 250,
}


def small_space(widths: tuple[int, ...], depth: int) -> Space:
    """Four stages on images of 32 pixels, 4 operations at each layer: kernels 3 and 5, expansions 6 and 3."""
    operations = mobile_operations((3, 5))
    return Space(
        name="dna-small",
        stages=tuple(
            Stage(cells=(Cell(depth=depth, width=width, operations=operations),), stride=stride)
            for width, stride in zip(widths, (2, 1, 2, 1), strict=True)
        ),
        first=(parse_layer("ds_r1_k3_s1_c16_se0.25"),),
        stem=Stem(width=16, stride=2),
        head=Head(width=160, num_classes=10),
        image_size=32,
    )


def full() -> Recipe:
    """Half an hour of one core: 16.8 million networks of 3.3 to 6.9 million MACs, those compared near 4 million."""
    return Recipe(
        space=small_space((16, 24, 40, 64), depth=3),
        teacher={"epochs": 5, "augment": "crop", "warmup": 0.5},
        distil={"epochs": 3, "lr": (0.04,), "decay": 0.5, "augment": "crop", "sampling": "fair"},
        network={
            "epochs": 2,
            "batch_size": 32,
            "optimizer": "adamw",
            "nesterov": False,
            "lr": 0.003,
            "augment": "none",
        },
        supernet_images=8_000,
        network_images=6_000,
        rating_images=1_000,
        budget=4_000_000,
    )


def smoke() -> Recipe:
    """Half a minute on digits: one layer a stage, 256 networks."""
    return Recipe(
        space=small_space((8, 8, 12, 16), depth=1),
        teacher_widths=(16, 16, 16, 24, 32),
        teacher={"epochs": 2, "augment": "affine", "warmup": 0.5},
        distil={"epochs": 2, "lr": (0.01,), "decay": 0.5, "augment": "affine"},
        network={"epochs": 4, "batch_size": 32, "augment": "affine"},
        supernet_images=512,
        network_images=512,
        rating_images=128,
        budget=700_000,
        random=3,
        seeds=(0,),
    )
