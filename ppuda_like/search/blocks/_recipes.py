"""The published trainings by blocks, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["RECIPES", "Recipe", "RecipeName"]

RecipeName = Literal[
    "sedona",
    "sedona-tiny",
    "sedona-imagenet",
    "predsim-tiny",
    "dgl",
    "dgl-curves",
    "dgl-imagenet",
    "dgl-buffer",
    "ddg",
    "dni",
]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A published training.

    Attributes:
        what: where it comes from.
        training: values of the training of each block, besides those of a network's.
        own: values of the training by blocks.
        method: the one that is meant, where another is not asked for.
        half: whether it was done in float16.
    """

    what: str
    training: Mapping[str, Any]
    own: Mapping[str, Any] = field(default_factory=dict)
    method: str = "sync"
    half: bool = False


_SEDONA = {"lr": 0.1, "final_lr": 0.01, "weight_decay": 1e-4, "clip": 0.0}
_STEP: dict[str, Any] = {"schedule": "step", "lr": 0.1, "weight_decay": 5e-4, "clip": 0.0}

RECIPES: Mapping[RecipeName, Recipe] = MappingProxyType(
    {
        "sedona": Recipe(
            what="SEDONA (ICLR 2021) on CIFAR-10: 64 000 steps, which are 182 epochs of 45 000 images",
            training={**_SEDONA, "epochs": 182, "batch_size": 128, "augment": "crop"},
            own={"label_smoothing": 0.1},
        ),
        "sedona-tiny": Recipe(
            what="SEDONA on Tiny-ImageNet, without the rotations by up to 20 degrees: 30 000 steps, 77 epochs",
            training={**_SEDONA, "epochs": 77, "batch_size": 256, "augment": "crop"},
            own={"label_smoothing": 0.1},
            half=True,
        ),
        "sedona-imagenet": Recipe(
            what="SEDONA on ImageNet: 600 000 steps, 120 epochs",
            training={**_SEDONA, "epochs": 120, "batch_size": 256, "augment": "imagenet"},
            own={"label_smoothing": 0.1},
            half=True,
        ),
        "predsim-tiny": Recipe(
            what="PredSim as SEDONA trains it on Tiny-ImageNet: Adam, and 40 classes in a batch for 15 000 steps; its "
            "learning rate is not published, this one is that of arXiv:1901.06656",
            training={
                **{"optimizer": "adam", "lr": 5e-4, "final_lr": 0.01, "weight_decay": 1e-4, "clip": 0.0},
                **{"epochs": 77, "batch_size": 256, "augment": "crop"},
            },
            own={"classes_per_batch": 40, "classes_steps": 15_000},
            half=True,
        ),
        "dgl": Recipe(
            what="the study of auxiliary networks of DGL (arXiv:1901.08164) on CIFAR-10",
            training={**_STEP, "epochs": 50, "batch_size": 128, "milestones": (15, 30, 45), "factor": 0.2},
        ),
        "dgl-curves": Recipe(
            what="the learning curves of DGL on CIFAR-10",
            training={
                **_STEP,
                **{"epochs": 100, "batch_size": 128, "milestones": tuple(range(15, 100, 15)), "factor": 0.2},
            },
        ),
        "dgl-imagenet": Recipe(
            what="DGL on ImageNet, by blocks and end to end: a tenth of the rate, and new momentum, each 10 epochs",
            training={
                **_STEP,
                **{"epochs": 50, "batch_size": 256, "weight_decay": 1e-4, "augment": "imagenet"},
                **{"milestones": (10, 20, 30, 40), "factor": 0.1},
            },
            own={"restart": True},
        ),
        "dgl-buffer": Recipe(
            what="asynchronous DGL with buffers on CIFAR-10: a fifth of the rate, and new momentum, each 15 own epochs",
            training={**_STEP, "epochs": 50, "batch_size": 128, "milestones": (15, 30, 45), "factor": 0.2},
            own={"restart": True},
            method="async",
        ),
        "ddg": Recipe(
            what="DGL against decoupled parallel backpropagation: ResNet-110 in two blocks on CIFAR-10",
            training={
                **_STEP,
                **{"lr": 0.01, "epochs": 300, "batch_size": 128, "milestones": (150, 225), "factor": 0.1},
            },
            own={"restart": True},
        ),
        "dni": Recipe(
            what="DGL against synthetic gradients on CIFAR-10; DGL itself for 1 500 epochs",
            training={
                **{"optimizer": "adam", "lr": 3e-5, "schedule": "constant", "weight_decay": 0.0, "clip": 0.0},
                **{"epochs": 2000, "batch_size": 256},
            },
            method="dni",
        ),
    }
)
"""Published trainings by name, for :meth:`BlockTrainConfig.recipe`."""
