"""A colour per block of a partition, and what the legend says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppuda_like.errors import GraphError
from ppuda_like.graph._graph import ComputationalGraph

if TYPE_CHECKING:
    from ppuda_like.graph._partition import Partition

__all__ = ["BLOCKS", "block_groups", "short"]

# The hues of Okabe and Ito, neighbours far apart; then the same again, lighter.
BLOCKS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")


def block_groups(graph: ComputationalGraph, partition: Partition) -> list[tuple[str, str]]:
    """What the legend calls each node, its block with parameters and multiply-accumulates, and its colour.

    Raises:
        GraphError: if the partition is of another graph.
    """
    if partition.graph is not graph and partition.graph != graph:
        raise GraphError(f"the partition is not one of the graph to draw, {graph!r} (got one of {partition.graph!r})")
    entries = []
    for block, costs in enumerate(partition.costs()):
        label = f"block {block}: {short(costs.parameters)} parameters, {short(costs.macs)} MACs"
        entries.append((label, _lighter(BLOCKS[block % len(BLOCKS)], block // len(BLOCKS))))
    return [entries[block] for block in partition.block_of]


def short(number: int) -> str:
    """A number to three digits: ``"11.7 M"``."""
    for unit, letter in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if number >= unit:
            return f"{number / unit:.3g}{letter}"
    return str(number)


def _lighter(color: str, steps: int) -> str:
    """A ``#rrggbb`` colour moved towards white, by less each step."""
    channels = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - (255 - c) * 0.6**steps):02x}" for c in channels)
