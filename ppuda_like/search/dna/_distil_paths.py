"""Paths for the steps of a training, as functions of their numbers."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ppuda_like._seeds import derived_seed
from ppuda_like.search.dna._cell import Cell

__all__ = ["Sampling", "draw_path"]

Sampling = Literal["uniform", "fair"]


def draw_path(cell: Cell, draw: int, sampling: Sampling, seed: int) -> tuple[int, ...]:
    """The path of a draw, from 0.

    ``"uniform"``: each layer has each operation with the same probability.  ``"fair"``: of n draws from a multiple of n
    on, n being the operations, each layer has each operation exactly once, in an order of its own (strict fairness,
    arXiv:1907.01845).

    Args:
        cell: the path is of.
        draw: its number.
        sampling: how it is drawn.
        seed: of the cell's draws.

    Example:
        >>> from ppuda_like.search.dna import cifar_space
        >>> cell = cifar_space().stages[0].cells[0]
        >>> sorted(draw_path(cell, draw, "fair", seed=0)[1] for draw in range(8, 12))
        [0, 1, 2, 3]
    """
    count = len(cell.operations)
    if sampling == "uniform":
        rng = np.random.default_rng(derived_seed(seed, "uniform", draw))
        return tuple(rng.integers(count, size=cell.depth).tolist())
    block, place = divmod(draw, count)
    rng = np.random.default_rng(derived_seed(seed, "fair", block))
    return tuple(int(rng.permutation(count)[place]) for _ in range(cell.depth))
