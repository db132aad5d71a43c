"""Conditions on the figures of stored networks, as a command line states them."""

from __future__ import annotations

from ppuda_like._conditions import rows_that_meet
from ppuda_like.deepnets._dataset import DeepNets
from ppuda_like.errors import DataError

__all__ = ["where"]

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
    met = rows_that_meet(condition, table, example="num_params < 1e6 and depth <= 40")
    if not met.any():
        raise DataError(f"no network of {dataset!r} meets '{condition}'; ask for less")
    found: DeepNets = dataset.index_select(met)
    return found
