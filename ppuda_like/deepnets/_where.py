"""Conditions on the figures of stored networks, as a command line states them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ppuda_like.deepnets._dataset import DeepNets
from ppuda_like.errors import DataError

__all__ = ["where"]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_CLAUSE = re.compile(r"\s*(\w+)\s*(<=|>=|==|!=|<|>)\s*([^\s<>=!]+)\s*")
_SHORT = {"num_params": "num_params_cifar10", "flops": "flops_cifar10"}


def where(dataset: DeepNets, condition: str) -> DeepNets:
    """The networks of a dataset that meet a condition on their figures.

    Args:
        dataset: networks of a store.
        condition: comparisons of a column of :meth:`DeepNets.table` with a number, joined by ``and``;
            ``num_params`` and ``flops`` are those for CIFAR-10, ``macs`` is half of the latter.

    Raises:
        DataError: if the condition cannot be read, names no column, or no network meets it.

    Example:
        ``where(dataset, "num_params < 1e6 and depth <= 40")``
    """
    table = dataset.table()
    table |= {short: table[name] for short, name in _SHORT.items()} | {"macs": table["flops_cifar10"] // 2}
    met = np.ones(len(dataset), dtype=bool)
    for clause in re.split(r"\band\b", condition):
        parts = _CLAUSE.fullmatch(clause)
        if parts is None:
            raise DataError(
                f"cannot read '{clause.strip()}' in the condition '{condition}'; write a column, one of "
                f"{' '.join(_COMPARE)}, and a number, joined by 'and': \"num_params < 1e6 and depth <= 40\""
            )
        name, comparison, text = parts.groups()
        if name not in table:
            raise DataError(f"the networks have no column '{name}'; there are {', '.join(sorted(table))}")
        try:
            number = float(text)
        except ValueError as error:
            raise DataError(f"'{text}' in the condition '{condition}' is not a number") from error
        met &= _COMPARE[comparison](table[name], number)
    if not met.any():
        raise DataError(f"no network of {dataset!r} meets '{condition}'; ask for less")
    found: DeepNets = dataset.index_select(met)
    return found
