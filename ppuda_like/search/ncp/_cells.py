"""Codes of the cells of NAS-Bench-201."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppuda_like.graph import ComputationalGraph, trace
from ppuda_like.predictors import NASBENCH201_OPS, cell_graph
from ppuda_like.search.ncp._cell_costs import CELL_CLASSES
from ppuda_like.search.ncp._cell_network import CellNet
from ppuda_like.search.ncp._cell_space import NASBENCH201
from ppuda_like.search.ncp._text import cell_text, parse_cell

__all__ = ["CellCode"]


@dataclass(frozen=True)
class CellCode:
    """A cell of NAS-Bench-201 (arXiv:2001.00326), valid by construction.

    ``numpy.asarray(code)`` is the array of the numbers.

    Attributes:
        numbers: of the operations, among :data:`NASBENCH201_OPS`, on each of :data:`NASBENCH201_EDGES`.

    Raises:
        CodeError: if they are not 6 numbers of operations.

    Example:
        >>> code = CellCode((3, 1, 2, 4, 0, 2))
        >>> code.text
        '|nor_conv_1x1~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|'
        >>> CellCode.from_text(code.text) == code
        True
        >>> code.params, code.flops
        (350196, 47110400)
    """

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        (numbers,) = NASBENCH201.check([self.numbers]).tolist()
        object.__setattr__(self, "numbers", tuple(numbers))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.numbers, dtype=np.int64 if dtype is None else dtype)

    @classmethod
    def from_text(cls, text: str) -> CellCode:
        """The cell of an architecture string, as :attr:`text`.

        Raises:
            CodeError: if it is none.
        """
        return cls(tuple(parse_cell(text)))

    @classmethod
    def random(cls, rng: np.random.Generator) -> CellCode:
        """A cell drawn uniformly from the space."""
        return cls(tuple(NASBENCH201.sample(1, rng)[0].tolist()))

    @property
    def text(self) -> str:
        """The architecture string of the benchmark."""
        return cell_text(self.numbers)

    @property
    def ops(self) -> tuple[str, ...]:
        """Names of the operations."""
        return tuple(NASBENCH201_OPS[number] for number in self.numbers)

    def neighbours(self) -> list[CellCode]:
        """The 24 cells with another operation on one edge."""
        return [CellCode(tuple(code)) for code in NASBENCH201.neighbours(self.numbers).tolist()]

    @property
    def flops(self) -> int:
        """Multiply-accumulates of the network for CIFAR-100, as the benchmark counts them."""
        return int(NASBENCH201.costs([self.numbers])[0, 0])

    @property
    def params(self) -> int:
        """Parameters of the network for CIFAR-100."""
        return int(NASBENCH201.costs([self.numbers])[0, 1])

    def graph(self) -> ComputationalGraph:
        """The graph of the cell alone, one for all cells that compute the same; see :func:`cell_graph`."""
        return cell_graph(self.numbers)

    def network(self, num_classes: int = CELL_CLASSES) -> CellNet:
        """The network of the benchmark with this cell, with fresh weights."""
        return CellNet(self.numbers, num_classes)

    def to_graph(self) -> ComputationalGraph:
        """The computational graph of the network, every tensor operation of it, without making weights."""
        with torch.device("meta"):
            net = self.network()
        return trace(net)
