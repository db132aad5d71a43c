"""The space of NAS-Bench-201: an operation on each of six edges, 15,625 cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ppuda_like.predictors import NASBENCH201_EDGES, NASBENCH201_OPS
from ppuda_like.search.ncp._cell_costs import cell_costs
from ppuda_like.search.ncp._cell_features import cell_features
from ppuda_like.search.ncp._space import code_array, relaxed_array

__all__ = ["NASBENCH201", "CellSpace"]

_EDGES, _OPS = len(NASBENCH201_EDGES), len(NASBENCH201_OPS)
_LEAST, _GREATEST, _STEP = np.zeros(_EDGES), np.full(_EDGES, _OPS - 1), np.ones(_EDGES)


@dataclass(frozen=True)
class CellSpace:
    """The search space of NAS-Bench-201 (arXiv:2001.00326), a :class:`CodeSpace`.

    A code is the number of an operation, among :data:`NASBENCH201_OPS`, on each of :data:`NASBENCH201_EDGES`.  A
    relaxed code is the share of each operation on each edge, 5 numbers an edge; of a code, one of them is 1.

    Example:
        >>> NASBENCH201.relax([[0, 1, 2, 3, 4, 4]])[0, :10]
        array([1., 0., 0., 0., 0., 0., 1., 0., 0., 0.])
    """

    name: ClassVar[str] = "nas-bench-201"
    names: ClassVar[tuple[str, ...]] = tuple(f"e{target}<{source}" for source, target in NASBENCH201_EDGES)
    low: ClassVar[NDArray[np.float64]] = np.zeros(_EDGES * _OPS)
    high: ClassVar[NDArray[np.float64]] = np.ones(_EDGES * _OPS)

    def check(self, codes: ArrayLike) -> NDArray[np.int64]:
        """See :meth:`CodeSpace.check`."""
        return code_array(codes, self.names, _LEAST, _GREATEST, _STEP, "NAS-Bench-201")

    def relax(self, codes: ArrayLike) -> NDArray[np.float64]:
        """One-hot, edge by edge; see :meth:`CodeSpace.relax`."""
        found: NDArray[np.float64] = np.eye(_OPS)[self.check(codes)].reshape(-1, _EDGES * _OPS)
        return found

    def round(self, relaxed: ArrayLike) -> NDArray[np.int64]:
        """The operation with the greatest share on each edge, the first of equals; see :meth:`CodeSpace.round`."""
        shares = relaxed_array(relaxed, _EDGES * _OPS, "NAS-Bench-201")
        found: NDArray[np.int64] = shares.reshape(-1, _EDGES, _OPS).argmax(axis=2).astype(np.int64)
        return found

    def sample(self, num: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """See :meth:`CodeSpace.sample`."""
        return rng.integers(_OPS, size=(num, _EDGES))

    def neighbours(self, code: ArrayLike) -> NDArray[np.int64]:
        """The 24 codes with another operation on one edge; see :meth:`CodeSpace.neighbours`."""
        (ops,) = self.check(code)
        found = np.repeat(ops[None], _EDGES * (_OPS - 1), axis=0)
        place = np.arange(len(found)) // (_OPS - 1)
        turn = np.arange(len(found)) % (_OPS - 1) + 1
        found[np.arange(len(found)), place] = (ops[place] + turn) % _OPS
        return found

    def costs(self, codes: ArrayLike) -> NDArray[np.float64]:
        """See :meth:`CodeSpace.costs`: a classifier of 100 classes on images of 32 x 32 pixels."""
        found: NDArray[np.float64] = cell_costs(torch.from_numpy(self.relax(codes))).numpy()
        return found

    def relaxed_costs(self, relaxed: Tensor) -> Tensor:
        """See :meth:`CodeSpace.relaxed_costs`; linear in the shares."""
        return cell_costs(relaxed)

    def features(self, relaxed: Tensor) -> Tensor:
        """See :meth:`CodeSpace.features`."""
        return cell_features(relaxed)


NASBENCH201 = CellSpace()
"""The space of :class:`CellCode`."""
