"""Codes with measured metrics of their networks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ppuda_like.errors import CodeError, DataError
from ppuda_like.search.ncp._space import COST_NAMES, CodeSpace

__all__ = ["CodeTable"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CodeTable:
    """A benchmark of codes: what was measured of each one's network.

    The costs are no metrics: ``table.space.costs(table.codes)`` has them exactly.

    Attributes:
        name: of the table.
        space: that the codes are of.
        codes: int64 of shape ``(n, d)``, no two the same.
        metrics: values of each metric, float64 of shape ``(n,)``, finite; the first is the main one.

    Raises:
        CodeError: if codes are not in the space.
        DataError: if there are no codes or no metrics, a code comes twice, or a metric has another length, is not
            finite, or has the name of a cost.

    Example:
        >>> from ppuda_like.search.ncp import NASBENCH201
        >>> codes = [[2, 2, 2, 2, 2, 2], [4, 4, 4, 4, 4, 4]]
        >>> table = CodeTable(name="two", space=NASBENCH201, codes=codes, metrics={"accuracy": [30.0, 45.0]})
        >>> table, table.main, table.matrix().shape
        (CodeTable(two, 2 codes of nas-bench-201, accuracy), 'accuracy', (2, 1))
    """

    name: str
    space: CodeSpace
    codes: NDArray[np.int64]
    metrics: Mapping[str, NDArray[np.float64]]

    def __post_init__(self) -> None:
        codes = self.space.check(self.codes)
        if not len(codes):
            raise DataError(f"table '{self.name}' must have a code")
        if not self.metrics:
            raise DataError(f"table '{self.name}' must have a metric")
        metrics = {str(name): self._column(str(name), values, len(codes)) for name, values in self.metrics.items()}
        first: dict[bytes, int] = {}
        for row, code in enumerate(codes):
            earlier = first.setdefault(code.tobytes(), row)
            if earlier != row:
                raise DataError(
                    f"rows {earlier} and {row} of table '{self.name}' have the same code {code.tolist()}; keep one of "
                    "them, or their mean"
                )
        for array in (codes, *metrics.values()):
            array.flags.writeable = False
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "metrics", metrics)

    def _column(self, name: str, values: ArrayLike, length: int) -> NDArray[np.float64]:
        if not name or name.lower() in COST_NAMES:
            raise DataError(f"a metric must have a name that is none of {', '.join(COST_NAMES)} (got '{name}')")
        column = np.array(values, dtype=np.float64)
        if column.shape != (length,):
            raise DataError(
                f"metric '{name}' of table '{self.name}' must have a value for each of {length} codes "
                f"(got shape {column.shape})"
            )
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise DataError(
                f"metric '{name}' of table '{self.name}' must be finite (got {column[row]} in row {row}); "
                "leave out what was not measured"
            )
        return column

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        return f"CodeTable({self.name or '-'}, {len(self):,} codes of {self.space.name}, {', '.join(self.metrics)})"

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """The values of a metric.

        Raises:
            CodeError: if there is no such metric.
        """
        if name not in self.metrics:
            near = difflib.get_close_matches(name, self.metrics)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(self.metrics)}"
            raise CodeError(f"table '{self.name}' has no metric '{name}'; {hint}")
        return self.metrics[name]

    @property
    def main(self) -> str:
        """The main metric: the first."""
        return next(iter(self.metrics))

    def matrix(self, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Metrics as columns, shape ``(n, m)``; all of them where no names are given.

        Raises:
            CodeError: if there is no such metric.
        """
        return np.stack([self[name] for name in (self.metrics if names is None else names)], axis=1)

    def take(self, rows: Sequence[int] | NDArray[Any] | slice, *, name: str | None = None) -> CodeTable:
        """Some of the rows: by their numbers, a slice, or a mask with one boolean per code."""
        return CodeTable(
            name=self.name if name is None else name,
            space=self.space,
            codes=self.codes[rows],
            metrics={metric: values[rows] for metric, values in self.metrics.items()},
        )
