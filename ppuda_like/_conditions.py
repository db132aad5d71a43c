"""Conditions on the columns of a table, as a command line states them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppuda_like.errors import DataError

__all__ = ["rows_that_meet"]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_CLAUSE = re.compile(r"\s*([\w.-]+)\s*(<=|>=|==|!=|<|>)\s*([^\s<>=!]+)\s*")


def rows_that_meet(
    condition: str, table: Mapping[str, NDArray[Any]], *, owner: str = "the networks", example: str = "depth <= 40"
) -> NDArray[np.bool_]:
    """Which rows of a table meet a condition.

    Args:
        condition: comparisons of a column with a number, joined by ``and``.
        table: columns of one shape, by name.
        owner: whose columns they are, for the message where there is none of a name.
        example: of a condition, for the message where one cannot be read.

    Raises:
        DataError: if the condition cannot be read, or names no column.

    Example:
        >>> rows_that_meet("depth > 3 and depth <= 5", {"depth": np.array([3, 4, 5, 6])}).tolist()
        [False, True, True, False]
    """
    met: NDArray[np.bool_] = np.ones(next(iter(table.values())).shape, dtype=bool)
    for clause in re.split(r"\band\b", condition):
        parts = _CLAUSE.fullmatch(clause)
        if parts is None:
            raise DataError(
                f"cannot read '{clause.strip()}' in the condition '{condition}'; write a column, one of "
                f"{' '.join(_COMPARE)}, and a number, joined by 'and': \"{example}\""
            )
        name, comparison, text = parts.groups()
        if name not in table:
            raise DataError(f"{owner} have no column '{name}'; there are {', '.join(sorted(table))}")
        try:
            number = float(text)
        except ValueError as error:
            raise DataError(f"'{text}' in the condition '{condition}' is not a number") from error
        met &= _COMPARE[comparison](table[name], number)
    return met
