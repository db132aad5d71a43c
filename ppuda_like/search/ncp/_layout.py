"""Which of the 27 numbers of a multi-resolution code is what."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["CHANNEL_STEP", "HIGH", "LAST", "LOW", "NAMES", "STAGES", "STEM", "STEP", "Stage"]

CHANNEL_STEP = 8
_COUNTS, _CHANNELS = (1, 4, 1), (CHANNEL_STEP, 128, CHANNEL_STEP)  # least, greatest, step


class Stage(NamedTuple):
    """Places of the numbers of a stage.

    Attributes:
        repeats: of the number of its modules.
        blocks: of the numbers of residual blocks, one per branch from the highest resolution down.
        channels: of the numbers of channels, likewise.
    """

    repeats: int
    blocks: tuple[int, ...]
    channels: tuple[int, ...]


def _stages() -> tuple[Stage, ...]:
    found, place = [], 2
    for branches in range(1, 5):
        blocks = range(place + 1, place + 1 + branches)
        channels = range(blocks.stop, blocks.stop + branches)
        found.append(Stage(place, tuple(blocks), tuple(channels)))
        place = channels.stop
    return tuple(found)


STEM = (0, 1)
STAGES = _stages()
LAST = STAGES[-1].channels[-1] + 1


def _names() -> tuple[str, ...]:
    names = ["in0", "in1"]
    for number, stage in enumerate(STAGES, start=1):
        branches = range(1, len(stage.blocks) + 1)
        names += [f"m{number}", *(f"n{number}_{i}" for i in branches), *(f"c{number}_{i}" for i in branches)]
    return (*names, "out")


NAMES = _names()
"""As the benchmark calls them: modules m, blocks n and channels c of stages and branches, channels of stem and end."""

LOW, HIGH, STEP = np.array([_COUNTS if name[0] in "mn" else _CHANNELS for name in NAMES], dtype=np.int64).T.copy()
"""The legal values of each number: LOW, LOW + STEP, ..., HIGH."""

for _array in (LOW, HIGH, STEP):
    _array.flags.writeable = False
