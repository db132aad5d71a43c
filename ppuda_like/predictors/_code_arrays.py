"""Rows and targets that regressors on codes take."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import DataError

__all__ = ["Scale", "as_rows", "as_targets", "seed_of"]

Array = NDArray[np.float64]


def as_rows(x: ArrayLike, columns: int | None = None) -> Array:
    """Rows as float64 of shape (n, r).

    Raises:
        DataError: if they have another shape, there are none, or a value is not finite.
    """
    rows = np.asarray(x, dtype=np.float64)
    wanted = "(n, r)" if columns is None else f"(n, {columns})"
    if rows.ndim != 2 or columns not in (None, rows.shape[1]) or not rows.shape[1]:
        raise DataError(f"rows must have shape {wanted} (got {rows.shape}); relaxed codes, or their features, are rows")
    _check_finite(rows, "rows")
    return rows


def as_targets(y: ArrayLike, num_rows: int) -> Array:
    """Targets as float64 of shape (n, m); a single one becomes a column.

    Raises:
        DataError: if there are fewer than two, their number is not that of the rows, or a value is not finite.
    """
    targets = np.asarray(y, dtype=np.float64)
    if targets.ndim == 1:
        targets = targets[:, None]
    if targets.ndim != 2 or len(targets) != num_rows or not targets.shape[1]:
        raise DataError(f"targets must have shape ({num_rows}, m), a row for each row (got {np.shape(y)})")
    if num_rows < 2:
        raise DataError(f"a fit needs at least 2 rows (got {num_rows})")
    _check_finite(targets, "targets")
    return targets


def seed_of(random_state: Any) -> int:
    """The seed of an estimator's ``random_state``: itself, or drawn from it; another one each time for None."""
    if random_state is None:
        return torch.Generator().seed()
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(np.iinfo(np.int32).max))
    return int(random_state)


class Scale(NamedTuple):
    """Columns with mean 0 and deviation 1.

    Attributes:
        mean: (c,).
        std: (c,) population standard deviations; 1 for columns that do not vary.
        varies: (c,) which of them do.
    """

    mean: Array
    std: Array
    varies: NDArray[np.bool_]

    @classmethod
    def fit(cls, values: Array) -> Scale:
        """The scale that fits values, (n, c)."""
        varies = (values != values[0]).any(axis=0)  # exact, unlike the deviation
        return cls(values.mean(axis=0), np.where(varies, values.std(axis=0), 1.0), varies)


def _check_finite(values: Array, what: str) -> None:
    if not np.isfinite(values).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise DataError(f"{what} must be finite (got {values[row, column]} in row {row}, column {column})")
