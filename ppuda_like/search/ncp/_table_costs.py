"""Costs that files of tables tell, compared with the exact ones."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import DataError
from ppuda_like.predictors import NASBENCH201_EDGES, NASBENCH201_OPS
from ppuda_like.search.ncp._cell_space import NASBENCH201
from ppuda_like.search.ncp._multi_resolution_space import MULTI_RESOLUTION
from ppuda_like.search.ncp._space import COST_NAMES, CodeSpace

__all__ = ["is_cost", "verify_costs"]

_logger = logging.getLogger(__name__)

_Units = tuple[tuple[float, float], tuple[float, float]]  # of FLOPs and parameters: unit, and half the last digit
_UNITS: Mapping[str, _Units] = {
    MULTI_RESOLUTION.name: ((1e9, 0.5), (1e6, 0.5)),
    NASBENCH201.name: ((1e6, 5.001e3), (1e6, 5.001e2)),
}
_SKIP = NASBENCH201_OPS.index("skip_connect")


def is_cost(name: str) -> bool:
    """Whether a column of a file is one of costs."""
    return name.lower() in COST_NAMES


def verify_costs(space: CodeSpace, codes: NDArray[np.int64], columns: Mapping[str, NDArray[np.float64]]) -> None:
    """Compare columns of costs, in the units of the published tables, with the exact costs of the codes.

    The published table of NAS-Bench-201 has 150 rows with the costs of another cell, one that its authors held for the
    same: see :func:`_summands`.  Such rows are counted in the log.

    Args:
        space: of the codes.
        codes: (n, d).
        columns: the columns of a file that :func:`is_cost` finds, if any.

    Raises:
        DataError: if a row's costs are not those of its code.
    """
    exact = space.costs(codes)
    wrong = np.zeros(len(codes), dtype=bool)
    told = exact.copy()
    for name, values in columns.items():
        column = COST_NAMES.index(name.lower())
        unit, tolerance = _UNITS[space.name][column]
        told[:, column] = values * unit
        wrong |= ~(np.abs(told[:, column] - exact[:, column]) <= tolerance)
    rows = np.flatnonzero(wrong)
    if space.name == NASBENCH201.name:
        twins = [row for row in rows if _are_of_twin(codes[row], told[row])]
        if twins:
            _logger.info("%d of %d rows tell the costs of another cell, held for the same", len(twins), len(codes))
        rows = np.setdiff1d(rows, twins)
    if len(rows):
        row = int(rows[0])
        pairs = zip(COST_NAMES, told[row], exact[row], strict=True)
        raise DataError(
            f"{len(rows)} of {len(codes)} rows have costs that are not those of their codes, first row {row}, code "
            f"{codes[row].tolist()}: {', '.join(f'{name} {got:,.0f}, exactly {is_:,.0f}' for name, got, is_ in pairs)}"
        )


def _are_of_twin(code: NDArray[np.int64], told: NDArray[np.float64]) -> bool:
    tolerances = [tolerance for _, tolerance in _UNITS[NASBENCH201.name]]
    return any((np.abs(told - costs) <= tolerances).all() for costs in _costs_by_summands()[_summands(code.tolist())])


def _summands(code: list[int]) -> str:
    """What a cell's output is a sum of, as NAS-Bench-201 writes it to find cells that are the same.

    Two convolutions of one kind that read the same are written the same, and one convolution that is read twice is
    written twice: so cells with different numbers of convolutions may be held for the same.
    """
    states = ["0"]
    for node in range(1, 4):
        terms = [
            states[source] if op == _SKIP else f"({states[source]})@{op}"
            for (source, target), op in zip(NASBENCH201_EDGES, code, strict=True)
            if target == node
        ]
        states.append("+".join(sorted(terms)))
    return states[-1]


@cache
def _costs_by_summands() -> Mapping[str, NDArray[np.float64]]:
    """The different costs of all cells with the same summands."""
    codes = list(product(range(len(NASBENCH201_OPS)), repeat=len(NASBENCH201_EDGES)))
    found: dict[str, set[tuple[float, ...]]] = defaultdict(set)
    for code, costs in zip(codes, NASBENCH201.costs(codes).tolist(), strict=True):
        found[_summands(list(code))].add(tuple(costs))
    return {key: np.array(sorted(costs)) for key, costs in found.items()}
