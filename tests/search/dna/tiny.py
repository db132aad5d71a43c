"""A two-stage space, a teacher of two convolutions, and a few digits."""

from pathlib import Path

import torch
from torch import nn

from ppuda_like.search.dna import Cell, DistilConfig, Head, Space, Stage, Stem, Teacher, mobile_operations
from ppuda_like.vision import ImageSource, digits, subset

OPERATIONS = mobile_operations((3,), (1, 2, 3))
WIDTHS = (6, 10)


def space(depths: tuple[int, int] = (2, 2)) -> Space:
    """Images of 16 pixels, features of 8 and 4, two cells in the second stage."""
    first, second = depths
    return Space(
        name="tiny",
        stem=Stem(width=4, stride=1),
        stages=(
            Stage(cells=(Cell(depth=first, width=4, operations=OPERATIONS),), stride=2),
            Stage(
                cells=(
                    Cell(depth=second, width=4, operations=OPERATIONS[:2]),
                    Cell(depth=1, width=6, operations=OPERATIONS),
                ),
                stride=2,
            ),
        ),
        head=Head(width=8, num_classes=10),
        image_size=16,
    )


def model() -> nn.Sequential:
    """Works in place behind the first tap."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, 2, 1),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(inplace=True),
            nn.Conv2d(WIDTHS[0], WIDTHS[1], 3, 2, 1),
            nn.BatchNorm2d(WIDTHS[1]),
            nn.Flatten(),
            nn.Linear(WIDTHS[1] * 16, 10),
        )
    return found.eval()


def teacher() -> Teacher:
    return Teacher(model(), ("1", "4"), name="two convolutions")


def images(count: int = 48) -> ImageSource:
    return subset(digits("val", size=16), list(range(count)))


def config(out: Path, **changes: object) -> DistilConfig:
    given: dict[str, object] = {"epochs": 2, "batch_size": 24, "augment": "none", "lr": (0.01,)}
    return DistilConfig(out=out, **given | changes)  # type: ignore[arg-type]
