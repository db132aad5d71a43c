"""What blocks cost together with their auxiliary networks, and how fast a pipeline of them can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ppuda_like.errors import PpudaLikeError
from ppuda_like.graph import BlockCosts, Partition, Shape, Unit, trace
from ppuda_like.graph._block_costs import Cost
from ppuda_like.search.blocks._auxiliary import auxiliary

__all__ = ["Pipeline", "ending_costs", "pipeline"]


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Costs of a network whose blocks run one behind the other, each on a machine of its own.

    Attributes:
        network: of the network as a whole, without auxiliary networks.
        blocks: of each block with its auxiliary network, one forward pass of the traced batch.
    """

    network: BlockCosts
    blocks: tuple[BlockCosts, ...]

    def shares(self, cost: Cost = "macs") -> tuple[float, ...]:
        """What each block costs as a share of the network; they add up to more than 1 by :meth:`overhead`."""
        whole = getattr(self.network, cost)
        return tuple(getattr(block, cost) / whole for block in self.blocks)

    def ideal_speedup(self, cost: Cost = "macs") -> float:
        """How many times the throughput of end-to-end training a pipeline can have at most: network by heaviest block.

        The backward pass is taken to cost in proportion to the forward pass.
        """
        return 1 / max(self.shares(cost))

    def overhead(self, cost: Cost = "macs") -> float:
        """What the auxiliary networks add, as a share of the network."""
        return sum(self.shares(cost)) - 1


def pipeline(
    partition: Partition,
    auxiliaries: str | Sequence[str],
    num_classes: int,
    options: Mapping[str, Any] | None = None,
) -> Pipeline:
    """The costs of blocks with their auxiliary networks.

    Args:
        partition: the blocks.
        auxiliaries: one of ``AUXILIARIES`` for all boundaries, or one for each.
        num_classes: number of classes that they tell apart.
        options: of the auxiliary networks.

    Raises:
        PpudaLikeError: if there is not one name for each boundary, or a network cannot be built for a shape.

    Example:
        >>> from torchvision.models import resnet18
        >>> found = pipeline(Partition.balanced(trace(resnet18()), 2), "light-1", 1000)
        >>> round(found.ideal_speedup(), 2), round(found.overhead(), 4)
        (1.82, 0.0039)
    """
    graph, costs = partition.graph, partition.costs()
    boundaries = len(partition.frontiers)
    names = [auxiliaries] * boundaries if isinstance(auxiliaries, str) else [*auxiliaries]
    if len(names) != boundaries:
        raise PpudaLikeError(
            f"{boundaries + 1} blocks need {boundaries} auxiliary networks (got {len(names)}: {names})"
        )
    blocks = []
    known: dict[tuple[str, Shape], BlockCosts] = {}
    for name, frontier, block in zip(names, partition.frontiers, costs, strict=False):
        shape = graph.out_shapes[frontier[-1]]
        if (name, shape) not in known:
            known[name, shape] = _auxiliary_costs(name, shape, num_classes, options or {})
        more = known[name, shape]
        blocks.append(
            replace(
                block,
                parameters=block.parameters + more.parameters,
                macs=block.macs + more.macs,
                activation_bytes=block.activation_bytes + more.activation_bytes,
            )
        )
    [network] = Partition.at(graph, []).costs()
    return Pipeline(network=network, blocks=(*blocks, costs[-1]))


def ending_costs(
    among: Sequence[Unit], name: str, num_classes: int, options: Mapping[str, Any] | None = None, cost: Cost = "macs"
) -> list[int]:
    """What an auxiliary network costs behind each unit but the last one; for ``Partition.balanced``.

    Args:
        among: the units of a network.
        name: one of ``AUXILIARIES``.
        num_classes: number of classes that it tells apart.
        options: of the auxiliary network.
        cost: which cost, for the traced batch.

    Raises:
        PpudaLikeError: if it cannot be built for what a unit hands on.

    Example:
        >>> from torchvision.models import resnet18
        >>> from ppuda_like.graph import units
        >>> graph = trace(resnet18())
        >>> found = units(graph)
        >>> Partition.balanced(graph, 4, ending=ending_costs(found, "mlp-sr", 1000), among=found).num_blocks
        4
    """
    by_shape: dict[Shape, int] = {}
    for unit in among[:-1]:
        if unit.shape not in by_shape:
            by_shape[unit.shape] = getattr(_auxiliary_costs(name, unit.shape, num_classes, options or {}), cost)
    return [by_shape[unit.shape] for unit in among[:-1]]


def _auxiliary_costs(name: str, shape: Shape, num_classes: int, options: Mapping[str, Any]) -> BlockCosts:
    with torch.device("meta"):
        reader = auxiliary(name, shape[1:], num_classes, **options).eval()
    [found] = Partition.at(trace(reader, shape), []).costs()
    return found
