"""FLOPs and parameters of the networks of NAS-Bench-201, from their cells alone."""

from __future__ import annotations

import torch
from torch import Tensor

from ppuda_like.predictors import NASBENCH201_EDGES, NASBENCH201_OPS

__all__ = ["CELLS_PER_STAGE", "CELL_CHANNELS", "CELL_CLASSES", "cell_costs"]

CELL_CHANNELS, CELLS_PER_STAGE, CELL_CLASSES = (16, 32, 64), 5, 100
"""Channels of the three stages, cells in each, and classes of the networks whose costs the benchmark tells."""

_SIDES = (32, 16, 8)
_TAPS = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}


def _convolution(ci: int, co: int, taps: int, side: int) -> tuple[int, int]:
    """Multiply-accumulates, and parameters with those of the batch norm behind."""
    return ci * co * taps * side**2, ci * co * taps + 2 * co


def _outside() -> list[int]:
    """Of everything but the cells: stem, two reduction blocks, the last batch norm and the classifier."""
    parts = [_convolution(3, CELL_CHANNELS[0], 9, _SIDES[0])]
    for ci, co, side in zip(CELL_CHANNELS, CELL_CHANNELS[1:], _SIDES[1:], strict=False):
        parts += [_convolution(ci, co, 9, side), _convolution(co, co, 9, side)]
        parts.append((ci * co * side**2, ci * co))  # the shortcut has no batch norm
    width = CELL_CHANNELS[-1]
    parts += [(0, 2 * width), (width * CELL_CLASSES, (width + 1) * CELL_CLASSES)]
    return [sum(column) for column in zip(*parts, strict=True)]


def _of_operation(taps: int) -> list[int]:
    """Of one operation, in all cells."""
    parts = [_convolution(c, c, taps, side) for c, side in zip(CELL_CHANNELS, _SIDES, strict=True)]
    return [CELLS_PER_STAGE * sum(column) for column in zip(*parts, strict=True)]


_OUTSIDE = torch.tensor(_outside(), dtype=torch.float64)
_PER_OPERATION = torch.tensor(
    [_of_operation(_TAPS[op]) if op in _TAPS else [0, 0] for op in NASBENCH201_OPS], dtype=torch.float64
)


def cell_costs(relaxed: Tensor) -> Tensor:
    """FLOPs and parameters, linear in the shares of operations on each edge, (n, 30) -> (n, 2).

    Counted as NAS-Bench-201 does (arXiv:2001.00326) for CIFAR-100: multiply-accumulates of convolutions and of the
    classifier; all parameters.  A convolution counts wherever it is, whether or not anything flows through it.
    """
    shares = relaxed.reshape(-1, len(NASBENCH201_EDGES), len(NASBENCH201_OPS)).sum(1)
    found: Tensor = _OUTSIDE.to(relaxed) + shares @ _PER_OPERATION.to(relaxed)
    return found
