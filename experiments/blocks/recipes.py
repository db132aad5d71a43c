"""What the experiments on blocks run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ppuda_like.search.blocks import BlockSearchConfig, BlockTrainConfig, ReplayConfig
from ppuda_like.search.blocks._train_config import Method
from ppuda_like.vision import ImageSource, NetTrainConfig, load_images, resized, subset

SEARCHED = {"vgg19": "VGG-19", "resnet50": "ResNet-50", "resnet101": "ResNet-101", "resnet152": "ResNet-152"}
OTHERS = (
    *("alexnet", "vgg16_bn", "resnet18", "resnet34", "mobilenet_v2", "efficientnet_b0", "regnet_y_400mf"),
    *("shufflenet_v2_x1_0", "densenet121", "googlenet", "convnext_tiny", "vit_b_16"),
)
NUMBERS = (2, 4, 8)  # of blocks
Cuts = Literal["searched", "uniform", "whole"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Images and a network, on which a search and all ways to train are compared.

    Attributes:
        name: of the results.
        title: of the pictures.
        images: name of a data set.
        size: of the images in pixels.
        network: of SEDONA, at a quarter of the usual width.
        num_images: to train on; all without.
        num_test: to measure on; all without.
        batch_size: of all training.
        epochs: of each training.
        lr: highest rate.
        search: values of the search.
        blocks: numbers of them.
        seeds: of each training: of initial weights and of the order of the images.
    """

    name: str
    title: str
    images: str
    size: int
    network: str
    num_images: int | None = None
    num_test: int | None = None
    batch_size: int
    epochs: int
    lr: float = 0.1
    search: dict[str, Any]
    blocks: tuple[int, ...] = (2, 4)
    seeds: tuple[int, ...] = (0, 1, 2)

    def load(self, split: Literal["train", "test"], cifar: Path | None, root: Path) -> ImageSource:
        """The images to train or to measure on."""
        name, wanted = (str(cifar), 32) if self.images == "cifar10" and cifar else (self.images, None)
        found = load_images(name, split, wanted if self.images == "cifar10" else self.size, root=root)
        number = self.num_images if split == "train" else self.num_test
        if number is not None and number < len(found):
            order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
            found = subset(found, order[:number])
        return resized(found, self.size)

    def searched(self, out: Path) -> BlockSearchConfig:
        """The search, of which there is one."""
        values: dict[str, Any] = {"batch_size": self.batch_size, "augment": "none", "lr": self.lr, **self.search}
        return BlockSearchConfig(out=out / self.name / "search", **values)

    def training(self, out: Path, seed: int, method: Method, **changes: Any) -> BlockTrainConfig:
        """A training: SGD with a cosine to a hundredth, as SEDONA's, but for the number of steps."""
        values: dict[str, Any] = {"epochs": self.epochs, "batch_size": self.batch_size, "augment": "none"}
        return BlockTrainConfig(
            training=NetTrainConfig(
                out=out, lr=self.lr, final_lr=0.01, weight_decay=1e-4, clip=0.0, seed=seed, **values
            ),
            method=method,
            label_smoothing=0.1,
            **changes,
        )


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to train that is compared.

    Attributes:
        name: in the tables.
        cuts: where the network is cut.
        auxiliary: network at each cut; the searched ones without.
        method: how blocks learn.
        options: of the auxiliary networks.
    """

    name: str
    cuts: Cuts
    auxiliary: str | None = None
    method: Method = "sync"


WAYS = (
    Way(name="end to end", cuts="whole", method="backprop"),
    Way(name="SEDONA: searched cuts, searched auxiliaries", cuts="searched"),
    Way(name="uniform cuts, light-1", cuts="uniform", auxiliary="light-1"),
    Way(name="uniform cuts, light-4", cuts="uniform", auxiliary="light-4"),
    Way(name="DGL: uniform cuts, mlp-sr", cuts="uniform", auxiliary="mlp-sr"),
    Way(name="PredSim: uniform cuts", cuts="uniform", auxiliary="predsim"),
    Way(name="sequential: uniform cuts, mlp-sr", cuts="uniform", auxiliary="mlp-sr", method="sequential"),
)

DIGITS = Task(
    name="digits",
    title="handwritten digits, 8 x 8 pixels, ResNet-18 at a quarter of its width",
    images="digits",
    size=8,
    network="resnet18",
    batch_size=32,
    epochs=3,
    search={"pretrain_steps": 200, "snapshots": 40, "capacity": 20, "iterations": 80, "unroll": 2}
    | {"val_batch_size": 256, "boundaries": 3, "num_candidates": 2, "outer_lr": 0.05},
)
CIFAR = Task(
    name="cifar10",
    title="CIFAR-10, 16 x 16 pixels, ResNet-18 at a quarter of its width",
    images="cifar10",
    size=16,
    network="resnet18",
    num_images=2_400,
    num_test=2_000,
    batch_size=32,
    epochs=2,
    search={"pretrain_steps": 150, "snapshots": 30, "capacity": 20, "iterations": 50, "unroll": 2}
    | {"val_batch_size": 128, "boundaries": 2, "num_candidates": 2, "outer_lr": 0.05},
)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """A setting of the asynchronous study: a buffer, and how much slower one of the blocks is.

    Attributes:
        size: batches that each buffer holds.
        slow_down: of the second block; 1 for the pace of the others.
    """

    size: int
    slow_down: float = 1.0

    @property
    def replay(self) -> ReplayConfig:
        """The buffers and paces."""
        noise = 1 - 1 / self.slow_down
        slow = {"slow_block": 1, "slow_noise": noise} if noise else {}
        return ReplayConfig(size=self.size, **slow)


@dataclass(frozen=True, kw_only=True)
class Study:
    """The asynchronous study.

    Attributes:
        task: images and network; its cuts are uniform, its auxiliary networks DGL's ``mlp``.
        num_blocks: number of blocks.
        sizes: of the buffers, with all blocks at one pace and with the largest slow-down.
        slow_downs: of the second block, with buffers of ``size``.
        size: of the buffers there, one of ``sizes``.
    """

    task: Task = DIGITS
    num_blocks: int = 4
    sizes: tuple[int, ...] = (1, 3, 10, 30)
    slow_downs: tuple[float, ...] = (1.0, 2.0, 5.0)
    size: int = 10

    def paces(self) -> Iterator[Pace]:
        """Every setting once."""
        most = max(self.slow_downs)
        yield from [Pace(size=size) for size in self.sizes]
        yield from [Pace(size=self.size, slow_down=slow) for slow in self.slow_downs if 1 < slow < most]
        yield from [Pace(size=size, slow_down=most) for size in self.sizes]


SMOKE_SEARCH = {"pretrain_steps": 2, "snapshots": 2, "iterations": 1, "unroll": 1, "val_batch_size": 16}
SMOKE = Task(
    name="digits",
    title="a trial",
    images="digits",
    size=8,
    network="resnet18",
    num_images=32,
    num_test=32,
    batch_size=16,
    epochs=1,
    search=SMOKE_SEARCH | {"boundaries": 1, "num_candidates": 2},
    blocks=(2,),
    seeds=(0,),
)
SMOKE_STUDY = Study(task=SMOKE, num_blocks=2, sizes=(1, 2), slow_downs=(1.0, 2.0), size=2)
